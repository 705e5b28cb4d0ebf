//! What becomes of a node's streams, for those who are told by webhooks: a stream began or ended, an input was lost or came back,
//! an alert holds or does so no more.
//!
//! Found by looking a few times a second, beside everything that serves: what is over between two looks is not told. Who is told, and how, is `webhook`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Origin;
use crate::{
    store::{Alert, Consumer, Health, InputState, StreamName},
    webhook::Hooks,
};

/// Tells `hooks` of all streams until `stop`.
pub async fn run(origin: Arc<Origin>, hooks: Hooks, stop: CancellationToken) {
    if hooks.is_empty() {
        return;
    }
    let mut scene = Scene::default();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let streams = origin.store.streams();
        let seen = streams
            .iter()
            .map(|(name, stream)| (name, Seen::of(stream)));
        for event in scene.look(seen) {
            tracing::debug!(stream = event.stream, kind = event.kind, "told by webhooks");
            hooks.tell(event.kind, &event);
        }
    }
}

/// What one look sees of a stream.
#[derive(Debug)]
struct Seen {
    /// Viewers can begin, and more is to come.
    on: bool,
    /// `None` where no segmenter runs, or it has said nothing yet.
    health: Option<Health>,
    /// A segmenter makes it, or made it.
    made_here: bool,
}

impl Seen {
    fn of(stream: &Consumer) -> Self {
        let intake = stream.intake();
        let on = |now: &crate::store::Published| now.is_playable() && !now.has_ended();
        Self {
            on: stream.now().is_some_and(|now| on(&now)),
            health: intake.health.clone(),
            made_here: intake.runs > 0,
        }
    }
}

/// What an event says of a stream.
#[derive(Debug, Eq, PartialEq, Serialize)]
struct News {
    #[serde(skip)]
    kind: &'static str,
    stream: String,
    /// `main` or `backup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'static str>,
    /// What has become of it: `live`, `stalled`, `failed`, `ended`, `opening`; `gone` if the segmenter is.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<InputState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert>,
}

/// What was told of all streams.
#[derive(Debug, Default)]
struct Scene(BTreeMap<StreamName, Told>);

/// What was told of one.
#[derive(Debug, Default)]
struct Told {
    on: bool,
    inputs: [Input; INPUTS.len()],
    alerts: BTreeSet<Alert>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Input {
    /// It has not been there yet, of which there is nothing to tell.
    #[default]
    Awaited,
    Live,
    Lost,
}

impl Scene {
    /// What is new since the last look.
    fn look<'a>(&mut self, seen: impl Iterator<Item = (&'a StreamName, Seen)>) -> Vec<News> {
        let (mut news, mut there) = (Vec::new(), BTreeSet::new());
        for (name, seen) in seen {
            there.insert(name.clone());
            let told = self.0.entry(name.clone()).or_default();
            told.look(name, &seen, &mut news);
        }
        self.0.retain(|name, told| {
            let stays = there.contains(name);
            if !stays && told.on {
                news.push(News::of(name, "stream.ended"));
            }
            stays
        });
        news
    }
}

impl Told {
    fn look(&mut self, name: &StreamName, seen: &Seen, news: &mut Vec<News>) {
        if std::mem::replace(&mut self.on, seen.on) != seen.on {
            let kind = match seen.on {
                true => "stream.began",
                false => "stream.ended",
            };
            news.push(News::of(name, kind));
        }
        if seen.made_here {
            self.inputs(name, seen.health.as_ref(), news);
        }
        // Of a segmenter that is not there, nobody knows whether its alerts hold.
        let Some(health) = &seen.health else { return };
        let holding = BTreeSet::from_iter(health.alerts.iter().copied());
        let begun = holding.difference(&self.alerts);
        let over = self.alerts.difference(&holding);
        let begun = begun.map(|alert| ("stream.alert.on", alert));
        let over = over.map(|alert| ("stream.alert.off", alert));
        news.extend(begun.chain(over).map(|(kind, alert)| News {
            alert: Some(*alert),
            ..News::of(name, kind)
        }));
        self.alerts = holding;
    }

