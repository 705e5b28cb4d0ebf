//! Multivariant playlists: which variants there are, and which renditions go with them
//! (RFC 8216bis section 4.4.6). What is in each is the parent's business.

use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, ClosedCaptionGroupId, ExtTag, MasterPlaylist,
    QuotedOrUnquoted, Resolution, VariantStream,
};

use super::VERSION;
use crate::{
    ladder::Rung,
    rendition::{Closed, Kind, Rendition, Renditions, Track},
};

/// What a viewer gets: one variant, and the truth about the dearest of the `rungs` that it may be
/// given. All that it fetches next lies in `folder`, which is empty or ends in a slash.
pub fn one_variant(rungs: &[Rung], renditions: &Renditions, folder: &str) -> String {
    let top = rungs.last();
    let variant = top.map(|rung| variant(rung, renditions, format!("{folder}index.m3u8")));
    write(variant.into_iter().collect(), renditions, folder)
}

/// A way to the same variant (RFC 8216bis section 4.4.6.6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pathway {
    /// Of letters, digits, `.`, `-` and `_`.
    pub id: String,
    /// Empty, or ends in a slash.
    pub folder: String,
}

/// What a viewer gets whose player honours content steering: as [`one_variant`], by each of `pathways`, of which the
/// first is where it begins and where `steering.json` says where to go on. Where there are renditions, which lie on
/// one pathway, it is the first alone.
pub fn steered(rungs: &[Rung], renditions: &Renditions, pathways: &[Pathway]) -> String {
    let (Some(top), Some(first)) = (rungs.last(), pathways.first()) else {
        return write(Vec::new(), renditions, "");
    };
    let apart = renditions.others.is_empty();
    let ways = if apart { pathways } else { &pathways[..1] };
    let variants = ways.iter().map(|way| {
        let mut variant = variant(top, renditions, format!("{}index.m3u8", way.folder));
        let id = QuotedOrUnquoted::Quoted(way.id.clone());
        let others = variant.other_attributes.get_or_insert_default();
        others.insert("PATHWAY-ID".to_owned(), id);
        variant
    });
    let (server, id) = (&first.folder, &first.id);
    let steering = ExtTag {
        tag: "X-CONTENT-STEERING".to_owned(),
        rest: Some(format!(
            "SERVER-URI=\"{server}steering.json\",PATHWAY-ID=\"{id}\""
        )),
    };
    let playlist = playlist(variants.collect(), renditions, &first.folder);
    text(&MasterPlaylist {
        unknown_tags: vec![steering],
        ..playlist
    })
}

/// Each of `rungs` for itself, in `folder` like the renditions; `query` goes with its name.
///
/// The second cheapest comes first, the others dearest first: players begin with the first, and hls.js takes it
/// for what the path carries until it knows better. With the dearest there a slow path would wait for its first picture.
pub fn all_variants(rungs: &[Rung], renditions: &Renditions, folder: &str, query: &str) -> String {
    let begins = 1.min(rungs.len().saturating_sub(1));
    let others = rungs.iter().enumerate().rev();
    let others = others.filter_map(|(at, rung)| (at != begins).then_some(rung));
    let rungs = rungs.get(begins).into_iter().chain(others);
    let named = |rung: &Rung| format!("{folder}{}.m3u8{query}", rung.name);
    let variants = rungs.map(|rung| variant(rung, renditions, named(rung)));
    let alone = sound(renditions, folder);
    write(variants.chain(alone).collect(), renditions, folder)
}

/// The main sound for itself, for who wants no pictures; `None` if there is none.
pub fn sound_alone(renditions: &Renditions, folder: &str) -> Option<String> {
    let alone = sound(renditions, folder)?;
    let alone = VariantStream {
        audio: None,
        closed_captions: None,
        ..alone
    };
    Some(write(vec![alone], &Renditions::default(), folder))
}

/// A variant of sound. It comes last: players that cannot choose begin with the first.
fn sound(renditions: &Renditions, folder: &str) -> Option<VariantStream> {
    let (rendition, alone) = renditions.alone()?;
    let Rendition { name, codecs, .. } = rendition;
    // Where some variant has captions, this one has none; where none has, all have to say so (section 4.4.6.2).
    let none = renditions.closed.as_ref().is_some_and(Vec::is_empty);
    Some(VariantStream {
        uri: format!("{folder}{name}.m3u8"),
        bandwidth: alone.bandwidth.bps(),
        average_bandwidth: Some(alone.average.bps()),
        codecs: Some(codecs.clone()),
        audio: rendition.default.then(|| AUDIO.to_owned()),
        closed_captions: none.then_some(ClosedCaptionGroupId::None),
        ..Default::default()
    })
}

