//! The listener for nodes, if they have one of their own, and whom the manager hears.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use reqwest::Url;
use spillway::{
    manager::Members,
    net::{self, Files, Front, FrontConfig},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Settings;

/// A listener for nodes alone.
pub(crate) struct Door {
    front: Front,
    listener: TcpListener,
    pub(crate) url: Url,
}

impl Door {
    /// `None`: nodes report where viewers join.
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let (front, usual) = match settings.control.papers()? {
            Some(papers) => {
                let files = Files {
                    certificate: papers.certificate,
                    key: papers.key,
                };
                let front = Front::for_members(files, &papers.authority).await?;
                (front, Some(PORT))
            }
            None => (FrontConfig::default().open().await?, None),
        };
        let listener = match (settings.control_listen, usual) {
            (Some(address), _) => net::bind(address).await.context("control-listen")?,
            (None, Some(port)) => net::bind_all(port).await.context("control-listen")?,
            (None, None) => return Ok(None),
        };
        let url = front.url(listener.local_addr()?, here(&listener)?.ip())?;
        Ok(Some(Self {
            front,
            listener,
            url,
        }))
    }

    /// Until `stop`.
    pub(crate) async fn serve(self, control: Router, stop: CancellationToken) {
        let served = self.front.serve(self.listener, control, &self.url, stop);
        served.await;
    }
}

impl Settings {
    /// Without a word about it, who is on this machine.
    pub(crate) fn members(&self) -> anyhow::Result<Members> {
        let (secret, certificate) = (self.control.secret()?, self.control.papers()?.is_some());
        Ok(Members {
            this_machine: secret.is_none() && !certificate,
            secret,
            certificate,
        })
    }
}

/// Where this machine reaches it.
pub(crate) fn here(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    let mut here = listener.local_addr()?;
    if here.ip().is_unspecified() {
        here.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(here)
}

/// Of nodes that show certificates.
const PORT: u16 = 9443;
