//! One viewer: a player's mind, its connections, and what it tells while it plays.

use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use playlists::WallTime;
use reqwest::Url;
use spillway::player::{
    Event, Summary,
    session::{Action, Now, Session, What},
};

use super::{
    account::Account,
    model::Model,
    wire::{Idle, Wire},
};

/// Who watches, and over what.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub region: usize,
    pub model: Model,
    pub wire: Wire,
    pub join: Url,
}

impl Viewer {
    /// Plays until it is dropped, or nothing can be had.
    pub async fn watch(mut self, account: Rc<Account>) {
        let mut leaving = Leaving {
            session: Session::new(self.join.clone(), self.model.config(), Instant::now()),
            region: self.region,
            account: account.clone(),
            node: None,
            moved: None,
        };
        let mut idle = Idle::new();
        loop {
            let now = Instant::now();
            leaving.session.advance(now);
            leaving.tell();
            let dry = leaving.session.playback().runs_dry();
            match leaving.session.next(now) {
                Action::Done => return,
                Action::Wait(until) => {
                    let until = dry.map_or(until, |dry| until.min(dry));
                    tokio::time::sleep_until(until.into()).await;
                }
                Action::Get(get) => {
                    let media = matches!(get.what, What::Segment(_) | What::Init);
                    let purpose = u8::from(media && self.model.divides());
                    let answer = self
                        .wire
                        .get(&mut idle, &get.url, purpose, get.patience)
                        .await;
                    if let Err(error) = &answer {
                        account.failed(&error.to_string());
                    }
                    let taken = leaving.session.answer(get, now, answer, at());
                    leaving.tell();
                    if let Err(error) = taken {
                        account.gave_up(&error.to_string());
                        return;
                    }
                }
            }
        }
    }
}

/// What is known of a viewer is counted when it leaves, however that comes.
struct Leaving {
    session: Session,
    region: usize,
    account: Rc<Account>,
    node: Option<String>,
    moved: Option<Instant>,
}

impl Leaving {
    fn tell(&mut self) {
        while let Some(event) = self.session.poll() {
            match event {
                Event::Started { after } => self.account.started(self.region, after),
                Event::Segment(report) => {
                    self.account.segment(self.region, &report);
                    if self.node.as_ref() != Some(&report.node) {
                        let before = self.node.replace(report.node.clone());
                        self.account.at(before.as_deref(), &report.node);
                    }
                }
                Event::Stalled { .. } => {
                    let moved = self.moved.is_some_and(|moved| moved.elapsed() < AFTER);
                    self.account.stalled(self.region, moved);
                }
                Event::Moved { .. } => {
                    self.moved = Some(Instant::now());
                    self.account.moved();
                }
                Event::Rejoining { error, .. } => self.account.rejoined(&error),
                Event::Fault(fault) => self.account.fault(&fault.to_string()),
                Event::Joined { .. }
                | Event::Resumed { .. }
                | Event::Retry { .. }
                | Event::Finished => {}
            }
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let summary: Summary = self.session.summary(at());
        self.account
            .left(self.region, self.node.as_deref(), &summary);
    }
}

/// A stall so soon after a move may be its fault.
const AFTER: Duration = Duration::from_secs(10);

fn at() -> Now {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        at: Instant::now(),
        wall: WallTime::from_millis(since.as_millis() as i64),
    }
}
