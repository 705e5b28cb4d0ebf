#!/bin/sh
# Stands in for local-server. What it does is named by its region, the fifth argument.
case "$5" in
well)
    echo "starting $3"
    echo "ready http://127.0.0.1:1"
    while :; do sleep 1; done
    ;;
deaf)
    trap '' TERM
    echo "ready http://127.0.0.1:1"
    while :; do sleep 1; done
    ;;
brief)
    echo "ready http://127.0.0.1:1"
    exit 4
    ;;
mute) exec sleep 300 ;;
broken) exit 3 ;;
esac
