//! The followers of one attempt: which rungs are followed now. The cheapest always is, every other for as long as
//! somebody watches it.

use std::{sync::Arc, time::Duration};

use reqwest::Url;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    Lost, Start,
    plain::Shape,
    rung::{Follower, Item},
};
use crate::{net::Fetcher, store::Supply};

/// Starts followers, and hears what became of them. They end with it.
#[derive(Debug)]
pub(super) struct Followers {
    pub fetcher: Fetcher,
    /// Of each rung and rendition, its playlist and what its segments are made into.
    pub from: Vec<(Url, Option<Arc<Shape>>)>,
    tasks: JoinSet<()>,
    lost: (mpsc::Sender<Lost>, mpsc::Receiver<Lost>),
}

/// What one follower brings.
#[derive(Debug)]
pub(super) struct Lane {
    items: mpsc::Receiver<Item>,
    /// The first segment that it brings.
    pub from: u64,
    task: AbortHandle,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followers {
    pub(super) fn new(fetcher: Fetcher, from: Vec<(Url, Option<Arc<Shape>>)>) -> Self {
        Self {
            fetcher,
            lost: mpsc::channel(from.len().max(1)),
            from,
            tasks: JoinSet::new(),
        }
    }

    /// Follows the rung or rendition at `place`; `None` if there is none.
    pub(super) fn follow(&mut self, place: usize, start: Start) -> Option<Lane> {
        // Those that are over are forgotten.
        while self.tasks.try_join_next().is_some() {}
        let (url, shape) = self.from.get(place)?.clone();
        let (sender, items) = mpsc::channel(QUEUE);
        let follower = Follower {
            url,
            fetcher: self.fetcher.clone(),
            start,
            shape,
        };
        let lost = self.lost.0.clone();
        let task = self.tasks.spawn(async move {
            if let Err(error) = follower.run(sender).await {
                // One reason is enough.
                let _ = lost.try_send(error);
            }
        });
        Some(Lane {
            items,
            from: start.from,
            task,
        })
    }

    /// What comes next in `lane`; an error if its follower has failed.
    pub(super) async fn next(&mut self, lane: &mut Lane) -> Result<Item, Lost> {
        match lane.items.recv().await {
            Some(item) => Ok(item),
            None => Err(self.why().await),
        }
    }

    /// Why one of them has failed.
    async fn why(&mut self) -> Lost {
        let why = tokio::time::timeout(SOON, self.lost.1.recv()).await;
        why.ok().flatten().unwrap_or(Lost::Follower)
    }

    /// Forgets what is known of a failure that did not matter.
    pub(super) fn forgive(&mut self) -> Option<Lost> {
        self.lost.1.try_recv().ok()
    }
}

/// Whether somebody watches `rung`, or did a moment ago.
pub(super) fn is_watched(supply: &Supply, rung: usize) -> bool {
    rung == 0 || supply.unwatched(rung).is_some_and(|ago| ago < LINGER)
}

/// So long a rung is followed that nobody watches: longer than a viewer stays silent between two segments, and than one
/// who steps down for a moment needs to be back.
const LINGER: Duration = Duration::from_secs(15);

/// Parts that one rung may be ahead of another before it has to wait.
const QUEUE: usize = 32;

/// A follower says why before it is gone.
const SOON: Duration = Duration::from_millis(200);
