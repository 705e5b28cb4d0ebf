//! The lab: real players behind links that carry what a trace says, side by side, and what their viewers would see.
//!
//! One `primary` serves all of them. Its stream was encoded once ([`reel`]) unless it is to be live, so that the machine's time
//! is the players'; and where the machine was the limit all the same, the report says so ([`machine`]) and does not
//! count it as the link's. Each player has a link of its own, and in one round all links carry the same at the same time; or all
//! players share one link.
//!
//! `ours` and `own` are the same page with the same hls.js and its defaults, but that it is told to leave parts alone, as the simulator and
//! other players do; `ours-low` and `own-low` take parts, and may play a tenth faster to be as close to live again as they were
//! (`maxLiveSyncPlaybackRate: 1.1`). What hls.js begins with by itself follows from the variant that the
//! multivariant playlist lists first.
//!
//! # The report
//!
//! JSON, of [`report::Report`]. All times named `t`, `at` or `_s` are in seconds since the beginning of their round, when the trace
//! begins and the players are started; a negative one was before it. Rates are in kbit/s, sizes in octets.
//!
//! - `about`: what was run: `seconds`, `seed`, `rule` and `egress_mbps` (none if it was the node's own), `encoded` (`once` or `live`), `segment_s`, and the
//!   `rungs` as `/v1/streams` has them, cheapest first. A rung's `kbps` is its average, sound included.
//! - `rounds`, one for each trace and run (`run`, from 0):
//!   - `trace`: its `name`, and the `points` as they were meant, `[duration_ms, kbps]`, cut at the end of the round;
//!     `mean_kbps` of these. A simulator can be given them as they are (`jq -c '.rounds[].trace'` makes a file of traces). The link adds no delay, and has a queue of 100 ms.
//!   - `sizes`: the true sizes: for each segment its `number`, its `duration_s`, when it was complete at the origin (`complete_s`),
//!     and its `octets` in each of the `rungs`.
//!   - `machine`: how busy it was, how late, and `limits`: in what it was the limit. The totals leave out a round that has any.
//!   - `together`: where all players were behind one link, how they shared it;
//!   - `players`, each with
//!     - `link`: what its link carried, `[t, kbps]`, from when it was set in fact;
//!     - `segments`: what it fetched: when it was asked for (`t`), `segment`, `part`, `rung`, `octets`, and for how long
//!       the first and the last octet were waited for (`first_ms`, `delivered_ms`), and where the server chose, why (`reason`) and what it
//!       took the path for (`estimate_kbps`). A browser says all of that; of VLC and
//!       ffmpeg the primary's log says when each was decided, and the octets are those of `sizes`;
//!     - `shown`: from when which segment in which rung was on the screen, where the player says it;
//!     - `stalls`: when, for how long, with how much media in the buffer where that is known, and whether the link was why:
//!       a player that stands still with a second of media before it waits for the machine;
//!     - `buffer` (seconds of media ahead) and `age` (seconds behind the moment of encoding), both `[t, seconds]`;
//!     - `summary`: see [`report::Summary`].
//! - `totals`: each player over the rounds that count, and `against`: the same, pair by pair, for two players of one round.
//!
//! What a viewer sees of ffmpeg, which has no clock, is worked out from what it decodes when (`player::Playback`).

pub mod browser;
pub mod chosen;
pub mod machine;
pub mod picture;
pub mod player;
pub mod reel;
pub mod report;
pub mod round;
pub mod seen;
pub mod sizes;
pub mod stage;
pub mod table;
pub mod trace;
