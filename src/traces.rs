//! What becomes of one request, told across nodes: a span for each request that is answered, for each that is made
//! because of it, and for each object that is brought. By the conventions of OpenTelemetry, whose collectors take it.
//!
//! Whether a request is traced is decided once, where it comes in: by its `traceparent` if it has one, else by lot. What
//! is done for it then finds its span by [`current`], so that nothing in between has to pass it on. Without the feature
//! `otel` there is no span ever, and the compiler takes out what asks for one.
//!
//! To whom spans are told is `telemetry`'s business; what is worth telling is known where they are made.

#[cfg(not(feature = "otel"))]
#[path = "traces/off.rs"]
mod kept;
#[cfg(feature = "otel")]
#[path = "traces/on.rs"]
mod kept;

use std::borrow::Cow;

pub use kept::{Lot, Mark, Span, Tracer, current, within};

/// A path as it may be told: without the token that stands in it (`/~{token}/live/...`).
pub fn told(path: &str) -> Cow<'_, str> {
    match path
        .strip_prefix("/~")
        .and_then(|path| path.split_once('/'))
    {
        Some((_, rest)) => format!("/~REDACTED/{rest}").into(),
        // All of it may be one.
        None if path.starts_with("/~") => "/~REDACTED".into(),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn no_token_is_told() {
        for (path, left) in [
            (
                "/~k1.2.demo.00ff/live/demo/index.m3u8",
                "/~REDACTED/live/demo/index.m3u8",
            ),
            ("/~k1.2.demo.00ff", "/~REDACTED"),
            ("/live/demo/7/mid/1.m4s", "/live/demo/7/mid/1.m4s"),
        ] {
            assert_eq!(told(path), left);
        }
    }
}
