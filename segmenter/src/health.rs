//! Whether the machine keeps up with the input, said once when it stops doing so and once when it does again.

/// An episode begins after some slow seconds in a row and ends after some good ones.
#[derive(Debug, Default)]
pub(crate) struct KeepingUp {
    behind: bool,
    /// Seconds in a row that say otherwise than `behind`.
    against: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    FellBehind,
    Recovered,
}

impl KeepingUp {
    /// One second went by at `speed` times real time, `idle` of it spent waiting for the input.
    ///
    /// An input that itself comes slowly leaves the machine idle; that is not ours to warn of.
    pub(crate) fn turn(&mut self, speed: f64, idle: f64) -> Option<Turn> {
        let slow = speed < SLOW && idle < IDLE;
        self.against = if slow == self.behind {
            0
        } else {
            self.against + 1
        };
        if self.against
            < if self.behind {
                GOOD_SECONDS
            } else {
                SLOW_SECONDS
            }
        {
            return None;
        }
        (self.behind, self.against) = (slow, 0);
        Some(if slow {
            Turn::FellBehind
        } else {
            Turn::Recovered
        })
    }

    /// The same, into the log.
    pub(crate) fn judge(&mut self, speed: f64, idle: f64, lead_ms: i64) {
        match self.turn(speed, idle) {
            Some(Turn::FellBehind) => {
                tracing::warn!(
                    speed,
                    lead_ms,
                    "cannot keep up with real time; fewer rungs or a faster preset would help"
                );
            }
            Some(Turn::Recovered) => {
                tracing::info!(speed, lead_ms, "keeping up with real time again")
            }
            None => {}
        }
    }
}

const SLOW: f64 = 0.97;
const IDLE: f64 = 0.05;
const SLOW_SECONDS: u32 = 4;
const GOOD_SECONDS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(seconds: impl IntoIterator<Item = (f64, f64)>) -> Vec<Turn> {
        let mut keeping_up = KeepingUp::default();
        seconds
            .into_iter()
            .filter_map(|(speed, idle)| keeping_up.turn(speed, idle))
            .collect()
    }

    #[test]
    fn falling_behind_is_said_once_and_so_is_recovery() {
        let slow = std::iter::repeat_n((0.7, 0.0), 30);
        let good = std::iter::repeat_n((1.0, 0.4), 30);
        assert_eq!(
            turns(slow.clone().chain(good).chain(slow)),
            [Turn::FellBehind, Turn::Recovered, Turn::FellBehind]
        );
    }

    #[test]
    fn a_slow_input_is_no_slow_machine_and_a_hiccup_is_nothing() {
        assert_eq!(turns(std::iter::repeat_n((0.5, 0.8), 60)), []);
        assert_eq!(
            turns((0..60).map(|second| if second % 4 == 0 {
                (1.0, 0.3)
            } else {
                (0.8, 0.0)
            })),
            []
        );
    }
}
