//! Which streams there are, for whoever asked for one that is not there.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Url;
use serde::Deserialize;

use crate::net::{FetchError, Fetcher};

/// The names of the streams that the nodes of a traffic manager serve; asks for no viewer's place.
pub async fn streams_of_manager(
    fetcher: &Fetcher,
    base: &Url,
) -> Result<BTreeSet<String>, FetchError> {
    #[derive(Deserialize)]
    struct Node {
        streams: std::collections::BTreeMap<String, serde_json::Value>,
    }
    let nodes: Vec<Node> = json(fetcher, base, "/v1/nodes").await?;
    Ok(nodes
        .into_iter()
        .flat_map(|node| node.streams.into_keys())
        .collect())
}

/// The names of the streams of one node.
pub async fn streams_of_node(
    fetcher: &Fetcher,
    base: &Url,
) -> Result<BTreeSet<String>, FetchError> {
    #[derive(Deserialize)]
    struct Listing {
        streams: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
    }
    let listing: Listing = json(fetcher, base, "/live").await?;
    Ok(listing
        .streams
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

async fn json<T: serde::de::DeserializeOwned>(
    fetcher: &Fetcher,
    base: &Url,
    path: &str,
) -> Result<T, FetchError> {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    let (url, text) = fetcher.text(url, PATIENCE).await?;
    let unread = |error: serde_json::Error| FetchError::Transport {
        url: url.into(),
        why: error.to_string(),
    };
    serde_json::from_str(&text).map_err(unread)
}

const PATIENCE: Duration = Duration::from_secs(5);
