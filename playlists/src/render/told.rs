//! Playlists that say how each segment is coded: of one viewer, whose rungs are chosen when they are
//! listed, and of MPEG-TS, which needs no init section. The usual text, of names without a rung and of
//! CMAF, is the parent's.

use std::fmt::{self, Write as _};

use super::{Header, is_divided, skippable, with_parts_from, write_header, write_ranges};
use crate::{
    segment::{Epoch, Segment},
    timeline::Timeline,
    window::{Format, Window},
};

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
    /// Parts are listed, of what is not MPEG-TS.
    pub parts: bool,
    /// By canonical names even for one viewer, so that caches share what is behind them. Else a viewer's
    /// segment has one name whatever its rung, which is in the query: hls.js ends the viewing when the
    /// path of a listed segment changes.
    pub canonical: bool,
}

/// The media playlist of `window`, its segments `taken` from these rungs.
pub fn told(window: &Window, taken: Taken<'_>, style: Style) -> String {
    written(window, taken, style, 0)
}

/// The same without what whoever reads it should have already (a Playlist Delta Update, RFC 8216bis
/// section 6.2.5.1); `None` if there is nothing to leave out.
pub fn told_delta(window: &Window, taken: Taken<'_>, style: Style) -> Option<String> {
    match skippable(window) {
        // hls.js loses count of the discontinuities that are left out, and then ends the viewing.
        _ if style.tagged => None,
        0 => None,
        skipped => Some(written(window, taken, style, skipped)),
    }
}

fn written(window: &Window, taken: Taken<'_>, style: Style, skipped: usize) -> String {
    let mut text = String::with_capacity(4096);
    let told = Text {
        format: window.format(),
        taken,
        style: Style {
            parts: style.parts && !style.transport && window.format().is_parted(),
            ..style
        },
    };
    told.write(&mut text, window, skipped)
        .expect("a String takes all text");
    text
}

struct Text<'a> {
    format: &'a Format,
    taken: Taken<'a>,
    style: Style,
}

impl Text<'_> {
    fn write(&self, text: &mut String, window: &Window, skipped: usize) -> fmt::Result {
        let mut segments: Vec<_> = window.listed().map(|segment| &**segment).collect();
        let parts_from = with_parts_from(&segments, self.format.target() * 3);
        let open = window.open_segment().filter(|_| self.style.parts);
        segments.extend(open.map(|open| &**open));
        let skipping = (!self.style.tagged).then_some(skipped);
        let gaps = segments.iter().any(|segment| segment.gap);
        // Spans are all told, also in an update: who asks for fewer was told of none that may be left out.
        let head = Header {
            parts: self.style.parts,
            skipped: skipping,
            gaps,
            ranges: None,
        };
        write_header(text, self.format, &head)?;
        if let Some(first) = segments.first() {
            let number = first.number();
            let before = first.head.timeline - u64::from(first.head.discontinuity);
            writeln!(
                text,
                "#EXT-X-MEDIA-SEQUENCE:{number}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}",
                before + self.tags_before(number)
            )?;
        }
        writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        if skipped > 0 {
            writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        write_ranges(
            text,
            window,
            &segments[..skipped.min(segments.len())],
            segments.first(),
        )?;
        // A delta update says anew which init section is in force (section 6.2.5.1).
        let mut map = None;
        for (place, segment) in segments.into_iter().enumerate().skip(skipped) {
            let parts = self.style.parts && place >= parts_from;
            self.write_segment(text, segment, &mut map, parts)?;
        }
        if window.has_ended() {
            return writeln!(text, "#EXT-X-ENDLIST");
        }
        self.write_hint(text, window)
    }

    /// `map` is the init section in force.
    fn write_segment(
        &self,
        text: &mut String,
        segment: &Segment,
        map: &mut Option<String>,
        parts: bool,
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
        for range in &segment.ranges {
            writeln!(text, "#EXT-X-DATERANGE:{range}")?;
        }
        if segment.gap {
            writeln!(text, "#EXT-X-GAP")?;
        }
        let epoch = segment.head.epoch;
        if parts && is_divided(segment, self.format) {
            for (index, part) in segment.parts.iter().enumerate() {
                let independent = if part.is_independent() {
                    ",INDEPENDENT=YES"
                } else {
                    ""
                };
                let name = self.name(
                    epoch,
                    &format!("{}.{index}", segment.number()),
                    segment.number(),
                );
                writeln!(
                    text,
                    "#EXT-X-PART:DURATION={},URI=\"{name}\"{independent}",
                    part.duration
                )?;
            }
        }
        if segment.complete {
            let number = segment.number();
            let name = self.name(epoch, &number.to_string(), number);
            writeln!(text, "#EXTINF:{},\n{name}", segment.duration())?;
        }
        Ok(())
    }

    /// What comes next, where it is known how it will be called: not before the rung is chosen.
    fn write_hint(&self, text: &mut String, window: &Window) -> fmt::Result {
        let open = window.open_segment().filter(|_| self.style.parts);
        let (Some(open), Some(next)) = (open, window.next_part()) else {
            return Ok(());
        };
        if open.number() != next.number {
            return Ok(());
        }
        let file = format!("{}.{}", next.number, next.part);
        let name = self.name(open.head.epoch, &file, next.number);
        writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\"")
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

    /// The name of `file`, which is the segment of this `number`, or a part of it.
    fn name(&self, Epoch(epoch): Epoch, file: &str, number: u64) -> String {
        let kind = if self.style.transport { "ts" } else { "m4s" };
        match self.taken {
            Taken::Later => format!("{file}.{kind}"),
            Taken::Told(timeline) if self.style.canonical => {
                let rung = self.rung(timeline.listed(number));
                format!("../../{epoch}/{rung}/{file}.{kind}")
            }
            Taken::Told(timeline) => format!("{file}.{kind}?r={}", timeline.listed(number)),
            Taken::Always(rung) => format!("{epoch}/{}/{file}.{kind}", self.rung(rung)),
        }
    }

    /// A viewer may have been told of a ladder that was longer.
    fn rung(&self, index: usize) -> &str {
        let rungs = self.format.ladder.rungs();
        rungs[index.min(rungs.len() - 1)].name.as_str()
    }
}
