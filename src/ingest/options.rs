//! What can be said of publishers on the command line, in the environment and in the file, and what comes of it.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    desk::{Channel, Second},
    keys::Key,
};
use crate::store::StreamName;

/// The source of a stream that is published to.
pub const PUBLISH: &str = "publish";

/// How publishers reach this node.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct IngestConfig {
    /// Address for publishers that speak RTMP, such as OBS and ffmpeg [default: `[::]:1935`, if a stream's source
    /// is `publish` and there is no --srt-listen]
    #[arg(long, env = "SPILLWAY_RTMP_LISTEN", value_name = "IP:PORT")]
    pub rtmp_listen: Option<SocketAddr>,
    /// Address (UDP) for publishers that call by SRT [default: none]
    #[arg(long, env = "SPILLWAY_SRT_LISTEN", value_name = "IP:PORT")]
    pub srt_listen: Option<SocketAddr>,
}

/// How one stream is published.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PublishConfig {
    /// What its publisher has to know, for a source that is `publish`. On a command line everybody on this machine
    /// could read it
    #[arg(skip)]
    pub key: Option<String>,
    /// A file whose first line is the key of a source that is `publish`; SPILLWAY_PUBLISH_KEY may say the key itself
    #[arg(
        long = "publish-key-file",
        env = "SPILLWAY_PUBLISH_KEY_FILE",
        value_name = "FILE"
    )]
    pub key_file: Option<PathBuf>,
    /// What SRT has to be encrypted with, 10 to 79 characters [default: the key, for who does not say it in the streamid]
    #[arg(skip)]
    pub passphrase: Option<String>,
    /// The RTMP application that it belongs to [default: live]
    #[arg(
        long = "publish-app",
        env = "SPILLWAY_PUBLISH_APP",
        value_name = "NAME"
    )]
    pub app: Option<String>,
    /// What becomes of a second publisher of a stream that is being published: it is refused, or takes over
    /// [default: refuse]
    #[arg(
        long,
        env = "SPILLWAY_SECOND_PUBLISHER",
        value_name = "refuse|take-over"
    )]
    pub second_publisher: Option<Second>,
    /// How long a publisher that has gone may take to come back before the programme ends [default: 10]
    #[arg(long, env = "SPILLWAY_GRACE_SECONDS", value_name = "SECONDS")]
    pub grace_seconds: Option<f64>,
}

impl PublishConfig {
    /// The stream `name` as it can be published to, with its segmenter's socket at `socket`.
    pub fn channel(&self, name: StreamName, socket: PathBuf) -> anyhow::Result<Channel> {
        let key = self.secret().with_context(|| format!("stream {name}"))?;
        let app = self.app.clone().unwrap_or_else(|| "live".into());
        let mut channel = Channel::new(name, app, key, socket);
        channel.second = self.second_publisher.unwrap_or_default();
        let passphrase = self.passphrase.as_deref().map(passphrase).transpose();
        channel.passphrase = passphrase.with_context(|| format!("stream {}", channel.name))?;
        Ok(channel)
    }

    /// Whether publishers could be told from others, and waited for.
    pub fn would_do(&self) -> anyhow::Result<()> {
        self.secret()?;
        self.passphrase.as_deref().map(passphrase).transpose()?;
        self.grace()?;
        Ok(())
    }

    fn secret(&self) -> anyhow::Result<Key> {
        match (&self.key, &self.key_file) {
            (Some(key), None) => Ok(Key::new(key)?),
            (None, Some(path)) => Key::load(path),
            (Some(_), Some(_)) => {
                anyhow::bail!("it has a key and a key file; one of them has to go")
            }
            (None, None) => anyhow::bail!(
                "it is published to and has no key; say `key` or `key-file` in the config file, --publish-key-file, \
                 or SPILLWAY_PUBLISH_KEY in the environment"
            ),
        }
    }

