//! Which requests are under way together. A player that takes whole segments makes one at a time. By parts there are two:
//! a playlist that is held back until it has news, and beside it the part that this will be about.

use std::time::{Duration, Instant};

use reqwest::Url;

use super::{Action, Get, Session, What};

/// What is under way. Only for who plays by parts; else whoever asks [`Session::next`] has nothing under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    list: bool,
    media: bool,
    /// Changes with the place, for what is under way then is for another one.
    round: u32,
}

impl Lanes {
    pub(super) fn list_is_free(&self) -> bool {
        !self.list
    }

    pub(super) fn media_is_free(&self) -> bool {
        !self.media
    }

    fn lane(&mut self, what: &What) -> &mut bool {
        match what {
            What::Init | What::Segment(_) | What::Part { .. } => &mut self.media,
            What::Join | What::Playlist | What::Steering => &mut self.list,
        }
    }

    /// The answer is in; `false` if nobody waits for it any more.
    pub(super) fn over(&mut self, get: &Get) -> bool {
        let awaited = get.round == self.round;
        if awaited {
            *self.lane(&get.what) = false;
        }
        awaited
    }

    /// What is under way is of no use any more.
    pub(super) fn begin_anew(&mut self) {
        *self = Self {
            round: self.round + 1,
            ..Self::default()
        };
    }
}

impl Session {
    /// Whether the answer to `get` is still of use. If not, it need not be waited for.
    pub fn awaits(&self, get: &Get) -> bool {
        get.round == self.lanes.round
    }

    /// Asks, if nothing of the kind is under way.
    pub(super) fn ask(&mut self, what: What, url: Url, patience: Duration, now: Instant) -> Action {
        let (parts, round) = (self.config.parts, self.lanes.round);
        let lane = self.lanes.lane(&what);
        if parts && std::mem::replace(lane, true) {
            return Action::Wait(now + ANSWERS);
        }
        Action::Get(Get {
            what,
            url,
            patience,
            round,
        })
    }
}

/// Answers come before; this is only so long that nobody turns in circles.
const ANSWERS: Duration = Duration::from_secs(1);
