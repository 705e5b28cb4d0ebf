//! The traffic manager: hears nodes, routes joins, starts and ends relays.
//!
//! One task (`clerk`) owns what is known; everybody else sends it a message over the `desk`, or reads
//! the routing snapshot. What to do is decided by `adaptation::region`; media is never touched here.
//!
//! ```text
//! heartbeat, join, launch result, tick -> clerk -> Balancer -> actions -> launcher, directives
//!                                          |
//!                                          +-> watch<Arc<Routing>>: who waits for a relay, and
//!                                              everybody if the desk does not answer
//! ```

pub mod address;
mod alerts;
mod announcing;
mod clerk;
mod desk;
mod exposed;
mod gate;
mod hearing;
pub mod journal;
pub mod launcher;
pub mod lease;
pub mod operator;
mod past;
pub mod places;
pub mod replay;
mod report;
mod routes;
mod routing;
mod sessions;
pub mod view;

use std::{sync::Arc, time::Duration};

use adaptation::region;
use axum::{Extension, Router};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use announcing::Ears;
use desk::Desk;
use gate::Gate;
pub use gate::Members;
use journal::Journal;
use launcher::Launcher;
use lease::{Legacy, Tenure};
use operator::Operator;
use places::Places;
pub use routing::Routing;

use crate::{
    analytics::{self, Keeper},
    webhook::Hooks,
};

/// What the manager needs to know before it hears anybody.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the primary is, as a base URL, until it says so itself.
    pub primary: String,
    pub balancer: region::Config,
    /// How long a join waits for a relay that is on its way; then the primary serves it.
    pub join_patience: Duration,
    /// From the word to retire until a launched relay that is still there is made to end.
    pub retire_deadline: Duration,
    /// Decide, and do nothing.
    pub dry_run: bool,
    /// Other managers may take over: what was launched here goes on when this one ends.
    pub leased: bool,
    /// Somebody may change something.
    pub controls: bool,
}

/// What a manager has beside its settings.
#[derive(Debug)]
pub struct Means {
    /// `None`: relays cannot be started.
    pub launcher: Option<Arc<dyn Launcher>>,
    /// Where decisions are written down.
    pub journal: Option<Journal>,
    pub places: Arc<Places>,
    pub operator: Operator,
    /// Whether this manager decides, as it changes.
    pub tenure: watch::Receiver<Tenure>,
    /// Who keeps what nodes tell of their viewers.
    pub keeper: Option<Keeper>,
    /// What the manager that decided before has left, and this one leaves.
    pub legacy: Legacy,
    /// Who is told of what is decided.
    pub hooks: Hooks,
}

impl Means {
    /// Of a manager that is the only one, and keeps no log.
    pub fn plain(launcher: Option<Arc<dyn Launcher>>) -> Self {
        Self {
            launcher,
            journal: None,
            places: Arc::default(),
            operator: Operator::default(),
            tenure: watch::channel(Tenure::SOLE).1,
            keeper: None,
            legacy: Legacy::default(),
            hooks: Hooks::default(),
        }
    }
}

impl Config {
    pub fn new(primary: String) -> Self {
        Self {
            primary,
            balancer: region::Config::default(),
            join_patience: Duration::from_secs(3),
            retire_deadline: Duration::from_secs(10),
            dry_run: false,
            leased: false,
            controls: false,
        }
    }
}

/// A running traffic manager.
#[derive(Debug)]
pub struct Manager {
    desk: Desk,
    task: JoinHandle<()>,
    places: Arc<Places>,
    operator: Arc<Operator>,
    keeper: Option<Keeper>,
    hooks: Hooks,
    announcing: JoinHandle<()>,
}

impl Manager {
    /// Starts the task that owns the state. It ends after `stop`, when the relays it launched have.
    pub fn start(mut config: Config, means: Means, stop: CancellationToken) -> Self {
        let (places, operator, keeper) = (means.places, means.operator, means.keeper);
        config.controls = operator.is_there();
        let (launcher, journal, tenure) = (means.launcher, means.journal, means.tenure);
        let office = (tenure.clone(), means.legacy);
        let (desk, task) = desk::open(config, launcher, journal, office, stop.clone());
        let ears = Ears {
            decisions: desk.decisions(),
            tenure,
        };
        let hooks = means.hooks;
        Self {
            announcing: tokio::spawn(announcing::run(ears, hooks.clone(), stop)),
            hooks,
            desk,
            task,
            places,
            operator: Arc::new(operator),
            keeper,
        }
    }

    /// Joins, and what operators see and say.
    pub fn public(&self) -> Router {
        let mut operator = operator::router(self.desk.clone(), self.operator.clone());
        if let Some(keeper) = &self.keeper {
            let guard = Operator::guard(self.operator.clone());
            operator = operator.merge(analytics::router(keeper.clone(), guard));
        }
        let (desk, places) = (self.desk.clone(), self.places.clone());
        routes::router(desk, places, self.keeper.clone(), operator)
            .layer(Extension(self.hooks.clone()))
    }

    /// Heartbeats, and what is told of viewers, of `members`.
    pub fn control(&self, members: Members) -> anyhow::Result<Router> {
        let (desk, keeper) = (self.desk.clone(), self.keeper.clone());
        Ok(hearing::router(desk, keeper, Gate::new(members)?))
    }

    /// Where joins go now; changes as it does.
    pub fn routing(&self) -> watch::Receiver<Arc<Routing>> {
        self.desk.routing()
    }

    /// Waits until everything this manager launched has ended; it must have been told to stop.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the manager's task failed");
        }
        if let Err(error) = self.announcing.await {
            tracing::error!(%error, "the task that tells of decisions failed");
        }
    }
}
