//! The validator, which reads anybody's streams: playlists over time, divided by a line of `=`.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tools::validate::{Checker, Event, exchange::Exchange, follow::Asked, variants};

fuzz_target!(|text: &str| {
    let mut checker = Checker::default();
    let playlists = ["http://a/1.m3u8", "http://a/2.m3u8"].map(|url| checker.watch(url, Some(0)));
    for (second, text) in text.split("\n=\n").take(8).enumerate() {
        let came = Duration::from_secs(second as u64);
        let exchange = Exchange {
            url: "http://a/1.m3u8".into(),
            status: 200,
            asked: came,
            came,
            ..Exchange::default()
        };
        if variants::is_multivariant(text) {
            checker.multivariant(&exchange, text);
        }
        let asked = Asked {
            number: (second % 3 == 1).then_some(second as u64),
            part: Some(0),
            ..Asked::default()
        };
        let playlist = playlists[second % 2 & text.len()];
        checker.handle(
            &exchange,
            Event::Playlist {
                playlist,
                asked,
                text: text.to_owned(),
            },
        );
        let Some(listing) = checker.listing(playlist).cloned() else {
            continue;
        };
        for entry in listing.segments.into_iter().take(4) {
            let body = entry.uri.clone().into_bytes();
            checker.handle(
                &exchange,
                Event::Segment {
                    playlist,
                    entry: Box::new(entry),
                    body,
                },
            );
        }
    }
    checker.finish();
});
