//! Who is on the air: the main input, the backup, or the slate.
//!
//! Pure: what the inputs do and the time come in, a verdict comes out. Whoever carries it out says so by `took`, since
//! a return waits for the next segment.

use std::time::Duration;

use playlists::MediaTime;
use segmenter::wire::OnAir;

use crate::supply::Supply;

/// What the operator wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) backup: bool,
    pub(crate) slate: bool,
    /// How long pictures may be overdue before somebody else takes over.
    pub(crate) stall: Duration,
    /// How long a main input that has ended is waited for; `None` is for ever.
    pub(crate) grace: Option<Duration>,
}

impl Rules {
    /// There is something to fall back on. Otherwise the run ends as its input does.
    pub(crate) fn stand_in(&self) -> bool {
        self.backup || self.slate
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Stay,
    /// The last picture stands, since the next is overdue.
    Freeze,
    /// At once: who is on the air has nothing to show.
    Take(OnAir),
    /// With the next segment: somebody better is back.
    Return(OnAir),
    /// The programme is over.
    Over,
}

#[derive(Debug)]
pub(crate) struct Director {
    rules: Rules,
    on_air: OnAir,
    main: Input,
    backup: Input,
    /// How long the main input has to be steady before it is taken back, and since when it has had the air.
    trial: Duration,
    back_at: Option<Duration>,
}

#[derive(Debug, Default)]
struct Input {
    supply: Supply,
    /// It has failed or ended, and gave no picture since.
    down: bool,
    /// When it ended, if that is what it did.
    ended: Option<Duration>,
}

impl Director {
    pub(crate) fn new(rules: Rules, on_air: OnAir) -> Self {
        Self {
            rules,
            on_air,
            main: Input::default(),
            backup: Input::default(),
            trial: TRIAL,
            back_at: None,
        }
    }

    pub(crate) fn on_air(&self) -> OnAir {
        self.on_air
    }

    pub(crate) fn picture(&mut self, from: OnAir, time: MediaTime, now: Duration) {
        if let Some(input) = self.input(from) {
            input.supply.picture(time, now);
            (input.down, input.ended) = (false, None);
        }
    }

    /// The clock of `from` starts over.
    pub(crate) fn anew(&mut self, from: OnAir) {
        if let Some(input) = self.input(from) {
            input.supply.anew();
        }
    }

    pub(crate) fn failed(&mut self, from: OnAir) {
        if let Some(input) = self.input(from) {
            input.supply.lost();
            input.down = true;
        }
    }

    pub(crate) fn ended(&mut self, from: OnAir, now: Duration) {
        self.failed(from);
        if let Some(input) = self.input(from) {
            input.ended = Some(now);
        }
    }

    /// How long the next picture of who is on the air is overdue.
    pub(crate) fn overdue(&self, now: Duration) -> Duration {
        match self.on_air {
            OnAir::Main => self.main.supply.overdue(now),
            OnAir::Backup => self.backup.supply.overdue(now),
            OnAir::Slate => Duration::ZERO,
        }
    }

    /// Whether `from` gives no pictures: for `Health`.
    pub(crate) fn is_stalled(&self, from: OnAir, now: Duration) -> bool {
        let input = match from {
            OnAir::Main => &self.main,
            OnAir::Backup => &self.backup,
            OnAir::Slate => return false,
        };
        input.supply.overdue(now) >= self.rules.stall
    }

    /// `to` has the air.
    pub(crate) fn took(&mut self, to: OnAir, now: Duration) {
        match (self.on_air, to) {
            (OnAir::Main, OnAir::Backup | OnAir::Slate) => {
                // Whoever is lost again so soon is not to be trusted so soon.
                let soon = self
                    .back_at
                    .is_some_and(|back| now.saturating_sub(back) < PROVEN);
                self.trial = if soon {
                    (self.trial * 2).min(LONGEST_TRIAL)
                } else {
                    TRIAL
                };
            }
            (_, OnAir::Main) => self.back_at = Some(now),
            _ => {}
        }
        self.on_air = to;
    }

    pub(crate) fn decide(&self, now: Duration) -> Verdict {
        let Rules {
            backup,
            slate,
            stall,
            grace,
        } = self.rules;
        let over = |input: &Input| {
            let waited = input.ended.map(|ended| now.saturating_sub(ended));
            waited.is_some_and(|waited| grace.is_some_and(|grace| waited >= grace))
        };
        let stands_by = backup && !self.backup.down && self.backup.supply.steady(now).is_some();
        if over(&self.main) && !stands_by {
            return Verdict::Over;
        }
        let steady = |input: &Input, long: Duration| {
            !input.down && input.supply.steady(now).is_some_and(|since| since >= long)
        };
        let (input, other, other_is_there) = match self.on_air {
            OnAir::Slate if steady(&self.main, self.trial) => return Verdict::Return(OnAir::Main),
            OnAir::Slate if backup && steady(&self.backup, TRIAL) => {
                return Verdict::Return(OnAir::Backup);
            }
            OnAir::Slate => return Verdict::Stay,
            OnAir::Backup
                if steady(&self.main, self.trial)
                    && self.backup.supply.overdue(now) < FREEZE.min(stall) =>
            {
                return Verdict::Return(OnAir::Main);
            }
            OnAir::Backup => (
                &self.backup,
                OnAir::Main,
                steady(&self.main, Duration::ZERO),
            ),
            OnAir::Main => (&self.main, OnAir::Backup, stands_by),
        };
        let overdue = input.supply.overdue(now);
        if other_is_there && (input.down || overdue >= stall) {
            return Verdict::Take(other);
        }
        if slate && overdue >= stall {
            return Verdict::Take(OnAir::Slate);
        }
        match overdue >= FREEZE.min(stall) {
            true => Verdict::Freeze,
            false => Verdict::Stay,
        }
    }

    fn input(&mut self, from: OnAir) -> Option<&mut Input> {
        match from {
            OnAir::Main => Some(&mut self.main),
            OnAir::Backup => Some(&mut self.backup),
            OnAir::Slate => None,
        }
    }
}

/// From here on the last picture is shown on: half of what a low-latency player has ahead, and more than the jitter of
/// most networks.
const FREEZE: Duration = Duration::from_secs(1);
/// Pictures without a break for so long make an input that is back. It doubles each time one is lost again within `PROVEN`.
const TRIAL: Duration = Duration::from_secs(2);
const LONGEST_TRIAL: Duration = Duration::from_secs(60);
const PROVEN: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "director/stories.rs"]
mod stories;
