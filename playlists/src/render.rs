//! A window as HLS text (draft-pantos-hls-rfc8216bis). Names are relative, so that the text is
//! the same on every node and, for viewers, the same for every viewer.

use std::fmt::{self, Write as _};

mod long;
mod multivariant;
mod storyboard;
mod told;

pub use multivariant::{Pathway, all_variants, one_variant, sound_alone, steered};
pub use storyboard::storyboard;
pub use told::{Style, Taken, told, told_delta};

use crate::{
    rendition::Kind,
    segment::{Epoch, Segment},
    time::MediaTime,
    window::{Format, Window},
};

/// Whose media playlist it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum View {
    /// Under `v/{viewer}/`: names without a rung, which is chosen when the segment is asked for.
    /// With `parts`, or as players know it that ignore them.
    Viewer { parts: bool },
    /// The same names, or those of MPEG-TS, of everything that can still be watched; without parts, for
    /// it is long. Says that it is to be played from its beginning, or nothing of where.
    Long {
        transport: bool,
        from_beginning: bool,
    },
    /// One rung by its canonical names, with parts; for relays, caches and players that adapt themselves.
    Canonical { rung: usize },
    /// One rendition. Subtitles have no `parts`.
    Rendition {
        index: usize,
        seen: Seen,
        parts: bool,
    },
}

/// From where a rendition is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// From the stream, by canonical names.
    Canonical,
    /// By canonical names, from under `v/{viewer}/`.
    Viewer,
    /// By names under `v/{viewer}/`, as the only one that there is.
    Alone,
}

impl View {
    /// Whether its segments are MPEG-TS, which needs no init section.
    fn is_transport(self) -> bool {
        matches!(
            self,
            Self::Long {
                transport: true,
                ..
            }
        )
    }

    /// Whether parts are listed.
    pub fn has_parts(self) -> bool {
        match self {
            Self::Viewer { parts } | Self::Rendition { parts, .. } => parts,
            Self::Canonical { .. } => true,
            Self::Long { .. } => false,
        }
    }
}

/// What a reload leaves out, for its reader should have it already (RFC 8216bis section 6.2.5.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Skip {
    #[default]
    Nothing,
    Segments,
    /// Old segments, and what was told of spans before them.
    Ranges,
}

/// The media playlist of `window`.
pub fn media(window: &Window, view: View) -> String {
    written(window, view, 0, Skip::Nothing)
}

/// The same without what whoever reads it should have already (a Playlist Delta Update, section
/// 6.2.5.1); `None` if there is nothing to leave out.
pub fn delta(window: &Window, view: View, skip: Skip) -> Option<String> {
    if let View::Long { .. } = view {
        return Some(written(window, view, 1, skip));
    }
    match skippable(window) {
        0 => None,
        skipped => Some(written(window, view, skipped, skip)),
    }
}

fn written(window: &Window, view: View, skipped: usize, skip: Skip) -> String {
    let mut text = String::with_capacity(4096);
    write_media(&mut text, window, view, (skipped, skip)).expect("a String takes all text");
    text
}

fn write_media(
    text: &mut String,
    window: &Window,
    view: View,
    (skipped, skip): (usize, Skip),
) -> fmt::Result {
    if let View::Long { .. } = view {
        return long::write(text, window, view, skipped > 0);
    }
    let format = window.format();
    let parted = view.has_parts() && format.is_parted();
    let listed: Vec<_> = window.listed().map(|segment| &**segment).collect();
    let open = window.open_segment().filter(|_| parted);
    let names = Names { view, format };
    let gaps = listed.iter().any(|segment| segment.gap);
    let ranges = window.has_ranges();
    let without = ranges && skip == Skip::Ranges;
    let head = Header {
        parts: parted,
        skipped: Some(skipped),
        gaps,
        ranges: Some(without).filter(|_| ranges),
    };
    write_header(text, format, &head)?;
    if let Some(first) = listed.first().copied().or(open.map(|open| &**open)) {
        let before = first.head.timeline - u64::from(first.head.discontinuity);
        writeln!(
            text,
            "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{before}",
            first.number()
        )?;
    }
    writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    if skipped > 0 {
        write!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        if let (true, Some(first)) = (without, listed.first()) {
            let removed = window.recently_removed(first, skip_boundary(format));
            write!(
                text,
                ",RECENTLY-REMOVED-DATERANGES=\"{}\"",
                removed.join("\t")
            )?;
        }
        writeln!(text)?;
    }
    if !(without && skipped > 0) {
        write_ranges(
            text,
            window,
            &listed[..listed.len().min(skipped)],
            listed.first(),
        )?;
    }
    let parts_from = with_parts_from(&listed, format.target() * 3);
    // Whoever joins a delta to what it has may have dropped what was skipped, so that the first
    // segment says again what init section is in force.
    let mut before = None;
    let segments = listed.iter().copied().chain(open.map(|open| &**open));
    for (place, segment) in segments.enumerate().skip(skipped) {
        let parts = parted && place >= parts_from;
        write_segment(text, segment, before, &names, parts)?;
        before = Some(segment);
    }
    if window.has_ended() {
        return writeln!(text, "#EXT-X-ENDLIST");
    }
    if parted {
        write_edge(text, window, &names)?;
    }
    Ok(())
}

