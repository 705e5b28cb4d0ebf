//! Playlists that say how each segment is coded: of one viewer, whose rungs are chosen when they are
//! listed, and of MPEG-TS, which needs no init section. The usual text, of names without a rung and of
//! CMAF, is the parent's.

use std::fmt::{self, Write as _};

use super::VERSION;
use crate::{ladder::Ladder, segment::Segment, timeline::Timeline, window::Window};

/// Which rung a segment is taken from.
#[derive(Clone, Copy, Debug)]
pub enum Taken<'a> {
    /// The one that is chosen when it is asked for; the text is every viewer's.
    Later,
    /// The one that a viewer was told.
    Told(&'a Timeline),
    /// Always this one; the text is whoever's, and lies where canonical playlists do.
    Always(usize),
}

/// How that is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Style {
    /// A switch is an `EXT-X-DISCONTINUITY` and, but for MPEG-TS, an `EXT-X-MAP` of the rung's own.
    pub tagged: bool,
    /// MPEG-TS segments.
    pub transport: bool,
    /// By canonical names even for one viewer, so that caches share what is behind them. Else a viewer's
    /// segment has one name whatever its rung, which is in the query: hls.js ends the viewing when the
    /// path of a listed segment changes.
    pub canonical: bool,
}

/// The media playlist of `window`, its segments `taken` from these rungs.
pub fn told(window: &Window, taken: Taken<'_>, style: Style) -> String {
    let mut text = String::with_capacity(4096);
    let told = Text {
        ladder: &window.format().ladder,
        taken,
        style,
    };
    told.write(&mut text, window)
        .expect("a String takes all text");
    text
}

struct Text<'a> {
    ladder: &'a Ladder,
    taken: Taken<'a>,
    style: Style,
}

impl Text<'_> {
    fn write(&self, text: &mut String, window: &Window) -> fmt::Result {
        let format = window.format();
        writeln!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES",
            format.target_duration()
        )?;
        if let Some(first) = window.listed().next() {
            let number = first.number();
            let before = first.head.timeline - u64::from(first.head.discontinuity);
            writeln!(
                text,
                "#EXT-X-MEDIA-SEQUENCE:{number}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}",
                before + self.tags_before(number)
            )?;
        }
        writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        let mut map = None;
        for segment in window.listed() {
            self.write_segment(text, segment, &mut map)?;
        }
        if window.has_ended() {
            writeln!(text, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }

    /// `map` is the init section in force, which a delta update has to say anew.
    fn write_segment(
        &self,
        text: &mut String,
        segment: &Segment,
        map: &mut Option<String>,
    ) -> fmt::Result {
        if segment.head.discontinuity || self.tags(segment.number()) {
            writeln!(text, "#EXT-X-DISCONTINUITY")?;
        }
        let init = self.init(segment);
        if *map != init {
            if let Some(init) = &init {
                writeln!(text, "#EXT-X-MAP:URI=\"{init}\"")?;
            }
            *map = init;
        }
        writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", segment.head.date_time)?;
        if segment.gap {
            writeln!(text, "#EXT-X-GAP")?;
        }
        let (length, name) = (segment.duration(), self.name(segment));
        writeln!(text, "#EXTINF:{length},\n{name}")
    }

    fn tags(&self, number: u64) -> bool {
        match self.taken {
            Taken::Told(timeline) => self.style.tagged && timeline.switches_at(number),
            Taken::Later | Taken::Always(_) => false,
        }
    }

    fn tags_before(&self, number: u64) -> u64 {
        match self.taken {
            Taken::Told(timeline) if self.style.tagged => timeline.switches_before(number),
            _ => 0,
        }
    }

    fn init(&self, segment: &Segment) -> Option<String> {
        let epoch = segment.head.init.epoch.0;
        match self.taken {
            _ if self.style.transport => None,
            Taken::Told(timeline) if self.style.tagged => {
                let rung = self.rung(timeline.listed(segment.number()));
                Some(format!("../../{epoch}/{rung}/init.mp4"))
            }
            Taken::Told(_) | Taken::Later => Some(format!("../../{epoch}/init.mp4")),
            Taken::Always(_) => Some(format!("{epoch}/init.mp4")),
        }
    }

    fn name(&self, segment: &Segment) -> String {
        let (epoch, number) = (segment.head.epoch.0, segment.number());
        let kind = if self.style.transport { "ts" } else { "m4s" };
        match self.taken {
            Taken::Later => format!("{number}.{kind}"),
            Taken::Told(timeline) if self.style.canonical => {
                let rung = self.rung(timeline.listed(number));
                format!("../../{epoch}/{rung}/{number}.{kind}")
            }
            Taken::Told(timeline) => format!("{number}.{kind}?r={}", timeline.listed(number)),
            Taken::Always(rung) => format!("{epoch}/{}/{number}.{kind}", self.rung(rung)),
        }
    }

    /// A viewer may have been told of a ladder that was longer.
    fn rung(&self, index: usize) -> &str {
        let rungs = self.ladder.rungs();
        rungs[index.min(rungs.len() - 1)].name.as_str()
    }
}
