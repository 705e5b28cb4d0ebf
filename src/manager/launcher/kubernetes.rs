//! Relays as Pods of a Kubernetes cluster: one Pod for each, so that a chosen one can be drained.
//!
//! A Pod is made from the operator's template (`template`), by server-side apply: saying it twice makes
//! one. What becomes of it is seen by one watch of all relays (`view`) and told apart by `standing`; a Pod is
//! deleted only if it is the very one that is meant (its uid). What other managers left behind goes too (`keeper`).
//! Which errors of the API pass, and how long they are waited for, is `calls`' business.

mod calls;
mod keeper;
mod options;
mod standing;
mod template;
mod view;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use k8s_openapi::api::core::v1::{Pod, PodTemplate, PodTemplateSpec};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Ended, Later, Launcher, Order};
use calls::{Calls, is_away, status};
pub use options::KubernetesConfig;
use standing::Standing;
use view::{Found, View};

/// What the launcher needs to know beside the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tells the relays of this installation from others of the namespace.
    pub installation: String,
    pub template: Template,
    /// Base URL of the manager as relays reach it.
    pub manager: String,
    /// From the word to launch until its container runs.
    pub runs_within: Duration,
    /// From its deletion until the Pod is gone, beyond what its template grants it.
    pub ends_within: Duration,
    /// One answer of the API.
    pub answers_within: Duration,
}

/// Where the template of a relay is. Read for each launch, so that a change needs no restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Template {
    File(PathBuf),
    /// A PodTemplate of the namespace.
    Object(String),
}

/// Starts Pods. Clones share the watch.
#[derive(Clone, Debug)]
pub struct KubernetesLauncher {
    cluster: Arc<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    pods: Api<Pod>,
    templates: Api<PodTemplate>,
    settings: Settings,
    calls: Calls,
    view: View,
    attended: keeper::Attended,
}

impl KubernetesLauncher {
    /// In `namespace`, until `stop`. A template that is no good is said here; an API that does not answer is waited for.
    pub async fn start(
        client: Client,
        namespace: &str,
        settings: Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let selector = template::selector(&settings.installation);
        let cluster = Cluster {
            view: View::open(pods.clone(), &selector, stop.clone()),
            pods,
            templates: Api::namespaced(client, namespace),
            calls: Calls {
                each: settings.answers_within,
            },
            settings,
            attended: keeper::Attended::default(),
        };
        let launcher = Self {
            cluster: Arc::new(cluster),
        };
        launcher.cluster.check().await?;
        tokio::spawn(keeper::run(launcher.clone(), stop));
        Ok(launcher)
    }

    async fn run(self, order: Order, stop: CancellationToken) -> anyhow::Result<Ended> {
        let cluster = &self.cluster;
        let attended = cluster.attended.add(&order.node);
        let deadline = Instant::now() + cluster.settings.runs_within;
        let raised = tokio::select! {
            raised = cluster.raise(&order, deadline) => raised,
            () = stop.cancelled() => Err(anyhow!("it was stopped before it ran")),
        };
        match raised {
            Ok(uid) => {
                let cluster = self.cluster.clone();
                Ok(Box::pin(async move {
                    let ended = cluster.attend(&order.node, &uid, stop).await;
                    drop(attended);
                    ended
                }))
            }
            Err(error) => {
                // Whether there is a Pod is not known where an answer was lost.
                if let Err(left) = cluster.clear(&order.node).await {
                    return Err(error.context(format!("{left:#}; it is deleted later")));
                }
                Err(error)
            }
        }
    }
}

impl Launcher for KubernetesLauncher {
    fn launch(&self, order: Order, stop: CancellationToken) -> Later<anyhow::Result<Ended>> {
        Box::pin(self.clone().run(order, stop))
    }

    fn adopt(&self, node: String, stop: CancellationToken) -> Later<Option<Ended>> {
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let deadline = Instant::now() + cluster.settings.answers_within;
            let pod = cluster.view.known(&node, deadline).await?;
            let (attended, uid) = (cluster.attended.add(&node), pod.metadata.uid.clone()?);
            let ended = async move {
                let ended = cluster.attend(&node, &uid, stop).await;
                drop(attended);
                ended
            };
            Some(Box::pin(ended) as Ended)
        })
    }

    /// A manager is restarted whenever its own Pod is moved.
    fn outlives(&self) -> bool {
        true
    }
}

impl Cluster {
    /// What cannot work is said at the start and not with the first launch.
    async fn check(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.settings.answers_within;
        let sample = Order {
            node: "relay-sample-1".into(),
            region: "sample".into(),
            upstream: "http://primary".into(),
        };
        match self.template(deadline).await {
            Ok(template) => template::pod(template, &sample, &self.settings).map(drop),
            Err(error) if !is_away(&error) => Err(error),
            Err(error) => {
                tracing::warn!(
                    "the cluster cannot be asked; relays are started once it can: {error:#}"
                );
                Ok(())
            }
        }
    }

