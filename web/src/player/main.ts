//! The player page, put together: what is on air, the one that plays, and `window.spillway`.

import { byId } from "../shared/dom";
import { wireControls } from "./controls";
import { Playback } from "./playback";
import { joinUrl, listStreams, playUrl, posterUrl, type Listed } from "./streams";
import { Telemetry } from "./telemetry";
import { View } from "./view";

/** How long between looks at what is on air, in milliseconds. */
const LOOK_EVERY = 2_000;
/** While something plays the list only feeds the chooser. */
const LOOK_WHILE_PLAYING = 15_000;

const video = byId<HTMLVideoElement>("video");
const telemetry = new Telemetry(video);
const playback = new Playback(video, telemetry);
const view = new View(video, playback, telemetry);
const page = new URLSearchParams(location.search);
let node = "";
let chosen: string | null = null;

wireControls(video, playback);
playback.onchange = () => view.refresh(node);
window.setInterval(() => view.refresh(node), 250);
void look();

async function look(): Promise<void> {
  try {
    const listing = await listStreams(page);
    node = listing.node;
    arrange(listing.streams);
  } catch (error) {
    if (chosen === null) view.empty((error as Error).message, "Looking again every 2 seconds.");
  }
  window.setTimeout(look, chosen === null ? LOOK_EVERY : LOOK_WHILE_PLAYING);
}

function arrange(streams: readonly Listed[]): void {
  if (chosen === null) {
    const wanted = page.get("stream");
    const first = wanted === null ? streams[0] : streams.find((stream) => stream.name === wanted);
    if (!first) return nothing(wanted, streams);
    start(first, joinUrl(page, location.href));
  }
  if (chosen !== null) view.streams(streams, chosen, (name) => choose(name, streams));
}

function nothing(wanted: string | null, streams: readonly Listed[]): void {
  if (wanted === null) return view.empty("No streams yet", "This page starts by itself as soon as one is on air.");
  const others = streams.map((stream) => stream.name).join(", ");
  view.empty(
    `“${wanted}” is not on air`,
    `This page starts by itself when it is.${others ? ` On air now: ${others}.` : ""}`,
  );
}

function choose(name: string, streams: readonly Listed[]): void {
  const stream = streams.find((candidate) => candidate.name === name);
  if (!stream || name === chosen) return;
  page.set("stream", name);
  // The join URL names the stream the page was opened for, not this one.
  page.delete("join");
  history.replaceState(null, "", `?${page}`);
  start(stream, null);
  view.streams(streams, name, (next) => choose(next, streams));
}

function start(stream: Listed, join: string | null): void {
  chosen = stream.name;
  // Until there is a picture of its own; where there is no poster it stays black.
  video.poster = posterUrl(stream.url, page, location.href);
  playback.open(playUrl(stream.url, page, location.href), join);
}

/** For tests and the curious: what the page knows, as plain values. */
function stats() {
  const { word } = telemetry;
  return {
    stream: chosen,
    state: playback.state.name,
    playing: playback.state.name === "playing" && !video.paused && !telemetry.stalled,
    rung: word.rung,
    shownRung: telemetry.shown,
    estimate: word.estimate,
    reason: word.reason,
    node: word.node ?? node,
    width: video.videoWidth,
    height: video.videoHeight,
    buffer: telemetry.buffer,
    latency: playback.latency,
    age: playback.age,
    droppedFrames: telemetry.droppedFrames,
    stalls: telemetry.stalls,
    stalledMs: telemetry.stalledMs,
    startupMs: telemetry.startupMs,
    switches: telemetry.switches,
    currentTime: video.currentTime,
    playedSeconds: telemetry.playedSeconds,
    rungs: [...telemetry.rungs],
    steps: telemetry.steps.map((step) => ({ ...step })),
    errors: [...telemetry.errors],
  };
}

declare global {
  interface Window {
    spillway: { stats: typeof stats };
  }
}
window.spillway = { stats };