/// Of spans: those that were told before the first segment and are not over, and those of segments that are left out.
fn write_ranges(
    text: &mut String,
    window: &Window,
    skipped: &[&Segment],
    first: Option<&&Segment>,
) -> fmt::Result {
    let running = first.into_iter().flat_map(|first| window.running(first));
    let old = skipped.iter().flat_map(|segment| &segment.ranges);
    let mut ranges = running.chain(old);
    ranges.try_for_each(|range| writeln!(text, "#EXT-X-DATERANGE:{range}"))
}

/// What the head of a playlist says beside its format.
struct Header {
    parts: bool,
    /// It leaves out so many segments; `None` if it never leaves out any.
    skipped: Option<usize>,
    gaps: bool,
    /// It tells of spans, and whether it leaves out old ones.
    ranges: Option<bool>,
}

fn write_header(text: &mut String, format: &Format, head: &Header) -> fmt::Result {
    let Header {
        parts,
        skipped,
        gaps,
        ranges,
    } = *head;
    let version = match skipped.is_some_and(|skipped| skipped > 0) {
        true if ranges == Some(true) => SKIP_RANGES_VERSION,
        true => SKIP_VERSION,
        false if gaps => GAP_VERSION,
        false => VERSION,
    };
    write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES",
        format.target_duration(),
    )?;
    if skipped.is_some() {
        write!(text, ",CAN-SKIP-UNTIL={}", skip_boundary(format))?;
        if ranges.is_some() {
            write!(text, ",CAN-SKIP-DATERANGES=YES")?;
        }
    }
    write!(text, ",HOLD-BACK={}", format.target() * 3)?;
    if parts {
        write!(
            text,
            ",PART-HOLD-BACK={}\n#EXT-X-PART-INF:PART-TARGET={}",
            format.part * 3,
            format.part
        )?;
    }
    writeln!(text)
}

/// The lines of `segment`, which depend on nothing but itself and what is written `before` it.
fn write_segment(
    text: &mut String,
    segment: &Segment,
    before: Option<&Segment>,
    names: &Names<'_>,
    parts: bool,
) -> fmt::Result {
    let head = &segment.head;
    if head.discontinuity {
        writeln!(text, "#EXT-X-DISCONTINUITY")?;
    }
    let same = before.is_some_and(|before| before.head.init.epoch == head.init.epoch);
    if !same && let Some(init) = names.init(segment) {
        writeln!(text, "#EXT-X-MAP:URI=\"{init}\"")?;
    }
    writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", head.date_time)?;
    for range in &segment.ranges {
        writeln!(text, "#EXT-X-DATERANGE:{range}")?;
    }
    if segment.gap {
        writeln!(text, "#EXT-X-GAP")?;
    }
    if parts && is_divided(segment, names.format) {
        write_parts(text, segment, names)?;
    }
    if segment.complete {
        let (length, name) = (segment.duration(), names.segment(segment));
        writeln!(text, "#EXTINF:{length},\n{name}")?;
    }
    Ok(())
}

/// What a relay took whole and could not take apart is no part: none is longer than the
/// part target (RFC 8216bis section 4.4.4.9).
fn is_divided(segment: &Segment, format: &Format) -> bool {
    let mut parts = segment.parts.iter();
    parts.all(|part| (part.duration - format.part).seconds() < ROUNDING)
}

fn write_parts(text: &mut String, segment: &Segment, names: &Names<'_>) -> fmt::Result {
    for (index, part) in segment.parts.iter().enumerate() {
        // Where the rung is chosen only when a part is asked for, nobody may count on the cheapest.
        let independent = match names.view {
            View::Canonical { rung } => rung < part.open,
            _ => part.is_independent(),
        };
        let independent = if independent { ",INDEPENDENT=YES" } else { "" };
        let name = names.part(segment.head.epoch, segment.number(), index);
        writeln!(
            text,
            "#EXT-X-PART:DURATION={},URI=\"{name}\"{independent}",
            part.duration
        )?;
    }
    Ok(())
}