    fn inputs(&mut self, name: &StreamName, health: Option<&Health>, news: &mut Vec<News>) {
        for (nth, input) in INPUTS.into_iter().enumerate() {
            let state = match (health, nth) {
                (None, _) => None,
                (Some(health), 0) => Some(health.main.state),
                (Some(health), _) => match &health.backup {
                    Some(backup) => Some(backup.state),
                    None => continue,
                },
            };
            let (next, kind) = match (self.inputs[nth], state) {
                (Input::Awaited, Some(InputState::Live)) => {
                    self.inputs[nth] = Input::Live;
                    continue;
                }
                (Input::Lost, Some(InputState::Live)) => (Input::Live, "stream.input.back"),
                (Input::Live, Some(InputState::Live)) => continue,
                (Input::Live, _) => (Input::Lost, "stream.input.lost"),
                _ => continue,
            };
            self.inputs[nth] = next;
            news.push(News {
                input: Some(input),
                state,
                ..News::of(name, kind)
            });
        }
    }
}

impl News {
    fn of(name: &StreamName, kind: &'static str) -> Self {
        Self {
            kind,
            stream: name.to_string(),
            input: None,
            state: None,
            alert: None,
        }
    }
}

/// In the order of [`Told::inputs`].
const INPUTS: [&str; 2] = ["main", "backup"];

const LOOK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InputHealth;

    fn seen(on: bool, main: Option<InputState>, alerts: &[Alert]) -> Seen {
        Seen {
            on,
            health: main.map(|state| Health {
                main: InputHealth {
                    state,
                    ..InputHealth::default()
                },
                alerts: alerts.to_vec(),
                ..Health::default()
            }),
            made_here: true,
        }
    }

    /// What is told after each look, as `kind` and what it is about.
    fn told(looks: Vec<Option<Seen>>) -> Vec<String> {
        let (mut scene, name) = (Scene::default(), "demo".parse().unwrap());
        let looks = looks.into_iter().map(|seen| {
            let news = scene.look(seen.map(|seen| (&name, seen)).into_iter());
            let words = news.iter().map(|one| match (one.state, one.alert) {
                (_, Some(alert)) => format!("{} {}", one.kind, alert.name()),
                (Some(state), _) => format!("{} {state:?}", one.kind),
                _ => one.kind.to_owned(),
            });
            words.collect::<Vec<_>>().join(", ")
        });
        looks.collect()
    }

    #[test]
    fn a_stream_begins_once_and_ends_once_also_by_going_away() {
        let live = || Some(seen(true, None, &[]));
        assert_eq!(
            told(vec![
                None,
                live(),
                live(),
                None,
                None,
                live(),
                Some(seen(false, None, &[]))
            ]),
            [
                "",
                "stream.began",
                "",
                "stream.ended",
                "",
                "stream.began",
                "stream.ended"
            ]
        );
    }

    #[test]
    fn an_input_that_was_there_is_lost_and_back_and_one_that_is_awaited_is_neither() {
        use InputState::{Failed, Live, Opening, Stalled};
        let states = [
            Some(Opening),
            Some(Live),
            Some(Stalled),
            Some(Failed),
            Some(Live),
            None,
            None,
            Some(Live),
        ];
        let looks = states.map(|state| Some(seen(false, state, &[])));
        assert_eq!(
            told(looks.into()),
            [
                "",
                "",
                "stream.input.lost Stalled",
                "",
                "stream.input.back Live",
                // The segmenter is gone.
                "stream.input.lost",
                "",
                "stream.input.back Live"
            ]
        );
    }

    #[test]
    fn an_alert_is_told_when_it_begins_and_when_it_is_over_and_stands_while_nobody_knows() {
        let main = Some(InputState::Opening);
        let looks = [
            seen(false, main, &[Alert::OnSlate]),
            seen(false, main, &[Alert::EncoderOverloaded, Alert::OnSlate]),
            seen(false, None, &[]),
            seen(false, main, &[Alert::EncoderOverloaded]),
        ];
        assert_eq!(
            told(looks.into_iter().map(Some).collect()),
            [
                "stream.alert.on on-slate",
                "stream.alert.on encoder-overloaded",
                "",
                "stream.alert.off on-slate"
            ]
        );
    }
}