    async fn template(&self, deadline: Instant) -> anyhow::Result<PodTemplateSpec> {
        match &self.settings.template {
            Template::File(path) => {
                let text = tokio::fs::read_to_string(path).await;
                let text =
                    text.with_context(|| format!("cannot read pod-template {}", path.display()))?;
                template::read(&text).with_context(|| format!("pod-template {}", path.display()))
            }
            Template::Object(name) => {
                let got = self
                    .calls
                    .until(deadline, || self.templates.get(name))
                    .await;
                let object = got.with_context(|| format!("PodTemplate {name}"))?;
                let spec = object.template;
                spec.with_context(|| format!("PodTemplate {name} has no template in it"))
            }
        }
    }

    /// A Pod that runs, under the name of the node; its uid.
    async fn raise(&self, order: &Order, deadline: Instant) -> anyhow::Result<String> {
        let template = self.template(deadline).await?;
        let pod = template::pod(template, order, &self.settings)?;
        let name = &order.node;
        let uid = loop {
            let found = self.calls.until(deadline, || self.pods.get_opt(name)).await;
            let Some(found) = found.with_context(|| format!("Pod {name}"))? else {
                break self.apply(name, &pod, deadline).await?;
            };
            if !template::is_ours(&found, &self.settings.installation) {
                bail!("there is a Pod {name} already, which is no relay of this installation");
            }
            let uid = found.metadata.uid.clone().unwrap_or_default();
            match standing::of(&found) {
                // Somebody launched it just now, and went away.
                Standing::Starting(_) | Standing::Runs => break uid,
                Standing::Ending => {}
                Standing::Over(_) => self.delete(name, &uid, deadline).await?,
            }
            self.view.gone(name, &uid, deadline).await?;
        };
        self.runs(name, &uid, deadline).await?;
        Ok(uid)
    }

    async fn apply(&self, name: &str, pod: &Pod, deadline: Instant) -> anyhow::Result<String> {
        let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(pod));
        let applied = self
            .calls
            .until(deadline, || self.pods.patch(name, &params, &patch))
            .await;
        let applied = applied.with_context(|| format!("Pod {name}"))?;
        applied
            .metadata
            .uid
            .context("the API made a Pod without a uid")
    }

    async fn runs(&self, name: &str, uid: &str, deadline: Instant) -> anyhow::Result<()> {
        let mut why = "it was not seen yet".to_owned();
        let mut seen = self.view.follow(name, uid);
        loop {
            match tokio::time::timeout_at(deadline, seen.next()).await {
                Ok(Found::Here(Standing::Runs)) => return Ok(()),
                Ok(Found::Here(Standing::Starting(waits))) => why = waits,
                Ok(Found::Here(Standing::Ending)) => bail!("its Pod was deleted before it ran"),
                Ok(Found::Here(Standing::Over(how))) => bail!("its Pod ended before it ran: {how}"),
                Ok(Found::Gone) => bail!("its Pod was deleted before it ran"),
                Err(_) => bail!(
                    "its Pod did not run within {:?}: {why}",
                    self.settings.runs_within
                ),
            }
        }
    }

    /// Until the Pod ends by itself, is taken away by somebody else, or has to go.
    async fn attend(&self, name: &str, uid: &str, stop: CancellationToken) -> String {
        let mut seen = self.view.follow(name, uid);
        let mut grace = Duration::ZERO;
        let told = loop {
            tokio::select! {
                found = seen.next() => match found {
                    Found::Here(Standing::Over(how)) => break how,
                    Found::Here(_) => grace = self.view.grace(name).unwrap_or(grace),
                    Found::Gone => return "its Pod was deleted".to_owned(),
                },
                () = stop.cancelled() => break String::new(),
            }
        };
        let deadline = Instant::now() + grace + self.settings.ends_within;
        if let Err(error) = self.delete(name, uid, deadline).await {
            tracing::warn!(pod = name, "a Pod cannot be deleted: {error:#}");
            return format!("{told}; its Pod is left to the cluster");
        }
        if !told.is_empty() {
            return told;
        }
        loop {
            match tokio::time::timeout_at(deadline, seen.next()).await {
                Ok(Found::Here(Standing::Over(how))) => return how,
                Ok(Found::Here(_)) => {}
                Ok(Found::Gone) => return "its Pod was deleted, as it should be".to_owned(),
                Err(_) => return "its Pod does not end; it is left to the cluster".to_owned(),
            }
        }
    }

    /// What a launch that failed may have left.
    async fn clear(&self, name: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.settings.ends_within;
        let found = self.calls.until(deadline, || self.pods.get_opt(name)).await;
        let found = found.with_context(|| format!("Pod {name} may be left"))?;
        let ours = found.filter(|pod| template::is_ours(pod, &self.settings.installation));
        match ours.and_then(|pod| pod.metadata.uid) {
            Some(uid) => self.delete(name, &uid, deadline).await,
            None => Ok(()),
        }
    }

    /// Deletes this Pod, and no other that has its name by now.
    async fn delete(&self, name: &str, uid: &str, deadline: Instant) -> anyhow::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = self
            .calls
            .unless_conflict(deadline, || self.pods.delete(name, &params))
            .await;
        match deleted {
            Ok(_) => Ok(()),
            // It is gone, or the name is another's.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error.context(format!("Pod {name}"))),
        }
    }
}

/// In whose name fields of Pods are set.
const FIELD_MANAGER: &str = "spillway-traffic-manager";
