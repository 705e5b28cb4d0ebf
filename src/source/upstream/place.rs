//! Where a stream is to be had: at a node of ours, or under the URL of anybody's playlist.

use std::{fmt, time::Duration};

use reqwest::Url;
use serde::Deserialize;

use super::join;
use crate::{
    net::{FetchError, Fetcher},
    store::{StreamName, StreamNameError},
};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A node, by its base URL: all of its streams.
    Node(Url),
    /// One stream, by its playlist.
    Playlist { stream: StreamName, url: Url },
}

#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{url} is not http or https")]
    Scheme { url: Url },
    #[error("the stream at {url} needs a name: {error}; say one, as in --upstream NAME={url}")]
    Name { url: Url, error: StreamNameError },
    #[error("{text:?} is no URL: {error}")]
    Url {
        text: String,
        error: url::ParseError,
    },
    #[error("{text:?} names a stream, but {url} is a node, which names its own")]
    Named { text: String, url: Url },
}

impl Place {
    /// What is waited for, before it is known whether it is there.
    fn sign(&self) -> Option<Url> {
        match self {
            Self::Node(base) => join(base, "live").ok(),
            Self::Playlist { url, .. } => Some(url.clone()),
        }
    }

    /// Whether anybody answers there in time, whatever it is that is said.
    pub(super) async fn answers(&self, fetcher: &Fetcher, patience: Duration) -> bool {
        let Some(url) = self.sign() else {
            return false;
        };
        !matches!(
            fetcher.get(url, patience).await,
            Err(FetchError::Late { .. } | FetchError::Transport { .. })
        )
    }
}

/// The streams of the node at `base`.
pub(super) async fn listing(base: &Url, fetcher: &Fetcher) -> Result<Vec<StreamName>, FetchError> {
    #[derive(Deserialize)]
    struct Listing {
        streams: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: StreamName,
    }
    let url = join(base, "live").map_err(|_| FetchError::NotText {
        url: base.clone().into(),
    })?;
    let (url, text) = fetcher.text(url, LISTS).await?;
    let listing: Listing = serde_json::from_str(&text).map_err(|error| FetchError::Transport {
        url: url.into(),
        why: error.to_string(),
    })?;
    Ok(listing
        .streams
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

/// `http://node:8080/`, `https://example.org/show/master.m3u8`, `show=https://example.org/master.m3u8`.
impl std::str::FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.contains(['/', ':', '?']) => (Some(name), rest),
            _ => (None, text),
        };
        let url: Url = rest.parse().map_err(|error| PlaceError::Url {
            text: rest.to_owned(),
            error,
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PlaceError::Scheme { url });
        }
        let file = url.path().rsplit('/').next().unwrap_or_default();
        let stem = file.strip_suffix(".m3u8").or(file.strip_suffix(".m3u"));
        match (stem, name) {
            (None, None) => Ok(Self::Node(url)),
            (None, Some(_)) => Err(PlaceError::Named {
                text: text.to_owned(),
                url,
            }),
            (Some(stem), name) => match name.unwrap_or(stem).parse() {
                Ok(stream) => Ok(Self::Playlist { stream, url }),
                Err(error) => Err(PlaceError::Name { url, error }),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(base) => write!(f, "{base}"),
            Self::Playlist { stream, url } => write!(f, "{stream}={url}"),
        }
    }
}

/// For the list of a node's streams, which is there at once.
const LISTS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_node_or_a_playlist_with_a_name() {
        let read = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        for (text, place) in [
            ("http://node:8080", "http://node:8080/"),
            ("http://a/show.m3u8?x=1", "show=http://a/show.m3u8?x=1"),
            ("talk=https://a/master.m3u8", "talk=https://a/master.m3u8"),
        ] {
            assert_eq!(read(text).expect("a place"), place);
        }
        for (text, why) in [
            ("rtmp://a/live", "rtmp://a/live is not http or https"),
            (
                "talk=http://node:8080/",
                "\"talk=http://node:8080/\" names a stream, but http://node:8080/ is a node, which names its own",
            ),
            (
                "nonsense",
                "\"nonsense\" is no URL: relative URL without a base",
            ),
        ] {
            assert_eq!(read(text).expect_err("no place").to_string(), why, "{text}");
        }
    }
}
