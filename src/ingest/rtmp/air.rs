//! A publisher that may publish: its media becomes FLV, and with the first picture that one can begin with it is
//! on the air.

use std::net::SocketAddr;

use super::{Closed, flv::Muxer, session::Event};
use crate::ingest::{
    desk::Seat,
    feed::{Feed, Piece},
};

pub(super) struct Air {
    from: SocketAddr,
    muxer: Muxer,
    /// Until it is on the air.
    seat: Option<Seat>,
    feed: Option<Feed>,
}

impl Air {
    pub(super) fn new(seat: Seat, from: SocketAddr) -> Self {
        Self {
            from,
            muxer: Muxer::default(),
            seat: Some(seat),
            feed: None,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.feed.is_some()
    }

    /// Waits for a segmenter to come.
    pub(super) async fn joined(&mut self) {
        match &mut self.feed {
            Some(feed) => feed.joined().await,
            None => std::future::pending().await,
        }
    }

    /// To be called when one has come.
    pub(super) async fn begin(&mut self) -> Result<(), Closed> {
        match &mut self.feed {
            Some(feed) => Ok(feed.begin().await?),
            None => Ok(()),
        }
    }

    pub(super) async fn take(&mut self, event: Event) -> Result<(), Closed> {
        let piece = match event {
            Event::Metadata { values, octets } => {
                self.muxer.metadata(&values, &octets);
                None
            }
            Event::Video { timestamp, octets } => self.muxer.video(timestamp, &octets)?,
            Event::Audio { timestamp, octets } => self.muxer.audio(timestamp, &octets)?,
            Event::Connect { .. } | Event::Publish { .. } | Event::Ended => None,
        };
        match piece {
            Some(piece) => self.hand_on(piece).await,
            None => Ok(()),
        }
    }

    async fn hand_on(&mut self, piece: Piece) -> Result<(), Closed> {
        if piece.begins
            && let Some(seat) = self.seat.take()
        {
            let said = &self.muxer.said;
            let encoder = said.encoder.as_deref().unwrap_or("unknown");
            tracing::info!(
                stream = %seat.channel.name, from = %self.from, protocol = "rtmp", encoder,
                video = said.video(), audio = said.audio(), "publisher is on the air",
            );
            self.feed = Some(Feed::open(seat)?);
        }
        match &mut self.feed {
            Some(feed) => Ok(feed.push(piece, || self.muxer.prologue()).await?),
            // Nobody could begin with it.
            None => Ok(()),
        }
    }
}
