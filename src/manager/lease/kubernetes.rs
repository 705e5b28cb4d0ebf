//! A lease as a Lease object of Kubernetes, for managers that run as Pods.
//!
//! Who holds it renews it; who waits takes it when it has not changed for as long as it says that it is good, by
//! the waiting manager's own clock: what is written there of times is for people. The epoch is the number of times that it
//! has changed hands. Every write names the version that it was made from, so that of two who take it one is refused.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Error, api::PostParams};

use super::{Checked, Hold, Holder, Later, Lease, Sought};

#[derive(Clone)]
pub struct KubernetesLease {
    leases: Api<Object>,
    name: String,
    /// Where this manager is, for the others to send viewers to, and its run: one that was started again does not
    /// hold what the one before it held.
    identity: String,
    times: Times,
    /// The version that was seen last, and since when.
    seen: Arc<Mutex<Option<(String, Instant)>>>,
}

/// How long is what.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Without a renewal, until others take it.
    pub good_for: Duration,
    /// Without a renewal, until its holder takes it for lost; some time before that.
    pub renewed_within: Duration,
    /// For one answer of the API.
    pub answer: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            good_for: Duration::from_secs(10),
            renewed_within: Duration::from_secs(6),
            answer: Duration::from_secs(2),
        }
    }
}

struct Held {
    lease: KubernetesLease,
    object: Object,
    epoch: u64,
    /// What the holder before has left.
    left: String,
    renewed: Instant,
}

impl KubernetesLease {
    /// The lease `name` of `namespace`, else of the namespace that this is in. `url` is this manager's, for the others
    /// to send viewers to.
    pub async fn connect(namespace: Option<&str>, name: &str, url: String) -> anyhow::Result<Self> {
        let client = Client::try_default().await.context(
            "no cluster for the lease: neither is this a Pod with a service account, nor is there a kubeconfig (KUBECONFIG)",
        )?;
        let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
        Self::new(client, &namespace, name, url, Times::default())
    }

    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        url: String,
        times: Times,
    ) -> anyhow::Result<Self> {
        let run = getrandom::u64().context("random octets")?;
        Ok(Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: format!("{url}#{run:016x}"),
            times,
            seen: Arc::default(),
        })
    }

    async fn try_now(self) -> anyhow::Result<Sought> {
        let found = self.call(self.leases.get_opt(&self.name)).await?;
        let Some(mut object) = found else {
            let object = Object {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(1)),
            };
            return self
                .taken(self.leases.create(&PostParams::default(), &object))
                .await;
        };
        let spec = object.spec.take().unwrap_or_default();
        let epoch = spec.lease_transitions.unwrap_or(0);
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && !self.is_over(&object, &spec) {
            return Ok(Sought::Taken(Some(Holder {
                epoch: u64::try_from(epoch).unwrap_or(0),
                url: holder.split('#').next().unwrap_or_default().to_owned(),
            })));
        }
        object.spec = Some(self.spec(epoch.saturating_add(1)));
        let params = PostParams::default();
        self.taken(self.leases.replace(&self.name, &params, &object))
            .await
    }

    /// Whether it has not changed for as long as it says that it is good, as this manager saw it.
    fn is_over(&self, object: &Object, spec: &LeaseSpec) -> bool {
        let good_for = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let good_for = good_for.map_or(self.times.good_for, Duration::from_secs);
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((known, since)) if *known == version => since.elapsed() >= good_for,
            _ => {
                *seen = Some((version, Instant::now()));
                false
            }
        }
    }

    async fn taken(
        &self,
        write: impl Future<Output = kube::Result<Object>>,
    ) -> anyhow::Result<Sought> {
        // It counts from before it was written.
        let renewed = Instant::now();
        match self.call(write).await {
            Ok(object) => {
                let transitions = object.spec.as_ref().and_then(|spec| spec.lease_transitions);
                Ok(Sought::Held(Box::new(Held {
                    lease: self.clone(),
                    epoch: u64::try_from(transitions.unwrap_or(1)).unwrap_or(1),
                    left: note(&object).to_owned(),
                    object,
                    renewed,
                })))
            }
            // Somebody was sooner.
            Err(error) if is_conflict(&error) => Ok(Sought::Taken(None)),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.good_for.as_secs().max(1)).ok(),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
        let told = || format!("lease {}", self.name);
        let answer = tokio::time::timeout(self.times.answer, call).await;
        let answer = answer
            .map_err(|_| anyhow::anyhow!("the API did not answer within {:?}", self.times.answer));
        answer.with_context(told)?.with_context(told)
    }
}

impl fmt::Debug for KubernetesLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KubernetesLease");
        shown
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Held");
        shown
            .field("lease", &self.lease)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Lease for KubernetesLease {
    fn seek(&self) -> Later<anyhow::Result<Sought>> {
        Box::pin(self.clone().try_now())
    }
}

impl Held {
    async fn renew(&mut self) -> anyhow::Result<()> {
        let at = Instant::now();
        if let Some(spec) = &mut self.object.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let (lease, params) = (&self.lease, PostParams::default());
        let write = lease.leases.replace(&lease.name, &params, &self.object);
        match lease.call(write).await {
            Ok(object) => self.object = object,
            Err(error) if is_conflict(&error) => {
                // Somebody took it, or has put a note on it, or our last renewal was made and its answer lost.
                let now = lease.call(lease.leases.get(&lease.name)).await?;
                let holder = now
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.holder_identity.as_deref());
                if holder != Some(&lease.identity) {
                    self.renewed = Instant::now() - lease.times.renewed_within;
                    anyhow::bail!("it is held by {}", holder.unwrap_or("nobody"));
                }
                self.object = now;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.renewed = at;
        Ok(())
    }
}

impl Hold for Held {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn left(&self) -> &str {
        &self.left
    }

    /// As an annotation, written with a renewal.
    fn leave<'a>(&'a mut self, text: &'a str) -> Checked<'a, anyhow::Result<()>> {
        Box::pin(async move {
            // A renewal that finds the object changed takes that as it is.
            for _ in 0..3 {
                let notes = self.object.metadata.annotations.get_or_insert_default();
                notes.insert(NOTE.to_owned(), text.to_owned());
                self.renew().await?;
                if note(&self.object) == text {
                    return Ok(());
                }
            }
            anyhow::bail!("somebody else writes to the lease all the time")
        })
    }

    /// An API that does not answer for a moment does not cost the lease: nobody else takes it by then.
    fn check(&mut self) -> Checked<'_, anyhow::Result<()>> {
        Box::pin(async move {
            let Err(error) = self.renew().await else {
                return Ok(());
            };
            if self.renewed.elapsed() >= self.lease.times.renewed_within {
                return Err(error);
            }
            tracing::debug!("the lease is not renewed yet: {error:#}");
            Ok(())
        })
    }

    /// So that the next manager need not wait until it is over.
    fn release(mut self: Box<Self>) -> Later<()> {
        Box::pin(async move {
            if let Some(spec) = &mut self.object.spec {
                spec.holder_identity = Some(String::new());
            }
            let (lease, params) = (&self.lease, PostParams::default());
            let write = lease.leases.replace(&lease.name, &params, &self.object);
            if let Err(error) = lease.call(write).await {
                tracing::debug!("the lease is not given back, and runs out: {error:#}");
            }
        })
    }
}

/// What a holder left.
fn note(object: &Object) -> &str {
    let notes = object.metadata.annotations.as_ref();
    let note = notes.and_then(|notes| notes.get(NOTE));
    note.map_or("", String::as_str)
}

const NOTE: &str = "spillway.dev/left";

fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Api(status)) if status.code == 409)
}
