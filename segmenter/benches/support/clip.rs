//! What benches play: a clip of pictures that are neither easy nor all alike, made once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Width, height, kbit/s.
pub(crate) const RUNGS: [(u32, u32, u64); 4] = [
    (426, 240, 350),
    (640, 360, 700),
    (854, 480, 1300),
    (1280, 720, 2200),
];
pub(crate) const FPS: &str = "30";
const SECONDS: &str = "20";

/// What follows `name` on the command line.
pub(crate) fn argument(name: &str) -> Option<String> {
    std::env::args()
        .skip_while(|argument| argument != name)
        .nth(1)
}

pub(crate) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]);
    command
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// `--clip`, or a real clip of `SPILLWAY_DATA`, or a mixture of what libavfilter makes; 1280x720, 30 pictures per second.
pub(crate) fn made() -> String {
    if let Some(clip) = argument("--clip") {
        return clip;
    }
    let real = std::env::var_os("SPILLWAY_DATA")
        .map(|data| Path::new(&data).join("media/bunny-480p-30s.mp4"));
    let (path, input): (_, Vec<String>) = match real.filter(|path| path.exists()) {
        Some(real) => (
            scratch("real.mp4"),
            vec!["-i".into(), real.display().to_string()],
        ),
        None => (scratch("made.mp4"), MIXTURE.map(str::to_owned).to_vec()),
    };
    if !path.exists() {
        let mut command = ffmpeg();
        command.args(input).args([
            "-t",
            SECONDS,
            "-vf",
            "scale=1280:720:flags=lanczos,fps=30,format=yuv420p",
        ]);
        command.args([
            "-c:v", "libx264", "-preset", "veryfast", "-b:v", "6M", "-c:a", "aac", "-ar", "48000",
            "-ac", "2",
        ]);
        assert!(command.arg(&path).status().unwrap().success());
    }
    path.into_os_string().into_string().unwrap()
}

/// A fractal that is flown into, with film grain, over a pattern that moves.
const MIXTURE: [&str; 8] = [
    "-f",
    "lavfi",
    "-i",
    "mandelbrot=size=640x360:rate=30,scale=1280:720,noise=alls=6:allf=t[deep];testsrc2=size=1280x720:rate=30[moving];\
     [moving][deep]blend=all_expr='if(lt(X,W*0.7),B,A)'",
    "-f",
    "lavfi",
    "-i",
    "anoisesrc=color=pink:amplitude=0.3:sample_rate=48000",
];

/// The clip's pictures at each rung's size, as they are in memory.
pub(crate) fn raw(clip: &str) -> Vec<PathBuf> {
    let each = RUNGS.iter().map(|(width, height, _)| {
        let path = scratch(&format!("{width}x{height}.yuv"));
        let scale = format!("scale={width}:{height},format=yuv420p");
        let made = ffmpeg()
            .args(["-i", clip, "-an", "-vf", &scale, "-f", "rawvideo"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        path
    });
    each.collect()
}

/// How like the clip a rung looks once it is enlarged to the clip's size.
pub(crate) fn ssim(rung: &Path, clip: &str) -> f64 {
    let graph = "[0:v]setpts=PTS-STARTPTS,scale=1280:720:flags=bicubic[a];[1:v]setpts=PTS-STARTPTS,scale=1280:720[b];[a][b]ssim";
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "info", "-nostdin", "-i"])
        .arg(rung)
        .args(["-i", clip, "-lavfi", graph, "-an", "-f", "null", "-"]);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let all = said.rsplit_once("All:").expect("ffmpeg says the SSIM").1;
    all.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) fn octets_of_pictures(path: &Path) -> u64 {
    let mut command = Command::new("ffprobe");
    command
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=size",
            "-of",
            "csv=p=0",
        ])
        .arg(path);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    said.lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<u64>().ok())
        .sum()
}