fn write(variants: Vec<VariantStream>, renditions: &Renditions, folder: &str) -> String {
    text(&playlist(variants, renditions, folder))
}

fn playlist(variants: Vec<VariantStream>, renditions: &Renditions, folder: &str) -> MasterPlaylist {
    MasterPlaylist {
        version: Some(VERSION),
        independent_segments: true,
        variants,
        alternatives: alternatives(renditions, folder),
        ..Default::default()
    }
}

fn text(playlist: &MasterPlaylist) -> String {
    let mut text = Vec::new();
    playlist.write_to(&mut text).expect("a Vec takes all text");
    String::from_utf8(text).expect("playlists are written as text")
}

fn variant(rung: &Rung, renditions: &Renditions, uri: String) -> VariantStream {
    let has = |kind| renditions.of(kind).next().is_some();
    VariantStream {
        uri,
        // Of the most that can be played together (section 4.4.6.2).
        bandwidth: (rung.bandwidth + renditions.bandwidth()).bps(),
        average_bandwidth: Some(rung.average.bps()),
        codecs: Some(rung.codecs.clone()),
        resolution: Some(Resolution {
            width: rung.width.into(),
            height: rung.height.into(),
        }),
        frame_rate: (rung.frame_rate > 0.0).then(|| (rung.frame_rate * 1000.0).round() / 1000.0),
        audio: has(Kind::Audio).then(|| AUDIO.to_owned()),
        subtitles: has(Kind::Subtitles).then(|| SUBTITLES.to_owned()),
        closed_captions: renditions
            .closed
            .as_ref()
            .map(|closed| match closed.is_empty() {
                true => ClosedCaptionGroupId::None,
                false => ClosedCaptionGroupId::GroupId(CAPTIONS.to_owned()),
            }),
        other_attributes: rung.score.map(|score| {
            let score = QuotedOrUnquoted::Unquoted(score.to_string());
            [("SCORE".to_owned(), score)].into()
        }),
        ..Default::default()
    }
}

/// The sound in the rungs comes first, without a URI (section 4.4.6.2.1): it needs no fetching.
fn alternatives(renditions: &Renditions, folder: &str) -> Vec<AlternativeMedia> {
    let mut taken = Vec::new();
    let mut alternatives = Vec::new();
    if renditions.of(Kind::Audio).next().is_some() && !renditions.apart() {
        let main = media(Kind::Audio, &renditions.main, &mut taken);
        alternatives.push(AlternativeMedia {
            default: true,
            ..main
        });
    }
    for Rendition {
        kind,
        name,
        track,
        default,
        ..
    } in renditions.choices()
    {
        alternatives.push(AlternativeMedia {
            default: *default,
            uri: Some(format!("{folder}{name}.m3u8")),
            ..media(*kind, track, &mut taken)
        });
    }
    let mut names = Vec::new();
    let closed = renditions.closed.iter().flatten();
    alternatives.extend(closed.map(|closed| captions(closed, &mut names)));
    alternatives
}

/// They are in the pictures, so that there is nothing to fetch.
fn captions(
    Closed { channel, track }: &Closed,
    taken: &mut Vec<(Kind, String)>,
) -> AlternativeMedia {
    AlternativeMedia {
        media_type: AlternativeMediaType::ClosedCaptions,
        group_id: CAPTIONS.to_owned(),
        instream_id: channel.parse().ok(),
        ..media(Kind::Subtitles, track, taken)
    }
}

/// Two of a kind must not have one name (section 4.4.6.1): the second is numbered.
fn media(kind: Kind, track: &Track, taken: &mut Vec<(Kind, String)>) -> AlternativeMedia {
    let base = if track.label.is_empty() {
        "Main"
    } else {
        &track.label
    };
    let numbered = (1..).map(|number| match number {
        1 => base.to_owned(),
        number => format!("{base} {number}"),
    });
    let name = numbered
        .into_iter()
        .find(|name| !taken.contains(&(kind, name.clone())))
        .expect("there is always a next number");
    taken.push((kind, name.clone()));
    let (media_type, group) = match kind {
        Kind::Audio => (AlternativeMediaType::Audio, AUDIO),
        Kind::Subtitles => (AlternativeMediaType::Subtitles, SUBTITLES),
    };
    AlternativeMedia {
        media_type,
        uri: None,
        group_id: group.to_owned(),
        language: track.language.clone(),
        assoc_language: None,
        name,
        default: false,
        autoselect: true,
        forced: false,
        instream_id: None,
        characteristics: None,
        channels: (kind == Kind::Audio).then(|| "2".to_owned()),
        other_attributes: None,
    }
}

const AUDIO: &str = "audio";
const SUBTITLES: &str = "subtitles";
const CAPTIONS: &str = "captions";
