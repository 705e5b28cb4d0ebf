//! Which launcher there is, and what relays are given that it starts.

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

use super::{Settings, settings::LauncherKind};

impl Settings {
    /// `None`: relays cannot be started, or are not to be. They report to `reports_to`, if nothing else is said,
    /// and have `within` until they serve.
    pub(crate) async fn launcher(
        &self,
        here: SocketAddr,
        reports_to: String,
        front: &Front,
        within: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Arc<dyn Launcher>>> {
        let managers = self.managers(reports_to)?;
        #[cfg(not(feature = "kubernetes"))]
        let _ = stop;
        match self.launcher {
            Some(LauncherKind::None) => Ok(None),
            #[cfg(feature = "kubernetes")]
            Some(LauncherKind::Kubernetes) => {
                let stop = stop.clone();
                let launcher = self.kubernetes.launcher(managers, within, stop).await?;
                Ok(Some(Arc::new(launcher)))
            }
            Some(LauncherKind::Process) | None => self.processes(here, managers, front, within),
        }
    }

    /// This one, which may be said by several names, and its peers.
    fn managers(&self, reports_to: String) -> anyhow::Result<String> {
        let own = self.relays_report_to.as_deref().unwrap_or(&reports_to);
        let all = own.split(',').chain(self.peer.iter().map(String::as_str));
        let all: Result<Vec<_>, _> = all.map(address::typed_url).collect();
        Ok(all.map_err(anyhow::Error::msg)?.join(","))
    }

    fn processes(
        &self,
        here: SocketAddr,
        managers: String,
        front: &Front,
        within: Duration,
    ) -> anyhow::Result<Option<Arc<dyn Launcher>>> {
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
        let mut launcher = ProcessLauncher::new(program, managers, ip);
        launcher.ready_within = within.min(launcher.ready_within);
        launcher.files = front.files().unwrap_or_default();
        launcher.files.extend(self.relay_papers()?);
        let given = [
            ("--ca-file", &self.ca_file),
            ("--control-secret-file", &self.control.control_secret_file),
        ];
        let given = given.into_iter();
        let given = given.filter_map(|(flag, file)| Some((flag, file.clone()?)));
        launcher.files.extend(given);
        let format = self
            .log_format
            .map(|format| ("--log-format", format.name().into()));
        launcher.files.extend(format);
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
        let key = self.relay_key.clone();
        Ok(vec![
            ("--control-ca", papers.authority),
            ("--control-key", key.unwrap_or_else(|| certificate.clone())),
            ("--control-cert", certificate),
        ])
    }
}
