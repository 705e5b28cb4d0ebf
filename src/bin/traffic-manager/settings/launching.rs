//! How relays are started, and what they are given to report with, by the settings.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use spillway::{
    manager::{
        address,
        launcher::{Launcher, ProcessLauncher},
    },
    net::Front,
};
use tokio_util::sync::CancellationToken;

use super::{LauncherKind, Settings};
use crate::door::Door;

impl Settings {
    /// `None`: relays cannot be started, or are not to be. `within` is for a relay to serve.
    pub(crate) async fn launcher(
        &self,
        here: SocketAddr,
        reports_to: Vec<String>,
        front: &Front,
        within: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Arc<dyn Launcher>>> {
        match self.launcher {
            Some(LauncherKind::None) => return Ok(None),
            #[cfg(feature = "kubernetes")]
            Some(LauncherKind::Kubernetes) => {
                let stop = stop.clone();
                let launcher = self.kubernetes.launcher(reports_to, within, stop).await?;
                return Ok(Some(Arc::new(launcher)));
            }
            Some(LauncherKind::Process) | None => {}
        }
        let program = match &self.local_server {
            Some(given) => {
                anyhow::ensure!(
                    given.is_file(),
                    "{} is no program to start as a relay",
                    given.display()
                );
                given.clone()
            }
            None => {
                let beside = std::env::current_exe()
                    .context("cannot tell where this program is")?
                    .with_file_name("local-server");
                if !beside.is_file() {
                    tracing::warn!(program = %beside.display(), "not found, so relays cannot be started; see --local-server");
                    return Ok(None);
                }
                beside
            }
        };
        let ip = self.relay_ip.unwrap_or(here.ip());
        let mut launcher = ProcessLauncher::new(program, reports_to, ip);
        launcher.ready_within = within.min(launcher.ready_within);
        launcher.files = front.files().unwrap_or_default();
        launcher.files.extend(self.relay_papers()?);
        let given = [
            ("--ca-file", &self.ca_file),
            ("--control-secret-file", &self.control.control_secret_file),
        ];
        let given = given.into_iter();
        launcher
            .files
            .extend(given.filter_map(|(flag, file)| Some((flag, file.clone()?))));
        Ok(Some(Arc::new(launcher)))
    }

    /// What relays of this machine show to the manager.
    fn relay_papers(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let Some(papers) = self.control.papers()? else {
            return Ok(Vec::new());
        };
        let certificate = self.relay_cert.clone().context(
            "relays that are started have to show a certificate as well, for names that begin with relay-; \
             give relay-cert, or start none (--launcher none)",
        )?;
        let key = self
            .relay_key
            .clone()
            .unwrap_or_else(|| certificate.clone());
        Ok(vec![
            ("--control-ca", papers.authority),
            ("--control-cert", certificate),
            ("--control-key", key),
        ])
    }

    /// Where relays that are started report: to this manager first.
    pub(crate) fn reports_to(
        &self,
        here: SocketAddr,
        url: &str,
        front: &Front,
        door: Option<&Door>,
    ) -> anyhow::Result<Vec<String>> {
        let own = match (&self.relays_report_to, door) {
            (Some(given), _) => address::typed_url(given).map_err(anyhow::Error::msg)?,
            (None, Some(door)) => door.url.as_str().trim_end_matches('/').to_owned(),
            // With a certificate this manager is reached by the name in it, and so are relays beside it.
            (None, None) if front.files().is_some() => url.to_owned(),
            (None, None) => format!("http://{here}"),
        };
        let peers = self.peer.iter().map(|peer| address::typed_url(peer));
        std::iter::once(Ok(own))
            .chain(peers)
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)
    }
}
