//! What makes a run like the one before it: told with its first frame, and given back to the next run, so that one that begins
//! before its input is there makes the same ladder, the same grid and the same init sections all the same. Then no player
//! notices more than a discontinuity.

use std::str::FromStr;

use playlists::rendition::Track;
use serde::{Deserialize, Serialize};

use crate::{
    ladder::Size,
    libav::{About, Colours, Look},
};

/// Taken from the first picture of a stream, and kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Likeness {
    width: u32,
    height: u32,
    colours: Colours,
    fps: u32,
    sounds: Vec<Track>,
    subtitles: Vec<Track>,
}

impl Likeness {
    pub(crate) fn of(look: Look, fps: u32, about: &About) -> Self {
        Self {
            width: look.size.width,
            height: look.size.height,
            colours: look.colours,
            fps,
            sounds: about.sounds.clone(),
            subtitles: about.subtitles.clone(),
        }
    }

    pub(crate) fn look(&self) -> Look {
        let (width, height) = (self.width, self.height);
        let mut look = Look::of_size(Size { width, height });
        look.colours = self.colours;
        look
    }

    /// As if whoever is on the air had what the input before had.
    pub(crate) fn about(&self, about: &About) -> About {
        About {
            rate: f64::from(self.fps),
            sounds: self.sounds.clone(),
            subtitles: self.subtitles.clone(),
            ..about.clone()
        }
    }

    /// One line, for the command line of the next run.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl FromStr for Likeness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let likeness: Self = serde_json::from_str(text)
            .map_err(|why| format!("it is not what a run before said of itself: {why}"))?;
        let sane = (16..=16384).contains(&likeness.width)
            && (16..=16384).contains(&likeness.height)
            && (1..=60).contains(&likeness.fps);
        sane.then_some(likeness)
            .ok_or_else(|| format!("{text} is no size and rate of pictures"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likeness_is_read_as_it_was_written_and_nothing_else_is() {
        let likeness = Likeness {
            width: 640,
            height: 360,
            colours: Colours::Bt709,
            fps: 25,
            sounds: vec![Track::new(None, Some("de"), "Audio 1")],
            subtitles: Vec::new(),
        };
        assert_eq!(likeness.text().parse(), Ok(likeness.clone()));
        assert_eq!(likeness.look().colours, Colours::Bt709);
        let huge = Likeness {
            width: 1 << 20,
            ..likeness
        };
        for wrong in ["", "{}", "640x360", &huge.text()] {
            assert!(wrong.parse::<Likeness>().is_err(), "{wrong}");
        }
    }
}
