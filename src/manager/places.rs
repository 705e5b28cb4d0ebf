//! Which region a viewer is of: what it declares, else what the operator's table says of its network, else where a
//! GeoIP database has it, else the default.

mod geo;
mod table;

use std::{net::IpAddr, sync::Arc, time::Duration};

use adaptation::region::Region;
use tokio_util::sync::CancellationToken;

pub use geo::{Geo, Rules};
pub use table::Table;

/// Everything that tells a region.
#[derive(Debug, Default)]
pub struct Places {
    pub table: Table,
    pub geo: Option<Geo>,
    /// Who is nowhere else.
    pub default: Region,
}

impl Places {
    /// The region of who declares `declared`, which may be empty, and comes from `client`.
    pub fn region(&self, declared: &str, client: Option<IpAddr>) -> Region {
        if !declared.is_empty() {
            return Region::new(declared);
        }
        let Some(client) = client else {
            return self.default.clone();
        };
        let table = self.table.region(client);
        let found = table.or_else(|| self.geo.as_ref()?.region(client));
        found.unwrap_or_else(|| self.default.clone())
    }

    /// Reads the database again if its file has changed.
    pub async fn refresh(&self) {
        if let Some(geo) = &self.geo {
            geo.refresh().await;
        }
    }

    /// Reads the database again whenever its file has changed, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        if self.geo.is_none() {
            return;
        }
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.refresh().await,
                () = stop.cancelled() => return,
            }
        }
    }
}

/// A file of GeoIP changes twice a week.
const LOOK: Duration = Duration::from_secs(5);
