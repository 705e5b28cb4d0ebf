//! Requests and answers in HTTP/2, any number at a time on one connection, as browsers have it over TLS.

use bytes::Bytes;
use http::{Request, header};
use reqwest::Url;

use super::{Broken, Kept, Said, Stream};

pub(super) type Sender = h2::client::SendRequest<Bytes>;

/// Opens a connection, which lasts until nobody has a sender any more.
pub(super) async fn begin(stream: Stream) -> Result<Sender, Broken> {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .enable_push(false);
    let (sender, connection) = builder.handshake(stream).await?;
    // How it ends is told to whoever waits for an answer then.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

pub(super) async fn exchange(
    sender: Sender,
    url: &Url,
    agent: &'static str,
    kept: Kept,
) -> Result<Said, Broken> {
    let request = Request::get(url.as_str())
        .version(http::Version::HTTP_2)
        .header(header::USER_AGENT, agent)
        .header(header::ACCEPT, "*/*")
        .body(())
        .map_err(|error| Broken::Transport(error.to_string()))?;
    let mut sender = sender.ready().await?;
    let (response, _) = sender.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut taken = kept.of(head.status);
    while let Some(data) = body.data().await {
        let data = data?;
        taken.room_for(data.len())?;
        body.flow_control().release_capacity(data.len())?;
        taken.add(&data);
    }
    Ok(Said {
        status: head.status,
        headers: head.headers,
        body: taken.done(),
    })
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Transport(error.to_string())
    }
}

/// What Chromium lets come of one answer, and of all, before it has read them.
const WINDOW: u32 = 6 << 20;
const WINDOWS: u32 = 15 << 20;
