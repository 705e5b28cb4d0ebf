//! Relays that this manager launched, or an earlier one: started or adopted, seen to their end, and made to end.

use std::time::Instant;

use adaptation::region::{Event, Region};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::{
    super::launcher::{Ended, Order},
    Clerk,
};

pub(super) struct Launched {
    stop: CancellationToken,
    /// Told to retire; made to end if it is still there then.
    overdue: Option<Instant>,
}

pub(super) enum Outcome {
    Runs(Ended),
    Failed(String),
    Ended(String),
    /// An earlier manager's, and nowhere to be found.
    Stray,
}

impl Clerk {
    pub(super) fn launch(&mut self, node: String, region: Region) {
        let Some(launcher) = &self.launcher else {
            return;
        };
        let stop = CancellationToken::new();
        let order = Order {
            node: node.clone(),
            region: region.to_string(),
            upstream: self.primary_url().to_owned(),
        };
        let launch = launcher.launch(order, stop.clone());
        let relay = Launched {
            stop,
            overdue: None,
        };
        self.relays.insert(node.clone(), relay);
        self.work.spawn(async move {
            match launch.await {
                Ok(ended) => (node, Outcome::Runs(ended)),
                Err(error) => (node, Outcome::Failed(format!("{error:#}"))),
            }
        });
    }

    /// A relay that another manager launched is ended and seen to its end as those launched here.
    pub(super) fn adopt(&mut self, node: String) {
        let Some(launcher) = &self.launcher else {
            return;
        };
        if self.rehearsal.is_some() || self.relays.contains_key(&node) {
            return;
        }
        let stop = CancellationToken::new();
        let adopted = launcher.adopt(node.clone(), stop.clone());
        let relay = Launched {
            stop,
            overdue: None,
        };
        self.relays.insert(node.clone(), relay);
        self.work.spawn(async move {
            match adopted.await {
                Some(ended) => (node, Outcome::Ended(ended.await)),
                None => (node, Outcome::Stray),
            }
        });
    }

    pub(super) fn done(&mut self, done: Result<(String, Outcome), JoinError>) {
        let (node, outcome) = match done {
            Ok(done) => done,
            Err(error) => return tracing::error!(%error, "a launcher failed"),
        };
        match outcome {
            Outcome::Runs(ended) => {
                let name = node.clone();
                let work = async move { (name, Outcome::Ended(ended.await)) };
                self.work.spawn(work);
                self.tell(Event::Launched { node });
            }
            Outcome::Failed(why) => {
                self.relays.remove(&node);
                self.tell(Event::LaunchFailed { node, why });
            }
            Outcome::Ended(why) => {
                self.relays.remove(&node);
                self.tell(Event::Ended { node, why });
            }
            Outcome::Stray => drop(self.relays.remove(&node)),
        }
        self.publish();
    }

    /// It was told to retire, and has so long to do it.
    pub(super) fn expect_end(&mut self, node: &str) {
        let at = Instant::now() + self.config.retire_deadline;
        if let Some(relay) = self.relays.get_mut(node) {
            relay.overdue = Some(at);
        }
    }

    pub(super) fn end(&self, node: &str) {
        if let Some(relay) = self.relays.get(node) {
            relay.stop.cancel();
        }
    }

    pub(super) fn end_overdue(&mut self) {
        let now = Instant::now();
        for relay in self.relays.values_mut() {
            if relay.overdue.is_some_and(|at| now >= at) {
                relay.overdue = None;
                relay.stop.cancel();
            }
        }
    }

    pub(super) fn leave_relays(mut self) {
        self.work.detach_all();
        if !self.relays.is_empty() {
            let relays = self.relays.len();
            tracing::info!(relays, "leaving the relays that run to the next manager");
        }
    }

    pub(super) async fn end_relays(mut self) {
        if self.relays.is_empty() {
            return;
        }
        tracing::info!(
            relays = self.relays.len(),
            "ending the relays that were launched here"
        );
        for relay in self.relays.values() {
            relay.stop.cancel();
        }
        while let Some(done) = self.work.join_next().await {
            match done {
                // Stopped between the two: its end is still to come.
                Ok((node, Outcome::Runs(ended))) => {
                    self.work
                        .spawn(async move { (node, Outcome::Ended(ended.await)) });
                }
                Ok((node, Outcome::Ended(why) | Outcome::Failed(why))) => {
                    tracing::info!(node, why, "relay ended");
                }
                Ok((_, Outcome::Stray)) => {}
                Err(error) => tracing::error!(%error, "a launcher failed"),
            }
        }
    }
}
