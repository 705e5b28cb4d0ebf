//! Publishers: who may send a stream to this node, and the way of its octets to the segmenter. Nothing is decoded
//! here, and what becomes of the stream is not known: a source is told that somebody is on the air, and where.

pub mod desk;
pub mod feed;
pub mod keys;
pub mod options;
pub mod rtmp;
pub mod srt;

use std::{net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use anyhow::Context as _;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use crate::net;

pub use options::IngestConfig;

/// The listeners for publishers, bound and not yet served.
#[derive(Debug)]
pub struct Ingest {
    desk: Desk,
    rtmp: Option<TcpListener>,
    srt: Option<UdpSocket>,
}

impl Ingest {
    /// Binds what `config` asks for; RTMP, if it asks for nothing.
    pub async fn bind(config: &IngestConfig, desk: Desk) -> anyhow::Result<Self> {
        let rtmp = match (config.rtmp_listen, config.srt_listen) {
            (Some(address), _) => Some(net::bind(address).await?),
            (None, Some(_)) => None,
            (None, None) => Some(net::bind_all(RTMP_PORT).await?),
        };
        let srt = config.srt_listen.map(srt::bind).transpose()?;
        Ok(Self { desk, rtmp, srt })
    }

    /// Where publishers reach it by RTMP.
    pub fn rtmp(&self) -> Option<SocketAddr> {
        self.rtmp.as_ref()?.local_addr().ok()
    }

    /// Where publishers reach it by SRT.
    pub fn srt(&self) -> Option<SocketAddr> {
        self.srt.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`, and until whoever is on the air has been told.
    pub async fn serve(self, stop: CancellationToken) {
        let mut servers = JoinSet::new();
        if let Some(listener) = self.rtmp {
            servers.spawn(rtmp::serve(listener, self.desk.clone(), stop.clone()));
        }
        if let Some(socket) = self.srt {
            servers.spawn(srt::serve(socket, self.desk.clone(), stop.clone()));
        }
        while servers.join_next().await.is_some() {}
    }
}

/// A folder that nobody else can look into, for the sockets of segmenters; gone when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> anyhow::Result<Self> {
        let home = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let home = home.filter(|home| home.is_dir());
        let home = home.unwrap_or_else(std::env::temp_dir);
        let mut chance = [0; 4];
        getrandom::fill(&mut chance).context("this system has no random numbers")?;
        let chance = u32::from_ne_bytes(chance);
        let path = home.join(format!("spillway-{}-{chance:08x}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where the socket of the stream called `name` is, the `index`th; a socket's path may not be long.
    pub fn socket(&self, index: usize, name: &str) -> PathBuf {
        self.0.join(format!("{index}-{name:.32}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const RTMP_PORT: u16 = 1935;
