//! What this node has of each stream, in memory: one writer a stream, any number of readers over
//! snapshots. Who writes (a segmenter, an upstream node) and who reads is not known here.

mod intake;
mod name;
mod producer;
mod published;
mod supply;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use playlists::Window;
use tokio::sync::watch;

use crate::pages::Shelf;

pub use crate::archive::populate;

pub use self::{
    intake::{Alert, Health, InputHealth, InputState, Intake, OnAir},
    name::{StreamName, StreamNameError},
    producer::Producer,
    published::Published,
    supply::{Bringer, Bringing, Filling, NotBrought, Reader, Supply, Wanted},
    table::Table,
};

/// The streams of this node by name. Looking one up takes no lock.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<ArcSwap<BTreeMap<StreamName, Consumer>>>);

impl Store {
    /// Adds a stream and hands out its one writer; `None` if there is one already.
    pub fn create(&self, name: &StreamName) -> Option<Producer> {
        if self.stream(name.as_str()).is_some() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        let intake = Arc::new(ArcSwap::default());
        let consumer = Consumer {
            published: receiver,
            intake: Arc::clone(&intake),
        };
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.insert(name.clone(), consumer.clone());
            streams
        });
        Some(Producer {
            name: name.clone(),
            store: self.clone(),
            window: None,
            kept: None,
            shelf: Shelf::default(),
            supply: Arc::default(),
            sender,
            intake,
        })
    }

    pub fn stream(&self, name: &str) -> Option<Consumer> {
        self.0.load().get(name).cloned()
    }

    /// What is published of a stream now, under the name that the store has for it.
    pub fn published(&self, name: &str) -> Option<(StreamName, Arc<Published>)> {
        let streams = self.0.load();
        let (name, stream) = streams.get_key_value(name)?;
        Some((name.clone(), stream.now()?))
    }

    pub fn streams(&self) -> Vec<(StreamName, Consumer)> {
        self.0
            .load()
            .iter()
            .map(|(name, consumer)| (name.clone(), consumer.clone()))
            .collect()
    }

    fn remove(&self, name: &StreamName) {
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.remove(name);
            streams
        });
    }
}

/// A reader. Clones are cheap; a snapshot, once taken, never changes.
#[derive(Clone, Debug)]
pub struct Consumer {
    published: watch::Receiver<Option<Arc<Published>>>,
    intake: Arc<ArcSwap<Intake>>,
}

impl Consumer {
    /// What is published now; `None` before the first part.
    pub fn now(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    /// How its source goes.
    pub fn intake(&self) -> Arc<Intake> {
        self.intake.load_full()
    }

    /// Waits until a snapshot `suits`; `None` if the stream goes away first.
    pub async fn wait(&mut self, mut suits: impl FnMut(&Window) -> bool) -> Option<Arc<Published>> {
        let suits = |now: &Option<Arc<Published>>| now.as_ref().is_some_and(|now| suits(now));
        self.published.wait_for(suits).await.ok()?.clone()
    }
}
