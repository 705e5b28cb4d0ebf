//! Brings what is asked for in a rung that is not followed: from the place that is followed now.

use playlists::{Ladder, parse::ListedSegment};
use reqwest::Url;
use std::sync::Arc;

use super::{Lost, PATIENCE, join, lists, plain::Shape};
use crate::{
    net::{FetchError, Fetcher},
    store::{Bringer, Bringing, Filling, Wanted},
};

/// Where the rungs of a stream are to be had.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub fetcher: Fetcher,
    pub index: Url,
    pub ladder: Ladder,
    /// Each rung's playlist, and what its segments are made into.
    pub from: Vec<(Url, Option<Arc<Shape>>)>,
}

impl Bringer for Branch {
    fn bring(&self, wanted: Wanted, to: Filling) -> Bringing {
        let branch = self.clone();
        Box::pin(async move {
            let brought = match branch.from.get(wanted.rung) {
                Some((url, Some(shape))) => branch.made(url, shape, wanted, &to).await,
                _ => branch.as_it_is(wanted, &to).await,
            };
            brought.map_err(|lost| lost.to_string())
        })
    }
}

impl Branch {
    /// A node's, by its canonical name, as it comes.
    async fn as_it_is(&self, wanted: Wanted, to: &Filling) -> Result<(), Lost> {
        let rung = self.ladder.rungs().get(wanted.rung);
        let rung = rung.map_or("", |rung| rung.name.as_str());
        let (epoch, number) = (wanted.epoch.0, wanted.number);
        let name = match wanted.part {
            Some(part) => format!("{epoch}/{rung}/{number}.{part}.m4s"),
            None => format!("{epoch}/{rung}/{number}.m4s"),
        };
        self.pour(join(&self.index, &name)?, to).await
    }

    async fn pour(&self, url: Url, to: &Filling) -> Result<(), Lost> {
        let mut incoming = self.fetcher.open(url).await?;
        if !incoming.ends_for_certain() {
            let url = Box::new(incoming.url);
            return Err(FetchError::Endless { url }.into());
        }
        if let Some(length) = incoming.length {
            to.expects(length);
        }
        while let Some(chunk) = incoming.chunk().await? {
            to.push(chunk);
        }
        Ok(())
    }

    /// Another origin's, whose name its playlist says, made into what is published here.
    async fn made(
        &self,
        url: &Url,
        shape: &Shape,
        wanted: Wanted,
        to: &Filling,
    ) -> Result<(), Lost> {
        let mut list = lists(&self.fetcher, url.clone(), PATIENCE).await?;
        shape.count(&mut list, url);
        let number = wanted.number;
        let this = |segment: &&ListedSegment| segment.number == number;
        let segment = list.segments.iter().find(this);
        let uri = segment.and_then(|segment| Some((segment, segment.uri.as_ref()?)));
        let (segment, uri) = uri.ok_or(Lost::Segment {
            number,
            why: "it is not listed in that rung",
        })?;
        let octets = self.fetcher.media(join(url, uri)?, PATIENCE).await?;
        let made = shape.media(&self.fetcher, url, segment, octets).await?;
        to.expects(made.len() as u64);
        to.push(made);
        Ok(())
    }
}
