//! What operators ask of nodes. A question goes out with the answer to a node's heartbeat, again and again until that node
//! has answered; who has not by the deadline is named as silent. Nodes need no door for it.

use std::{collections::BTreeSet, time::Instant};

use tokio::sync::oneshot;

use super::super::view::{Found, Lookup};
use crate::control::{Answer, Question};

/// What is asked and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    open: Vec<Open>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    question: Question,
    /// Who has not answered.
    awaited: BTreeSet<String>,
    asked: usize,
    found: Vec<Found>,
    deadline: Instant,
    reply: oneshot::Sender<Lookup>,
}

impl Lookups {
    /// Asks `nodes`, which have until `deadline`; gives `reply` back if too much is asked already.
    pub(super) fn ask(
        &mut self,
        viewer: Option<String>,
        nodes: BTreeSet<String>,
        reply: oneshot::Sender<Lookup>,
        now: Instant,
        deadline: Instant,
    ) -> Result<(), oneshot::Sender<Lookup>> {
        if self.open.len() >= MOST {
            return Err(reply);
        }
        self.last += 1;
        let question = Question {
            number: self.last,
            viewer,
        };
        self.open.push(Open {
            question,
            asked: nodes.len(),
            awaited: nodes,
            found: Vec::new(),
            deadline,
            reply,
        });
        self.settle(now);
        Ok(())
    }

    /// What `node` is to be asked.
    pub(super) fn questions(&self, node: &str) -> Vec<Question> {
        let open = self.open.iter().filter(|open| open.awaited.contains(node));
        open.map(|open| open.question.clone()).collect()
    }

    pub(super) fn note(&mut self, answer: Answer, now: Instant) {
        let open = self.open.iter_mut();
        let Some(open) = open
            .into_iter()
            .find(|open| open.question.number == answer.number)
        else {
            return;
        };
        // From who was not asked, or a second time.
        if !open.awaited.remove(&answer.node) {
            return;
        }
        let told = answer
            .found
            .and_then(|found| serde_json::from_str(&found).ok());
        if let Some(told) = told {
            let node = answer.node;
            open.found.push(Found { node, told });
        }
        self.settle(now);
    }

    /// Answers what has been answered, and what nobody waits for any longer.
    pub(super) fn settle(&mut self, now: Instant) {
        let over = |open: &mut Open| {
            open.awaited.is_empty() || now >= open.deadline || open.reply.is_closed()
        };
        for open in self.open.extract_if(.., over) {
            // Whoever asked may have gone.
            let _ = open.reply.send(Lookup {
                asked: open.asked,
                found: open.found,
                silent: open.awaited.into_iter().collect(),
            });
        }
    }
}

/// Questions at a time, which is what a node answers between two heartbeats.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::VERSION;

    const PATIENCE: Duration = Duration::from_secs(6);

    fn answer(node: &str, number: u64, found: Option<&str>) -> Answer {
        Answer {
            version: VERSION,
            node: node.into(),
            number,
            found: found.map(Into::into),
        }
    }

    #[test]
    fn a_question_is_repeated_until_it_is_answered_and_who_is_silent_is_named() {
        let (mut lookups, t0) = (Lookups::default(), Instant::now());
        let (reply, mut told) = oneshot::channel();
        let nodes = ["primary", "relay-1", "relay-2"].map(String::from);
        lookups
            .ask(
                Some("00000000000a11ce".into()),
                nodes.into(),
                reply,
                t0,
                t0 + PATIENCE,
            )
            .unwrap();
        assert_eq!(lookups.questions("primary"), lookups.questions("primary"));
        assert_eq!(lookups.questions("primary").len(), 1);
        assert!(lookups.questions("stranger").is_empty());
        lookups.note(answer("primary", 1, None), t0);
        lookups.note(answer("primary", 1, Some("{}")), t0);
        lookups.note(answer("stranger", 1, Some("{}")), t0);
        lookups.note(answer("relay-1", 1, Some(r#"{"viewers":[]}"#)), t0);
        assert!(lookups.questions("relay-1").is_empty());
        assert!(told.try_recv().is_err());
        lookups.settle(t0 + PATIENCE);
        let told = told.try_recv().unwrap();
        assert_eq!((told.asked, told.silent), (3, vec!["relay-2".to_owned()]));
        assert_eq!(told.found.len(), 1);
        assert_eq!(told.found[0].told, serde_json::json!({ "viewers": [] }));
    }

    #[test]
    fn only_so_much_is_asked_at_a_time_and_who_has_gone_makes_room() {
        let (mut lookups, t0) = (Lookups::default(), Instant::now());
        let nodes = || BTreeSet::from(["primary".to_owned()]);
        let waiting: Vec<_> = (0..MOST)
            .map(|_| {
                let (reply, told) = oneshot::channel();
                lookups
                    .ask(None, nodes(), reply, t0, t0 + PATIENCE)
                    .unwrap();
                told
            })
            .collect();
        let (reply, _told) = oneshot::channel();
        let reply = lookups
            .ask(None, nodes(), reply, t0, t0 + PATIENCE)
            .unwrap_err();
        drop(waiting);
        lookups.settle(t0);
        assert!(lookups.ask(None, nodes(), reply, t0, t0 + PATIENCE).is_ok());
    }
}
