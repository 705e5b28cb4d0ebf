//! One viewer: a player's mind, its connections, and what it tells while it plays.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use playlists::WallTime;
use reqwest::Url;
use spillway::{
    net::FetchError,
    player::{
        Event, Summary,
        session::{Action, Answer, Get, Now, Session, What},
    },
};

use super::{account::Account, model::Model, wire::Wire};

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
    pub async fn watch(self, account: Rc<Account>) {
        let mut leaving = Leaving {
            session: Session::new(self.join.clone(), self.model.config(), Instant::now()),
            region: self.region,
            account: account.clone(),
            node: None,
            moved: None,
        };
        let (mut requests, parts) = (Vec::new(), self.model.config().parts);
        loop {
            let now = Instant::now();
            leaving.session.advance(now);
            leaving.tell();
            let dry = leaving.session.playback().runs_dry();
            // By parts there may be another request to make beside the one that is on its way.
            let action = if requests.is_empty() || parts {
                leaving.session.next(now)
            } else {
                Action::Wait(now + FAR)
            };
            let until = match action {
                Action::Done => return,
                Action::Wait(until) => until,
                Action::Get(get) => {
                    requests.push(self.ask(get, now));
                    continue;
                }
            };
            let until = dry.map_or(until, |dry| until.min(dry));
            let (request, answer) = tokio::select! {
                answered = answered(&mut requests), if !requests.is_empty() => answered,
                () = tokio::time::sleep_until(until.into()) => continue,
            };
            if let Err(error) = &answer {
                account.failed(&error.to_string());
            }
            let Request { get, asked, .. } = request;
            let taken = leaving.session.answer(get, asked, answer, at());
            leaving.tell();
            if let Err(error) = taken {
                account.gave_up(&error.to_string());
                return;
            }
            requests.retain(|request| leaving.session.awaits(&request.get));
        }
    }

    fn ask(&self, get: Get, asked: Instant) -> Request {
        let media = matches!(get.what, What::Segment(_) | What::Part { .. } | What::Init);
        let purpose = u8::from(media && self.model.divides());
        let (wire, url, patience) = (self.wire.clone(), get.url.clone(), get.patience);
        let answer = async move { wire.get(&url, purpose, patience, !media).await };
        Request {
            get,
            asked,
            answer: Box::pin(answer),
        }
    }
}

/// A request on its way.
struct Request {
    get: Get,
    asked: Instant,
    answer: Pin<Box<dyn Future<Output = Result<Answer, FetchError>>>>,
}

/// The first of `requests` that is answered, taken out of them.
async fn answered(requests: &mut Vec<Request>) -> (Request, Result<Answer, FetchError>) {
    poll_fn(|context| {
        for index in 0..requests.len() {
            if let Poll::Ready(answer) = requests[index].answer.as_mut().poll(context) {
                return Poll::Ready((requests.swap_remove(index), answer));
            }
        }
        Poll::Pending
    })
    .await
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

/// Only answers are waited for.
const FAR: Duration = Duration::from_secs(3600);

fn at() -> Now {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        at: Instant::now(),
        wall: WallTime::from_millis(since.as_millis() as i64),
    }
}
