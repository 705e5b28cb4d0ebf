//! What an upstream says of a stream, in our own terms: its ladder, its format, its names and lengths.

use playlists::{
    Bitrate, Closed, Epoch, Format, Ladder, LadderError, MediaTime, Rendition, Renditions, Rung,
    RungName,
    parse::{Alternative, MediaPlaylist, Variant},
    rendition::{Alone, Kind, Track},
};

pub(super) fn rung_of(variant: &Variant) -> Result<Rung, LadderError> {
    let (width, height) = variant.resolution.unwrap_or_default();
    Ok(Rung {
        name: name_of(&variant.uri)?,
        width,
        height,
        bandwidth: variant.bandwidth,
        average: variant
            .average
            .unwrap_or(Bitrate::from_bps(variant.bandwidth.bps())),
        codecs: variant.codecs.clone().unwrap_or_default(),
        frame_rate: variant.frame_rate.unwrap_or_default(),
        score: variant.score,
    })
}

/// How renditions get their names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Named {
    /// As their playlists are called, by a node of ours.
    ByFile,
    /// By their kind and number. One that is there for several groups of variants is taken once.
    ByPlace,
}

/// The renditions beside the variants, and where each one's playlist is. What is called as nothing
/// of ours could be is left out.
pub(super) fn renditions(
    alternatives: &[Alternative],
    closed: Option<Vec<Closed>>,
    named: Named,
) -> (Renditions, Vec<String>) {
    let mut main = Track::default();
    let (mut others, mut uris) = (Vec::new(), Vec::new());
    for Alternative {
        kind,
        track,
        default,
        uri,
    } in alternatives
    {
        let Some(uri) = uri else {
            main = track.clone();
            continue;
        };
        let known = |other: &Rendition| (other.kind, &other.track) == (*kind, track);
        let name = match named {
            Named::ByFile => name_of(uri),
            Named::ByPlace if others.iter().any(known) => continue,
            Named::ByPlace => RungName::try_from(match kind {
                Kind::Audio => format!("audio-{}", others.len()),
                Kind::Subtitles => format!("text-{}", others.len()),
            }),
        };
        match name {
            Ok(name) => {
                others.push(Rendition {
                    kind: *kind,
                    name,
                    track: track.clone(),
                    default: *default,
                    codecs: String::new(),
                    // It is in the variants' already.
                    bandwidth: Bitrate::ZERO,
                    alone: None,
                });
                uris.push(uri.clone());
            }
            Err(error) => tracing::warn!(uri, %error, "a rendition is not followed"),
        }
    }
    let renditions = Renditions {
        main,
        others,
        closed,
    };
    (renditions, uris)
}

/// Takes note of the variant of sound alone: a rendition like another, or one of its own.
pub(super) fn listen(
    variant: &Variant,
    (renditions, uris): &mut (Renditions, Vec<String>),
) -> Result<(), LadderError> {
    let codecs = variant.codecs.clone().unwrap_or_default();
    let alone = Some(Alone {
        bandwidth: variant.bandwidth,
        average: variant.average.unwrap_or(variant.bandwidth),
    });
    let name = name_of(&variant.uri)?;
    if let Some(place) = renditions.index(name.as_str()) {
        let same = &mut renditions.others[place];
        (same.alone, same.codecs) = (alone, codecs);
        return Ok(());
    }
    renditions.others.push(Rendition {
        kind: Kind::Audio,
        name,
        track: renditions.main.clone(),
        default: false,
        codecs,
        bandwidth: Bitrate::ZERO,
        alone,
    });
    uris.push(variant.uri.clone());
    Ok(())
}

/// What a playlist is called, without where it is.
fn name_of(uri: &str) -> Result<RungName, LadderError> {
    let file = uri.rsplit('/').next().unwrap_or_default();
    let stem = file.split(['.', '?']).next().unwrap_or_default();
    RungName::try_from(stem.to_owned())
}

pub(super) fn format(
    ladder: Ladder,
    renditions: Renditions,
    list: &MediaPlaylist,
    listed: usize,
) -> Format {
    let target = MediaTime::from_seconds(list.target_duration as f64);
    let frame_rate = ladder.top().frame_rate;
    let longest = list
        .segments
        .iter()
        .filter(|segment| segment.uri.is_some())
        .map(|segment| segment.duration)
        .max();
    // A length that rounds to another target duration would be one no playlist here may have.
    let segment = longest
        .filter(|longest| longest.seconds().round() == target.seconds())
        .unwrap_or(target);
    let part = list.part_target.map(|part| exact(part, frame_rate));
    Format {
        ladder,
        renditions,
        segment,
        part: part.unwrap_or(segment),
        listed,
    }
}

