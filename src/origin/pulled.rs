//! What a relay takes from the node that it follows only when somebody asks for it: once for all who ask, and
//! kept for a while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use moka::{Expiry, future::Cache};

use crate::net::{FetchError, Fetcher};

#[derive(Debug)]
pub struct Pulled {
    fetcher: ArcSwapOption<Fetcher>,
    /// By URL. When there are too many octets, those go that were not asked for.
    kept: Cache<String, Taken>,
}

#[derive(Clone, Debug)]
struct Taken {
    octets: Bytes,
    good_for: Duration,
}

impl Default for Pulled {
    fn default() -> Self {
        let weight = |url: &String, taken: &Taken| {
            u32::try_from(url.len() + taken.octets.len()).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder()
            .weigher(weight)
            .max_capacity(MOST_OCTETS)
            .expire_after(AsItSays);
        Self {
            fetcher: ArcSwapOption::empty(),
            kept: kept.build(),
        }
    }
}

impl Pulled {
    /// From now on it is taken by this.
    /// Requests that succeeded and that failed, and octets, of all that this node takes from others.
    pub(super) fn fetches(&self) -> (u64, u64, u64) {
        let fetcher = self.fetcher.load();
        fetcher
            .as_ref()
            .map_or((0, 0, 0), |fetcher| fetcher.counts())
    }

    pub fn by(&self, fetcher: Fetcher) {
        self.fetcher.store(Some(Arc::new(fetcher)));
    }

    /// What `base` answers for `path`. Whoever asks for what is on its way waits for it; what failed is asked
    /// for again by the next.
    pub(super) async fn get(
        &self,
        base: &str,
        path: &str,
        good_for: Duration,
    ) -> Result<Bytes, Arc<FetchError>> {
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        let wrong = |why: &str| FetchError::Client {
            why: format!("{url}: {why}"),
        };
        let fetched = async {
            let fetcher = self.fetcher.load_full();
            let fetcher = fetcher.ok_or_else(|| wrong("this node takes nothing from others"))?;
            let parsed = url.parse().map_err(|_| wrong("not a URL"))?;
            let octets = fetcher.get(parsed, PATIENCE).await?.body;
            Ok(Taken { octets, good_for })
        };
        let taken = self.kept.try_get_with(url.clone(), fetched).await?;
        Ok(taken.octets)
    }
}

struct AsItSays;

impl Expiry<String, Taken> for AsItSays {
    fn expire_after_create(&self, _: &String, taken: &Taken, _: Instant) -> Option<Duration> {
        Some(taken.good_for)
    }
}

/// For what changes as a stream goes on.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// For what never changes.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// For an answer that should come at once.
const PATIENCE: Duration = Duration::from_secs(5);

const MOST_OCTETS: u64 = 64 << 20;
