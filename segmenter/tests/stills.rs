//! Pictures of segments: what comes with which, in which sizes, and whether others can read them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use playlists::still::{Coding, Still};
use support::{clip, decode, segment};

const RUNGS: &[&str] = &["--rung", "320x180@200", "--rung", "640x360@500"];

/// The middle of a picture, as red, green and blue.
fn middle(name: &str, media: &[u8]) -> [u8; 3] {
    let middle = "crop=2:2,scale=1:1";
    let raw = decode(
        name,
        media,
        &[
            "-vf",
            middle,
            "-frames:v",
            "1",
            "-pix_fmt",
            "rgb24",
            "-f",
            "rawvideo",
            "-",
        ],
    );
    raw[..3].try_into().unwrap()
}

fn is_near(found: [u8; 3], wanted: [u8; 3]) -> bool {
    found
        .iter()
        .zip(wanted)
        .all(|(found, wanted)| found.abs_diff(wanted) <= 12)
}

/// Each second has a colour of its own.
fn colours(name: &str, size: &str) -> String {
    let colour = |colour: &str| format!("color=c={colour}:size={size}:rate=30:duration=2.13333");
    let graph = format!(
        "{}[a];{}[b];{}[c];[a][b][c]concat=n=3,scale=out_color_matrix=bt709",
        colour("0xc03030"),
        colour("0x30c030"),
        colour("0x3030c0")
    );
    clip(
        name,
        &[
            "-f",
            "lavfi",
            "-i",
            &graph,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-qp",
            "4",
            "-colorspace",
            "bt709",
        ],
    )
}

const COLOURS: [[u8; 3]; 3] = [[0xc0, 0x30, 0x30], [0x30, 0xc0, 0x30], [0x30, 0x30, 0xc0]];

#[test]
fn each_segment_has_a_tile_of_its_first_picture_and_some_have_posters() {
    for size in ["640x360", "1280x720"] {
        let clip = colours(&format!("colours-{size}.mp4"), size);
        let run = segment(
            &[
                &[clip.as_str(), "--stills", "4"],
                RUNGS,
                &["--rung", "1280x720@900"],
            ]
            .concat(),
        );
        assert!(run.success, "{}", run.stderr);
        let tiles: Vec<&(u64, Still)> = run.stills.iter().filter(|(_, still)| still.tile).collect();
        assert_eq!(
            tiles.iter().map(|(of, _)| *of).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        for ((of, still), wanted) in tiles.iter().zip(COLOURS) {
            assert_eq!(
                (still.width, still.height, still.coding),
                (160, 90, Coding::Jpeg)
            );
            let found = middle(&format!("tile-{size}-{of}.jpg"), &still.media);
            assert!(
                is_near(found, wanted),
                "{found:?} of segment {of} of {size}"
            );
        }
        let posters = run.stills.iter().filter(|(_, still)| !still.tile);
        let said: Vec<_> = posters
            .clone()
            .map(|(of, still)| (*of, still.coding, still.width))
            .collect();
        let widths: &[u16] = if size == "640x360" {
            &[320, 640]
        } else {
            &[320, 640, 1280]
        };
        let wanted: Vec<_> = [0, 2]
            .iter()
            .flat_map(|of| {
                widths.iter().flat_map(move |width| {
                    [Coding::Jpeg, Coding::Webp].map(|coding| (*of, coding, *width))
                })
            })
            .collect();
        assert_eq!(said, wanted);
        for (of, still) in posters {
            let name = format!(
                "poster-{size}-{of}-{}.{}",
                still.width,
                still.coding.ending()
            );
            let found = middle(&name, &still.media);
            assert!(is_near(found, COLOURS[*of as usize]), "{name}: {found:?}");
        }
    }
}

#[test]
fn tiles_put_together_are_a_picture_in_which_each_is_where_it_should() {
    let clip = colours("colours-sheet.mp4", "640x360");
    let run = segment(&[&[clip.as_str()], RUNGS].concat());
    let tiles: Vec<_> = run
        .stills
        .iter()
        .filter(|(_, still)| still.tile)
        .map(|(_, still)| still)
        .collect();
    let media: Vec<_> = tiles.iter().map(|still| &still.media).collect();
    let sheet = media::jpeg::stack(&media).unwrap();
    for (place, wanted) in COLOURS.into_iter().enumerate() {
        let top = place as u32 * playlists::still::pitch(tiles[place].height);
        let crop = format!("crop=160:90:0:{top},crop=2:2,scale=1:1");
        let raw = decode(
            "sheet.jpg",
            &sheet,
            &[
                "-vf",
                &crop,
                "-frames:v",
                "1",
                "-pix_fmt",
                "rgb24",
                "-f",
                "rawvideo",
                "-",
            ],
        );
        assert!(
            is_near(raw[..3].try_into().unwrap(), wanted),
            "{raw:?} at {place}"
        );
    }
}

#[test]
fn who_wants_no_stills_gets_none() {
    let run = segment(&[
        "test",
        "--duration",
        "3",
        "--rung",
        "320x180@200",
        "--stills",
        "off",
    ]);
    assert!(run.success && run.stills.is_empty());
}
