//! Rates, shapes, fields and pixels.

use super::{H264, PICTURE, RUNGS, TONE, is, odd, played, played_with, seconds};
use crate::support::{brightness, clip, scratch};

/// A row: name, picture, options; then the rate and the size that are to come out.
type Row<'a> = (&'a str, &'a str, &'a str, f64, (u32, u32));

fn rows(rows: &[Row<'_>]) {
    for (name, picture, options, fps, size) in rows {
        let run = played(&odd(name, picture, TONE, options));
        is(&run, *size, *fps, seconds(), 0.15);
    }
}

#[test]
fn rates() {
    let of = |rate: &str| format!("testsrc2=size=320x180:rate={rate}");
    let wide = (320, 180);
    rows(&[
        ("r25.mp4", &of("25"), H264, 25.0, wide),
        ("r2997.mp4", &of("30000/1001"), H264, 30.0, wide),
        ("r23976.mkv", &of("24000/1001"), H264, 24.0, wide),
        ("r30.flv", &of("30"), H264, 30.0, wide),
        ("r50.ts", &of("50"), H264, 25.0, wide),
        ("r5994.ts", &of("60000/1001"), H264, 30.0, wide),
        ("r60.mp4", &of("60"), H264, 30.0, wide),
        ("r125.mp4", &of("25/2"), H264, 25.0, wide),
        // Only every seventh picture in every other second.
        (
            "vfr.mp4",
            "testsrc2=size=320x180:rate=30,select='lt(mod(t,2),1)+not(mod(n,7))'",
            &format!("{H264} -vsync vfr"),
            20.0,
            wide,
        ),
        // Each picture comes when it likes.
        (
            "uneasy.mkv",
            "testsrc2=size=320x180:rate=25,setpts='PTS+0.012*mod(N*7,3)/TB'",
            &format!("{H264} -vsync vfr"),
            25.0,
            wide,
        ),
    ]);
}

#[test]
fn all_of_a_fast_inputs_pictures_where_that_is_asked_for() {
    for (name, rate, fps) in [
        ("full50.ts", "50", "50"),
        ("full5994.mp4", "60000/1001", "60"),
    ] {
        let picture = format!("testsrc2=size=320x180:rate={rate}");
        let options = [&RUNGS[..], &["--fps", fps]].concat();
        let run = played_with(&odd(name, &picture, TONE, H264), &options);
        is(&run, (320, 180), fps.parse().unwrap(), seconds(), 0.15);
    }
}

#[test]
fn shapes() {
    let of = |size: &str| format!("testsrc2=size={size}:rate=25");
    let ffv1 = "-c:v ffv1 -c:a aac";
    rows(&[
        ("portrait.mp4", &of("180x320"), H264, 25.0, (180, 320)),
        ("tiny.mp4", &of("16x16"), H264, 25.0, (16, 16)),
        ("smaller.mkv", &of("8x8"), ffv1, 25.0, (16, 16)),
        ("odd.mkv", &of("853x481"), ffv1, 25.0, (320, 180)),
        ("odder.mkv", &of("161x91"), ffv1, 25.0, (160, 90)),
        ("strip.mkv", &of("1280x32"), H264, 25.0, (320, 16)),
        (
            "pal.ts",
            "testsrc2=size=360x288:rate=25,setsar=16/11",
            H264,
            25.0,
            (320, 176),
        ),
        (
            "lie.mkv",
            "testsrc2=size=320x180:rate=25,setsar=1/900",
            H264,
            25.0,
            (320, 180),
        ),
    ]);
}

#[test]
fn a_shape_that_only_the_container_knows() {
    let plain = odd("square.mkv", "testsrc2=size=360x288:rate=25", "", H264);
    let wide = clip(
        "aspect.mkv",
        &["-i", &plain, "-c", "copy", "-aspect", "16:9"],
    );
    is(&played(&wide), (320, 180), 25.0, seconds(), 0.15);
}

#[test]
fn turned() {
    for (turn, size) in [("90", (180, 320)), ("180", (320, 180)), ("270", (180, 320))] {
        let lying = odd(&format!("lying{turn}.mp4"), PICTURE, TONE, H264);
        let rotate = format!("rotate={turn}");
        let turned = clip(
            &format!("turned{turn}.mp4"),
            &["-i", &lying, "-c", "copy", "-metadata:s:v", &rotate],
        );
        is(&played(&turned), size, 25.0, seconds(), 0.15);
    }
}

#[test]
fn fields() {
    let fields = "testsrc2=size=320x180:rate=50,interlace,setfield=tff";
    let x264 = "-c:v libx264 -preset ultrafast -flags +ildct+ilme -x264-params tff=1 -c:a aac";
    let mpeg2 = "-c:v mpeg2video -flags +ildct+ilme -b:v 2M -c:a mp2";
    for (name, options) in [("fields.ts", mpeg2), ("fields.mp4", x264)] {
        let run = played(&odd(name, fields, TONE, options));
        is(&run, (320, 180), 25.0, seconds(), 0.15);
    }
    // Progressive first, which says nothing of what follows.
    let parts = [
        odd("progressive.ts", PICTURE, "", mpeg2),
        odd("then-fields.ts", fields, "", mpeg2),
    ];
    let both = joined("mixed.ts", &parts);
    is(&played(&both), (320, 180), 25.0, 2.0 * seconds(), 0.3);
}

#[test]
fn orders() {
    let x264 =
        |params: &str| format!("-c:v libx264 -preset veryfast -x264-params {params} -c:a aac");
    let wide = (320, 180);
    rows(&[
        (
            "b-frames.mp4",
            PICTURE,
            &x264("bframes=4:b-adapt=0:b-pyramid=normal"),
            25.0,
            wide,
        ),
        (
            "open-gop.ts",
            PICTURE,
            &x264("open-gop=1:keyint=30:bframes=3:b-adapt=0"),
            25.0,
            wide,
        ),
        (
            "no-idr.ts",
            PICTURE,
            &x264("intra-refresh=1:keyint=50"),
            25.0,
            wide,
        ),
        (
            "long-gop.mp4",
            PICTURE,
            &x264("keyint=infinite"),
            25.0,
            wide,
        ),
        (
            "slices.ts",
            PICTURE,
            &x264("slices=4:bframes=2"),
            25.0,
            wide,
        ),
        (
            "hevc.mp4",
            PICTURE,
            "-c:v libx265 -preset ultrafast -x265-params log-level=error -c:a aac",
            25.0,
            wide,
        ),
    ]);
}

#[test]
fn pixels() {
    let wide = (320, 180);
    let ffv1 = |format: &str| format!("-c:v ffv1 -pix_fmt {format} -c:a aac");
    let x264 = |format: &str| format!("-c:v libx264 -preset ultrafast -pix_fmt {format} -c:a aac");
    rows(&[
        ("p422.mp4", PICTURE, &x264("yuv422p"), 25.0, wide),
        ("p444.mp4", PICTURE, &x264("yuv444p"), 25.0, wide),
        ("p10.mp4", PICTURE, &x264("yuv420p10le"), 25.0, wide),
        ("p422-10.mp4", PICTURE, &x264("yuv422p10le"), 25.0, wide),
        ("rgb.mkv", PICTURE, &ffv1("bgr0"), 25.0, wide),
        ("gbrp16.mkv", PICTURE, &ffv1("gbrp16le"), 25.0, wide),
        ("alpha.mkv", PICTURE, &ffv1("yuva420p"), 25.0, wide),
        (
            "argb.mov",
            PICTURE,
            "-c:v qtrle -pix_fmt argb -c:a aac",
            25.0,
            wide,
        ),
        ("gray.mkv", PICTURE, &ffv1("gray"), 25.0, wide),
        (
            "full.mov",
            PICTURE,
            "-c:v mjpeg -pix_fmt yuvj420p -c:a aac",
            25.0,
            wide,
        ),
        (
            "palette.mkv",
            PICTURE,
            "-c:v png -pix_fmt pal8 -c:a aac",
            25.0,
            wide,
        ),
        ("prores.mov", PICTURE, "-c:v prores_ks -c:a aac", 25.0, wide),
    ]);
}

#[test]
fn another_size_in_mid_stream() {
    let parts = [
        odd("wide.ts", PICTURE, TONE, H264),
        odd("narrow.ts", "testsrc2=size=160x120:rate=25", TONE, H264),
        odd(
            "large.ts",
            "testsrc2=size=640x360:rate=25,format=yuv422p",
            TONE,
            H264,
        ),
    ];
    let run = played(&joined("sizes.ts", &parts));
    is(&run, (320, 180), 25.0, 3.0 * seconds(), 0.4);
}

/// High dynamic range: a chart of grey steps comes out as bright as it is for a standard screen.
#[test]
fn high_dynamic_range() {
    for (name, transfer) in [("pq.mkv", "smpte2084"), ("hlg.mkv", "arib-std-b67")] {
        let picture = format!(
            "color=c=0x808080:size=320x180:rate=25,format=gbrp,zscale=tin=bt709:pin=bt709:rin=full:min=gbr:t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=100,format=yuv420p10le"
        );
        let options = format!(
            "-c:v libx265 -preset ultrafast -x265-params log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc \
             -color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc -color_range tv -c:a aac"
        );
        let run = played(&odd(name, &picture, TONE, &options));
        is(&run, (320, 180), 25.0, seconds(), 0.15);
        assert!(run.stderr.contains("dynamic range"), "{}", run.stderr);
        let grey = middle(&run);
        assert!(
            (90..=160).contains(&grey),
            "{name}: a middle grey comes out as {grey}"
        );
    }
}

/// How bright the first picture's middle is.
fn middle(run: &crate::support::Run) -> u8 {
    let top = (run.hello.as_ref().unwrap().ladder.rungs().len() - 1) as u8;
    let mut media = run.init.to_vec();
    for part in run.parts.iter().filter(|part| part.rung == top).take(2) {
        media.extend_from_slice(&part.media);
    }
    brightness("middle.mp4", &media)[0]
}

/// One transport stream behind the other, clocks and all.
pub(crate) fn joined(name: &str, parts: &[String]) -> String {
    let media: Vec<u8> = parts
        .iter()
        .flat_map(|part| std::fs::read(part).unwrap())
        .collect();
    let path = scratch(name);
    std::fs::write(&path, media).unwrap();
    path.into_os_string().into_string().unwrap()
}
