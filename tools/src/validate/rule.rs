//! The rules: what each asks for, how bad it is to break it, and who says so. Sections are those of RFC 8216bis
//! (draft-pantos-hls-rfc8216bis). What it says with MUST is a breach, what it says with SHOULD a warning; where a
//! player needs more than the RFC asks for, the player is named.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The stream is wrong; some player will stumble.
    Breach,
    /// The stream plays, but not everywhere as well as it could.
    Warning,
    /// Said so that nobody takes it for checked.
    Note,
}

#[derive(Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Rule {
    #[serde(rename = "rule")]
    pub id: &'static str,
    pub severity: Severity,
    /// Section of RFC 8216bis, or the player that needs it.
    pub source: &'static str,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal $source:literal;)*) => {
        $(pub static $name: Rule = Rule { id: $id, severity: Severity::$severity, source: $source };)*
        /// Every rule there is.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // One playlist's text.
    NOT_A_PLAYLIST Breach "not-a-playlist" "4.4.1.1: the first line is #EXTM3U";
    ENCODING Breach "encoding" "4.1: UTF-8 without a byte order mark";
    TWICE Breach "tag-twice" "4.4.3: a media playlist tag stands at most once";
    MIXED Breach "mixed-tags" "4.1: tags of a multivariant playlist stand in no media playlist, nor the other way round";
    ATTRIBUTES Breach "attribute-list" "4.2: NAME=VALUE, each name once, separated by commas";
    VALUE Breach "tag-value" "4.2: each value is of its type, and what is required is there";
    VERSION Breach "version" "8: EXT-X-VERSION covers what the playlist uses";
    NO_TARGET Breach "target-duration-missing" "4.4.3.1: every media playlist has an EXT-X-TARGETDURATION";
    TARGET Breach "target-duration" "4.4.3.1: EXTINF, rounded, is not above EXT-X-TARGETDURATION";
    LATE_HEADER Breach "header-after-media" "4.4.3: it stands before the first segment";
    NO_EXTINF Breach "extinf-missing" "4.4.4.1: every segment has an EXTINF";
    NO_URI Breach "uri-missing" "4.4.4.1: an EXTINF belongs to a URI";
    ZERO_START Warning "starts-at-zero" "hls.js does not block on a playlist that starts at media sequence number 0";
    BYTE_RANGE Breach "byte-range" "4.4.4.2: a range without an offset follows a range of the same resource";
    DATE_TIME Breach "date-time" "4.4.4.6: a date and time of ISO 8601, later from segment to segment";
    DATE_TIME_DRIFT Warning "date-time-drift" "4.4.4.6: hls.js, Shaka and video.js place segments by it; it goes on as the EXTINF do";
    NO_TIME_ZONE Warning "date-time-zone" "4.4.4.6: a date and time says its time zone";
    PLAYLIST_TYPE Breach "playlist-type" "4.4.3.5: VOD has an end and does not change, EVENT only grows";
    // Low latency.
    SERVER_CONTROL Breach "server-control" "4.4.3.8: HOLD-BACK is 3 target durations or more, PART-HOLD-BACK 2 part targets, CAN-SKIP-UNTIL 6 target durations";
    PART_HOLD_BACK Warning "part-hold-back" "4.4.3.8: PART-HOLD-BACK should be 3 part targets or more";
    PART_INF Breach "part-inf" "4.4.3.7: a playlist with parts says PART-TARGET and PART-HOLD-BACK";
    PART_TARGET Breach "part-target" "4.4.3.7: a part is not longer than PART-TARGET, and only a segment's last is shorter than 85 % of it";
    PART_SUM Breach "part-sum" "4.4.4.9: a segment's parts add up to its EXTINF";
    PART_INDEPENDENT Breach "part-independent" "4.4.4.9: where segments are independent, a part of each is marked INDEPENDENT=YES";
    PART_OLD Warning "part-old" "4.4.4.9: parts older than three target durations are taken out";
    LOW_LATENCY_PROFILE Warning "low-latency-profile" "B.1: a low-latency server blocks reloads, hints its next part, reports other renditions";
    // Over time.
    BACKWARDS Breach "sequence-backwards" "6.2.2: the media sequence number never goes down";
    JUMP Breach "sequence-jump" "6.2.2: it rises by one for each segment that is removed; VLC, ffmpeg and mpv replay or skip at a jump";
    MISSED Warning "segments-missed" "6.2.2: segments came and went between two reloads";
    CHANGED Breach "segment-changed" "6.2.1: a listed segment does not change; a playlist is only appended to";
    NAME_CHANGED Warning "segment-renamed" "6.2.1: a listed segment keeps its URI, query included";
    SHRUNK Breach "segment-removed" "6.2.2: segments are removed from the front only, in order";
    TOO_SHORT Breach "window-too-short" "6.2.2: what is left after a removal is three target durations or more";
    TARGET_CHANGED Breach "target-duration-changed" "6.2.1: EXT-X-TARGETDURATION does not change";
    TIMELINE Breach "discontinuity-sequence" "4.4.3.3, 6.2.2: EXT-X-DISCONTINUITY-SEQUENCE counts the discontinuities that were removed";
    STALE Breach "late-update" "6.2.2: a live playlist has something new within 1.5 target durations";
    REOPENED Breach "changed-after-end" "4.4.3.4: after EXT-X-ENDLIST nothing is added";
    PART_CHANGED Breach "part-changed" "6.2.1: a listed part does not change while it is listed";
    HINT Breach "hint-not-kept" "4.4.5.3: the part that was hinted is the part that comes";
    BLOCKING_EARLY Breach "blocking-early" "6.2.5.2: a blocking reload is not answered before what it asks for is there";
    BLOCKING_LATE Warning "blocking-late" "6.2.5.2: who cannot have what it waits for is answered after three target durations";
    TOO_FAR Warning "blocking-too-far" "6.2.5.2: what is more than two segments ahead is refused at once with 400";
    PART_ALONE Warning "part-without-number" "6.2.5.2: _HLS_part without _HLS_msn is refused with 400";
    DELTA Breach "delta-update" "6.2.5.1: a delta update and what it leaves out are the full playlist";
    SKIP_BOUNDARY Breach "skip-boundary" "4.4.5.2: what is newer than CAN-SKIP-UNTIL is not skipped";
    REPORT Breach "rendition-report" "4.4.5.4: a report says where the other playlist is";
    REPORT_STALE Warning "rendition-report-stale" "4.4.5.4: a report is as fresh as the playlist it stands in";
    // Variants among themselves.
    NO_VARIANT Breach "no-variant" "4.4.6.2: a multivariant playlist has a variant";
    VARIANT Breach "variant" "4.4.6: what a variant or rendition has to say";
    VARIANT_ADVICE Warning "variant-advice" "4.4.6.2: CODECS, RESOLUTION, FRAME-RATE and AVERAGE-BANDWIDTH tell a player what to choose";
    GROUP Breach "group" "4.4.6.1.1: groups that are named exist, and their members are told apart";
    TARGETS_DIFFER Breach "targets-differ" "6.2.4: all variants have one target duration";
    OUT_OF_STEP Warning "variants-out-of-step" "6.2.4: one media sequence number is one moment in all variants; players that switch by it repeat or skip";
    TIMELINES_DIFFER Breach "discontinuities-differ" "6.2.4: all variants have the same discontinuities under the same numbers; hls.js never starts otherwise";
    BANDWIDTH Breach "bandwidth" "4.4.6.2: no segment is above BANDWIDTH; 10 % are tolerated";
    AVERAGE Warning "average-bandwidth" "4.4.6.2: AVERAGE-BANDWIDTH is the average; 10 % are tolerated";
    BANDWIDTH_WASTE Warning "bandwidth-overstated" "4.4.6.2: BANDWIDTH is the peak; players that adapt stay below a variant that says too much";
    // What is fetched.
    UNREACHABLE Breach "unreachable" "6.2.1: what is listed can be had; VLC and Chromium stop for good when it cannot";
    CUT_SHORT Breach "cut-short" "RFC 9110 8.6: as many octets come as Content-Length says";
    RANGE Breach "range-ignored" "6.2.1: a byte range that is listed can be had";
    MIME Breach "mime-type" "4: a playlist is known by .m3u8, or by application/vnd.apple.mpegurl or audio/mpegurl";
    MIME_ADVICE Warning "mime-type-advice" "browsers and television sets go by the Content-Type";
    CORS Warning "cors" "players in web pages of another host need Access-Control-Allow-Origin";
    CACHING Warning "caching" "6.2.2: a cache that keeps a live playlist for longer than its reload shows players the past";
    SLOW Warning "slow" "6.3.3: media comes in less time than it plays, even for one player alone";
    // Media.
    MEDIA Breach "media-unreadable" "3.1: a segment is MPEG-2 TS, fragmented MP4, packed audio or WebVTT";
    NO_MAP Breach "map-missing" "3.1.2: fragmented MP4 needs an EXT-X-MAP";
    DURATION Breach "duration-untrue" "4.4.4.1: EXTINF is the duration of the media, to a frame";
    DURATION_ADVICE Warning "duration-inexact" "4.4.4.1: EXTINF should be accurate; what is off by more than 1 ms adds up";
    CONTINUITY Breach "media-time" "6.2.1: media time goes on from segment to segment, unless there is a discontinuity";
    FIRST_SAMPLE Breach "first-sample" "4.4.2.1: where segments are independent, each begins with a key frame";
    FIRST_SAMPLE_ADVICE Warning "first-sample-advice" "3: a segment that begins with no key frame cannot be started or switched at";
    PARAMETERS Breach "parameter-sets" "3.1: a decoder finds its parameter sets in the init section or in the segment";
    CODECS Breach "codecs" "4.4.6.2: CODECS says every format that is in the media";
    RESOLUTION Warning "resolution" "4.4.6.2: RESOLUTION is the size of the picture";
    COUNTER Warning "continuity-counter" "ISO 13818-1 2.4.3.3: ffmpeg and mpv call packets corrupt when the counters do not go on";
    TS_HEAD Breach "ts-without-tables" "3.1.1: a TS segment carries PAT and PMT, at its start or through EXT-X-MAP";
    // What was not looked at.
    ENCRYPTED Note "encrypted" "media that is encrypted is fetched, but not looked into";
    UNCHECKED Note "unchecked" "not looked into";
}
