//! The player page, as its viewers meet it.

use crate::{
    common::{Primary, SMALL, skip},
    no_browser, tell,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_and_says_nothing_on_the_console() {
    let name = "a_stream_plays_and_says_nothing_on_the_console";
    if let Some(obstacle) = no_browser() {
        return skip(name, &obstacle);
    }
    let primary = Primary::start("127.0.0.1", "test", &SMALL).await;
    tell("plays.mjs", &[&primary.url]).await;
    tell("plays.mjs", &[&primary.url, "dark"]).await;
}