/// What a length was before it was rounded to be written: a whole number of frames. Otherwise a
/// segment would be the sum of its rounded parts here, and a little longer on the node before.
pub(super) fn exact(length: MediaTime, frame_rate: f64) -> MediaTime {
    let rate = frame_rate.round();
    if !(1.0..=240.0).contains(&rate) || (rate - frame_rate).abs() > 0.0005 {
        return length;
    }
    let whole = MediaTime::from_ticks((length.seconds() * rate).round() as i64, rate as u32);
    if (whole - length).seconds().abs() < ROUNDING {
        whole
    } else {
        length
    }
}

/// Our own names begin with the epoch, and keep it over every node.
pub(super) fn epoch_in(uri: &str) -> Option<Epoch> {
    uri.split('/').next()?.parse().ok().map(Epoch)
}

/// Five decimals are written.
const ROUNDING: f64 = 0.000_01;

#[cfg(test)]
mod tests {
    use playlists::{parse, render};

    use super::*;

    #[test]
    fn a_ladder_is_the_same_on_every_node() {
        let rung = |name: &str, kbps: u64, score| Rung {
            name: RungName::try_from(name.to_owned()).unwrap(),
            width: 640,
            height: 360,
            bandwidth: Bitrate::from_kbps(kbps * 2),
            average: Bitrate::from_kbps(kbps),
            codecs: "avc1.4D401F,mp4a.40.2".into(),
            frame_rate: 30.0,
            score,
        };
        for scores in [[None; 2], [Some(71.25), Some(93.0)]] {
            let rungs = [rung("low", 400, scores[0]), rung("top", 900, scores[1])];
            let ladder = Ladder::new(rungs.to_vec()).unwrap();
            let text = render::all_variants(ladder.rungs(), &Renditions::default(), "", "");
            let variants = parse::multivariant(&text).unwrap();
            let read = variants.iter().map(rung_of).collect::<Result<_, _>>();
            assert_eq!(Ladder::new(read.unwrap()).unwrap(), ladder, "{text}");
        }
    }

    #[test]
    fn sound_alone_is_the_same_on_every_node() {
        let alone = Some(Alone {
            bandwidth: Bitrate::from_kbps(120),
            average: Bitrate::from_kbps(96),
        });
        let sound = |name: &str, default, alone: Option<Alone>| Rendition {
            kind: Kind::Audio,
            name: RungName::try_from(name.to_owned()).unwrap(),
            track: Track::new(None, Some("de"), ""),
            default,
            codecs: if alone.is_some() { "mp4a.40.2" } else { "" }.into(),
            bandwidth: Bitrate::ZERO,
            alone,
        };
        let only = vec![sound("audio", false, alone)];
        let choice = vec![
            sound("audio-1-de", true, alone),
            sound("audio-2-en", false, None),
        ];
        for others in [only, choice] {
            let renditions = Renditions {
                others,
                ..Renditions::default()
            };
            let text = render::all_variants(&[], &renditions, "", "");
            let variants = parse::multivariant(&text).unwrap();
            assert!(variants.iter().all(Variant::is_sound), "{text}");
            let mut read =
                super::renditions(&parse::alternatives(&text).unwrap(), None, Named::ByFile);
            listen(&variants[0], &mut read).unwrap();
            let names = |renditions: &Renditions| {
                let all = renditions.others.iter();
                all.map(|one| (one.name.clone(), one.default, one.alone))
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&read.0), names(&renditions), "{text}");
            assert_eq!(read.1.len(), renditions.others.len());
        }
    }

    #[test]
    fn a_length_is_the_same_on_every_node() {
        let written = MediaTime::from_seconds(0.53333);
        assert_eq!(exact(written, 30.0), MediaTime::from_ticks(16, 30));
        assert_eq!((exact(written, 30.0) * 4).to_string(), "2.13333");
        let odd = MediaTime::from_seconds(0.51);
        assert_eq!(exact(odd, 30.0), odd, "no whole number of frames");
        assert_eq!(exact(written, 29.97), written, "no whole number of ticks");
    }
}
