//! The options of the launcher of Pods, and the way to the cluster.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{KubernetesLauncher, Settings, Template, template::is_label};

/// How relays are started as Pods, with `--launcher kubernetes`.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KubernetesConfig {
    /// Namespace of relays [default: that of this manager's own Pod, or of the kubeconfig]
    #[arg(long, env = "SPILLWAY_KUBERNETES_NAMESPACE", value_name = "NAME")]
    pub kubernetes_namespace: Option<String>,
    /// What tells the relays of this installation from others of the namespace [default: spillway]
    #[arg(long, env = "SPILLWAY_KUBERNETES_INSTALLATION", value_name = "NAME")]
    pub kubernetes_installation: Option<String>,
    /// PodTemplate of the namespace that relays are made from [default: spillway-relay]
    #[arg(long, env = "SPILLWAY_POD_TEMPLATE", value_name = "NAME")]
    pub pod_template: Option<String>,
    /// The same in a file, YAML or JSON
    #[arg(long, env = "SPILLWAY_POD_TEMPLATE_FILE", value_name = "FILE")]
    pub pod_template_file: Option<PathBuf>,
}

impl KubernetesConfig {
    /// With the cluster that this runs in, or that the kubeconfig names. Relays report to `manager`.
    pub async fn launcher(
        &self,
        manager: String,
        runs_within: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<KubernetesLauncher> {
        let installation = self.kubernetes_installation.clone();
        let installation = installation.unwrap_or_else(|| "spillway".into());
        ensure!(
            is_label(&installation),
            "kubernetes-installation {installation:?} is not 1 to 63 of a-z, 0-9 and '-'"
        );
        ensure!(
            self.pod_template.is_none() || self.pod_template_file.is_none(),
            "both pod-template and pod-template-file; relays are made from one"
        );
        let template = match (&self.pod_template_file, &self.pod_template) {
            (Some(file), _) => Template::File(file.clone()),
            (None, name) => {
                Template::Object(name.clone().unwrap_or_else(|| "spillway-relay".into()))
            }
        };
        let client = Client::try_default().await.context(
            "no cluster: neither is this a Pod with a service account, nor is there a kubeconfig (KUBECONFIG)",
        )?;
        let namespace = self.kubernetes_namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        tracing::info!(namespace, installation, ?template, "relays are Pods");
        let settings = Settings {
            installation,
            template,
            manager,
            runs_within,
            ends_within: Duration::from_secs(30),
            answers_within: Duration::from_secs(10),
        };
        KubernetesLauncher::start(client, &namespace, settings, stop).await
    }
}