    pub fn grace(&self) -> anyhow::Result<Duration> {
        let seconds = self.grace_seconds.unwrap_or(10.0);
        anyhow::ensure!(
            (0.0..=3600.0).contains(&seconds),
            "grace-seconds is {seconds}; it has to be 0 to 3600"
        );
        Ok(Duration::from_secs_f64(seconds))
    }
}

/// SRT's own bounds.
fn passphrase(text: &str) -> anyhow::Result<Key> {
    anyhow::ensure!(
        (10..=79).contains(&text.len()),
        "its passphrase has {} characters; SRT wants 10 to 79",
        text.len()
    );
    Key::new(text).context("its passphrase")
}

impl FromStr for Second {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "take-over" => Ok(Self::TakeOver),
            other => Err(format!("{other:?} is neither refuse nor take-over")),
        }
    }
}

/// `rtmp://IP:PORT/APP/KEY` with an address of this machine: the short form of a stream that is published to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Short {
    pub listen: SocketAddr,
    pub app: String,
    pub key: String,
}

impl Short {
    /// `None` if the URL is not RTMP's, or names another machine: then it is one to play from.
    pub fn of(source: &str, is_here: impl Fn(SocketAddr) -> bool) -> Option<anyhow::Result<Self>> {
        let rest = source.strip_prefix("rtmp://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let listen: SocketAddr = authority
            .parse()
            .or_else(|_| format!("{authority}:1935").parse())
            .ok()?;
        if !is_here(listen) {
            return None;
        }
        let Some((app, key)) = path
            .split_once('/')
            .filter(|(app, key)| !app.is_empty() && !key.is_empty())
        else {
            return Some(Err(anyhow::anyhow!(
                "{source} has to be like rtmp://0.0.0.0:1935/live/KEY, with an application and a key"
            )));
        };
        Some(Ok(Self {
            listen,
            app: app.to_owned(),
            key: key.to_owned(),
        }))
    }
}

/// Whether `address` is one of this machine's: a socket can have it.
pub fn is_here(address: SocketAddr) -> bool {
    std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtmp_url_of_this_machine_is_listened_on_and_others_are_played() {
        let here = |address: SocketAddr| address.ip().is_unspecified();
        let short = |source| Short::of(source, here);
        let listens = short("rtmp://0.0.0.0:1936/live/demo").unwrap().unwrap();
        assert_eq!(listens.listen, ([0, 0, 0, 0], 1936).into());
        assert_eq!((&*listens.app, &*listens.key), ("live", "demo"));
        assert_eq!(
            short("rtmp://0.0.0.0/live/demo")
                .unwrap()
                .unwrap()
                .listen
                .port(),
            1935
        );
        assert!(short("rtmp://[::]:1935/live/demo").unwrap().is_ok());
        assert!(short("rtmp://0.0.0.0:1935/live").unwrap().is_err());
        assert!(short("rtmp://192.0.2.1/live/demo").is_none());
        assert!(short("rtmp://media.example.org/live/demo").is_none());
        assert!(short("http://0.0.0.0/live/demo").is_none());
    }

    #[test]
    fn a_stream_that_is_published_to_has_one_key() {
        let config = |key: Option<&str>, file: Option<&str>| PublishConfig {
            key: key.map(Into::into),
            key_file: file.map(Into::into),
            ..PublishConfig::default()
        };
        let channel = |config: PublishConfig| {
            let made = config.channel("talk".parse().unwrap(), PathBuf::new());
            made.map_err(|error| format!("{error:#}"))
        };
        assert!(channel(config(Some("s3cr3t"), None)).is_ok());
        let none = channel(config(None, None)).unwrap_err();
        assert!(
            none.contains("stream talk") && none.contains("key-file"),
            "{none}"
        );
        let both = channel(config(Some("s3cr3t"), Some("/nowhere"))).unwrap_err();
        assert!(both.contains("one of them"), "{both}");
        let file = channel(config(None, Some("/nowhere"))).unwrap_err();
        assert!(file.contains("/nowhere"), "{file}");
    }
}