/// What comes next, and how far the other rungs are: as far as this one, by construction.
fn write_edge(text: &mut String, window: &Window, names: &Names<'_>) -> fmt::Result {
    let (Some(next), Some(last)) = (window.next_part(), window.last_part()) else {
        return Ok(());
    };
    if let Some(segment) = window.segment(last.number) {
        // Should the next segment be of another epoch, this name is one that never comes.
        let name = names.part(segment.head.epoch, next.number, next.part);
        writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\"")?;
    }
    let alone = names.format.renditions.alone().map(|(sound, _)| sound);
    let own = match names.view {
        View::Canonical { rung } => &names.format.ladder.rungs()[rung].name,
        View::Rendition {
            index,
            seen: Seen::Canonical,
            ..
        } => &names.format.renditions.others[index].name,
        _ => return Ok(()),
    };
    let variants = names.format.ladder.rungs().iter().map(|rung| &rung.name);
    let variants: Vec<_> = variants.chain(alone.map(|sound| &sound.name)).collect();
    // What is no variant is nobody's other variant.
    let others = variants
        .iter()
        .filter(|name| variants.contains(&own) && **name != own);
    for name in others {
        writeln!(
            text,
            "#EXT-X-RENDITION-REPORT:URI=\"{name}.m3u8\",LAST-MSN={},LAST-PART={}",
            last.number, last.part
        )?;
    }
    Ok(())
}

/// Parts are listed of the last three target durations only (RFC 8216bis section 4.4.4.9);
/// from which place on that is.
fn with_parts_from(listed: &[&Segment], span: MediaTime) -> usize {
    let mut length = MediaTime::ZERO;
    let old = listed.iter().rev().position(|segment| {
        length += segment.duration();
        length > span
    });
    listed.len() - old.unwrap_or(listed.len())
}

/// How many segments end before the Skip Boundary, measured from the end of the playlist. One at
/// least is written.
fn skippable(window: &Window) -> usize {
    let listed: Vec<_> = window.listed().collect();
    let mut behind = window
        .open_segment()
        .map_or(MediaTime::ZERO, |open| open.duration());
    let within = listed.iter().rev().position(|segment| {
        let old = behind > skip_boundary(window.format());
        behind += segment.duration();
        old
    });
    within.map_or(0, |within| listed.len() - within)
}

/// `CAN-SKIP-UNTIL`: no less than six target durations (RFC 8216bis section 4.4.3.8).
fn skip_boundary(format: &Format) -> MediaTime {
    format.target() * 6
}

/// How media is called from within one view. A name never says which rungs there are to choose from.
struct Names<'a> {
    view: View,
    format: &'a Format,
}

impl Names<'_> {
    /// Subtitles have none.
    fn init(&self, segment: &Segment) -> Option<String> {
        let epoch = segment.head.init.epoch;
        match self.view {
            View::Long {
                transport: true, ..
            } => None,
            View::Viewer { .. } | View::Long { .. } => Some(format!("../../{}/init.mp4", epoch.0)),
            View::Canonical { .. } => Some(format!("{}/init.mp4", epoch.0)),
            View::Rendition { index, .. } => {
                let kind = self.format.renditions.others[index].kind;
                (kind == Kind::Audio).then(|| format!("{}/init.mp4", self.beside(epoch, index)))
            }
        }
    }

    fn segment(&self, segment: &Segment) -> String {
        let number = segment.number();
        match self.view {
            View::Long {
                transport: true, ..
            } => format!("{number}.ts"),
            View::Viewer { .. } | View::Long { .. } => format!("{number}.m4s"),
            View::Canonical { rung } => {
                format!("{}/{number}.m4s", self.folder(segment.head.epoch, rung))
            }
            View::Rendition { index, .. } => {
                let ending = match self.format.renditions.others[index].kind {
                    Kind::Audio => "m4s",
                    Kind::Subtitles => "vtt",
                };
                format!(
                    "{}/{number}.{ending}",
                    self.beside(segment.head.epoch, index)
                )
            }
        }
    }

    fn part(&self, epoch: Epoch, number: u64, part: usize) -> String {
        match self.view {
            View::Viewer { .. } | View::Long { .. } => format!("{number}.{part}.m4s"),
            View::Canonical { rung } => {
                format!("{}/{number}.{part}.m4s", self.folder(epoch, rung))
            }
            View::Rendition { index, .. } => {
                format!("{}/{number}.{part}.m4s", self.beside(epoch, index))
            }
        }
    }

    fn beside(&self, epoch: Epoch, index: usize) -> String {
        let up = match self.view {
            View::Rendition {
                seen: Seen::Viewer, ..
            } => "../../",
            _ => "",
        };
        let name = &self.format.renditions.others[index].name;
        format!("{up}{}/{name}", epoch.0)
    }

    fn folder(&self, epoch: Epoch, rung: usize) -> String {
        format!("{}/{}", epoch.0, self.format.ladder.rungs()[rung].name)
    }
}

/// Five decimals are written.
const ROUNDING: f64 = 0.000_01;

/// `EXT-X-MAP` in a playlist with pictures needs 6; nothing here needs more (RFC 8216bis section 8).
const VERSION: usize = 6;

/// `EXT-X-GAP` needs 8.
const GAP_VERSION: usize = 8;

/// `EXT-X-SKIP` needs 9, and 10 where it replaces `EXT-X-DATERANGE`.
const SKIP_VERSION: usize = 9;
const SKIP_RANGES_VERSION: usize = 10;
