//! Analytics of a primary by itself: a keeper in this process, and what operators find of it on the private listener.

use std::sync::Arc;

use anyhow::Context as _;
use spillway::{
    analytics::{self, Keeper, Retention, Where},
    assets,
    control::visits::Visits,
    node::Own,
    origin::uploading::{self, Taking},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a node tells, to who keeps it: neither knows of the other.
#[derive(Debug)]
struct Here(Keeper);

impl uploading::Keeper for Here {
    fn take(&self, visits: Arc<Visits>) -> Taking<'_> {
        Box::pin(async move {
            let taken = self.0.take(visits).await;
            taken.map_err(|unkept| unkept.to_string())
        })
    }
}

pub(super) async fn open(
    place: &Where,
    days: Option<u32>,
    stop: &CancellationToken,
) -> anyhow::Result<(Own, JoinHandle<()>)> {
    let mut retention = Retention::default();
    if let Some(days) = days {
        anyhow::ensure!(days > 0, "analytics-days is 0; 1 is the least");
        retention.days = days;
    }
    let opened = Keeper::open(place, retention, stop.clone()).await;
    let (keeper, task) = opened.with_context(|| format!("analytics {place}"))?;
    // Whoever reaches the private listener may see all of it.
    let routes = analytics::router(keeper.clone(), Arc::new(|_, _| Ok(())));
    let own = Own {
        keeper: Arc::new(Here(keeper)),
        routes: routes.merge(assets::analytics().into()),
    };
    Ok((own, task))
}
