//! The ladder that an input gets: sizes that fit it, rates, names, and what the playlist may promise.
//!
//! Pure. Opening the encoders is `libav`'s business.

use playlists::{Bitrate, MediaTime};

use crate::config::RungSpec;
use segmenter::{Grid, cutter};

/// One rung as it will be encoded. Cheapest first in every list of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) size: Size,
    /// Of the video alone; the encoder's average and its greatest rate.
    pub(crate) video: Bitrate,
    /// How good it looks, by the operator's word.
    pub(crate) score: Option<f32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    pub(crate) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Macroblocks of 16 x 16 (ITU-T H.264, 7.4.2.1.1).
    fn macroblocks(self) -> u64 {
        u64::from(self.width.div_ceil(16)) * u64::from(self.height.div_ceil(16))
    }

    /// As large as `room` allows in this shape, whole macropixels, never larger than it is.
    fn within(self, room: Self) -> Self {
        let room = if self.width < self.height {
            Self {
                width: room.height,
                height: room.width,
            }
        } else {
            room
        };
        let scale = (f64::from(room.width) / f64::from(self.width))
            .min(f64::from(room.height) / f64::from(self.height))
            .min(1.0);
        Self {
            width: even(f64::from(self.width) * scale),
            height: even(f64::from(self.height) * scale),
        }
    }

    /// Larger in both directions, so that filling it would mean enlarging `picture`.
    fn exceeds(self, picture: Self) -> bool {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        long > picture.width.max(picture.height) + 1
            && short > picture.width.min(picture.height) + 1
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The rungs of `wanted` (or of the default ladder for `fps` and a machine with so many `cores`) that `picture` fills without
/// being enlarged.
///
/// An input too small for three rungs of the default ladder gets three all the same, its own size at more than one rate.
pub(crate) fn plan(picture: Size, fps: u32, cores: usize, wanted: &[RungSpec]) -> Vec<Plan> {
    let mut rungs = match wanted {
        [] => by_default(fps, cores),
        wanted => wanted.to_vec(),
    };
    rungs.sort_by_key(|rung| (rung.kbps, rung.width));
    let smallest = rungs[0];
    let mut rungs: Vec<RungSpec> = rungs
        .into_iter()
        .filter(|rung| !rung.size().exceeds(picture))
        .map(|rung| rung.of_size(picture.within(rung.size())))
        .collect();
    if rungs.is_empty() {
        let size = picture.within(picture);
        rungs.push(RungSpec {
            kbps: rate_for(size, smallest),
            ..smallest.of_size(size)
        });
    }
    while wanted.is_empty() && rungs.len() < FEWEST {
        let last = rungs[rungs.len() - 1];
        rungs.push(RungSpec {
            kbps: last.kbps * 8 / 5,
            ..last
        });
    }
    name(&rungs)
}

/// The rungs of `plans` below an original of this size and rate, of which each must be worth having beside it; if none is, one of half
/// the rate.
pub(crate) fn below(plans: Vec<Plan>, size: Size, rate: Bitrate) -> Vec<Plan> {
    let most = rate.scale(WORTH);
    let (fits, others): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.video <= most);
    if !fits.is_empty() {
        return fits;
    }
    let cheapest = others.into_iter().next();
    let one = cheapest.map(|plan| Plan {
        video: rate.scale(0.5).max(Bitrate::from_kbps(LOWEST_KBPS)),
        size: if plan.size.exceeds(size) {
            size
        } else {
            plan.size
        },
        ..plan
    });
    Vec::from_iter(one)
}

/// What an original of this size takes if nobody says: what an encoder in a hurry would be given, for it has to be good
/// enough to be encoded again.
pub(crate) fn usual_rate(size: Size, fps: u32) -> Bitrate {
    let [.., (width, height, kbps)] = DEFAULT;
    let like = RungSpec {
        width,
        height,
        kbps: kbps * 4 / 3,
        score: None,
    };
    let dearer = (f64::from(fps.max(USUAL_FPS)) / f64::from(USUAL_FPS)).sqrt();
    Bitrate::from_kbps(rate_for(size, like)).scale(dearer)
}

/// Twice as many pictures need not twice as many bits, since each is more like the one before it: by the square root, a rule of
/// thumb of every published ladder.
fn by_default(fps: u32, cores: usize) -> Vec<RungSpec> {
    let dearer = (f64::from(fps.max(USUAL_FPS)) / f64::from(USUAL_FPS)).sqrt();
    let fits = |rung: &&(u32, u32, u64)| rung.1 <= LARGE || cores >= FOR_LARGE;
    let rung = |(width, height, kbps): &(u32, u32, u64)| RungSpec {
        width: *width,
        height: *height,
        kbps: (*kbps as f64 * dearer / 10.0).round() as u64 * 10,
        score: None,
    };
    DEFAULT.iter().filter(fits).map(rung).collect()
}

/// The size of picture that fills all of `wanted`, or the default ladder: for a run that begins before there is an input.
pub(crate) fn full_size(wanted: &[RungSpec], cores: usize) -> Size {
    let usual = by_default(USUAL_FPS, cores);
    let rungs = if wanted.is_empty() { &usual } else { wanted };
    let most = |side: fn(&RungSpec) -> u32| rungs.iter().map(side).max().unwrap_or(SHORTEST);
    Size {
        width: most(|rung| rung.width),
        height: most(|rung| rung.height),
    }
}

/// What a part of `rung` weighs besides its pictures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Promise {
    pub(crate) average: Bitrate,
    pub(crate) peak: Bitrate,
}

impl Plan {
    /// Size of the decoder's model buffer, in bits: how far a stretch of video may be over its rate.
    pub(crate) fn buffer_bits(&self) -> u64 {
        (self.video.bps() as f64 * BUFFER_SECONDS) as u64
    }

    /// Nominal bitrates with `audio` and the container. In one segment the encoder may spend its rate and
    /// one full buffer on top (ITU-T H.264, annex C), so no segment of at least `shortest` is above `peak`.
    pub(crate) fn promise(&self, audio: Bitrate, grid: &Grid, shortest: MediaTime) -> Promise {
        let around = audio + container(grid);
        let peak = self.video.scale(1.0 + BUFFER_SECONDS / shortest.seconds());
        Promise {
            average: self.video + around,
            peak: peak + around,
        }
    }
}

/// Lowest H.264 level that every rung conforms to, times ten (ITU-T H.264, table A-1). One level for all of them, so
/// that a decoder set up for the init segment need not be set up again.
pub(crate) fn level(rungs: &[Plan], fps: u32) -> u32 {
    let blocks = rungs
        .iter()
        .map(|rung| rung.size.macroblocks())
        .max()
        .unwrap_or(0);
    let kbps = rungs
        .iter()
        .map(|rung| rung.video.kbps())
        .max()
        .unwrap_or(0);
    LEVELS
        .into_iter()
        .find(|(_, rate, frame, max_kbps)| {
            blocks <= *frame && blocks * u64::from(fps) <= *rate && kbps <= *max_kbps
        })
        .map_or(52, |(level, ..)| level)
}

/// Threads, and slices, of an encoder at `size` where the largest rung's has so many.
pub(crate) fn threads(size: Size, largest: Size, most: u32) -> u32 {
    let share = size.pixels() * u64::from(most);
    (share.div_ceil(largest.pixels().max(1)) as u32).clamp(1, most)
}

/// The same for an original, of which nobody promises anything: encoders of live streams are told to stay near their rate, and
/// spend twice as much for as long as a segment at most.
pub(crate) fn promise_of_original(video: Bitrate, audio: Bitrate, grid: &Grid) -> Promise {
    let around = audio + container(grid);
    Promise {
        average: video + around,
        peak: video.scale(2.0) + around,
    }
}

/// `moof` boxes, sample tables and NAL lengths, on average: about 300 octets and 8 for each picture and sound frame in a part.
fn container(grid: &Grid) -> Bitrate {
    let sound =
        grid.sample(u64::from(grid.part_frames())) as u64 / u64::from(cutter::AAC_FRAME) + 1;
    let octets = 300 + 8 * (u64::from(grid.part_frames()) + sound);
    Bitrate::of(
        octets,
        grid.part().max(MediaTime::from_flicks(1)).duration(),
    )
}

/// Bits grow slower than pixels do: with their 0.75th power, a rule of thumb of every published ladder.
fn rate_for(size: Size, like: RungSpec) -> u64 {
    let share = size.pixels() as f64 / like.size().pixels() as f64;
    ((like.kbps as f64 * share.powf(0.75)) as u64).max(LOWEST_KBPS)
}

/// By the short side, as people call them; by the rate as well where a size comes twice.
fn name(rungs: &[RungSpec]) -> Vec<Plan> {
    let short = |rung: &RungSpec| rung.width.min(rung.height);
    rungs
        .iter()
        .map(|rung| {
            let alike = rungs.iter().filter(|other| short(other) == short(rung));
            let name = if alike.count() == 1 {
                format!("{}p", short(rung))
            } else {
                format!("{}p-{}k", short(rung), rung.kbps)
            };
            Plan {
                name,
                size: rung.size(),
                video: Bitrate::from_kbps(rung.kbps),
                score: rung.score,
            }
        })
        .collect()
}

fn even(length: f64) -> u32 {
    ((length / 2.0).round() as u32 * 2).max(SHORTEST)
}

/// Width, height, kbit/s at up to `USUAL_FPS`.
const DEFAULT: [(u32, u32, u64); 5] = [
    (426, 240, 350),
    (640, 360, 700),
    (854, 480, 1300),
    (1280, 720, 2200),
    (1920, 1080, 4500),
];
const USUAL_FPS: u32 = 30;
/// Up to here two cores do, with some left for who serves. The rung above it doubles the work.
const LARGE: u32 = 720;
const FOR_LARGE: usize = 4;
/// Pictures a second that a ladder has at most.
pub(crate) const FASTEST: u32 = 60;
/// A rung that is nearly as dear as the one above it is of no use.
const WORTH: f64 = 0.75;
/// Fewer leave nothing to adapt.
const FEWEST: usize = 3;
const LOWEST_KBPS: u64 = 80;
/// Less is no picture, and x264 wants a macroblock.
const SHORTEST: u32 = 16;
/// Small against a segment, so that segments of a rung are of like size; large enough for an IDR picture.
const BUFFER_SECONDS: f64 = 0.75;
/// Level, macroblocks per second, macroblocks per picture, kbit/s (High profile: 1.25 times the table's MaxBR).
const LEVELS: [(u32, u64, u64, u64); 9] = [
    (30, 40_500, 1_620, 12_500),
    (31, 108_000, 3_600, 17_500),
    (32, 216_000, 5_120, 25_000),
    (40, 245_760, 8_192, 25_000),
    (41, 245_760, 8_192, 62_500),
    (42, 522_240, 8_704, 62_500),
    (50, 589_824, 22_080, 168_750),
    (51, 983_040, 36_864, 300_000),
    (52, 2_073_600, 36_864, 300_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(width: u32, height: u32) -> Vec<String> {
        sizes_at(width, height, 30, 2)
    }

    fn sizes_at(width: u32, height: u32, fps: u32, cores: usize) -> Vec<String> {
        plan(Size { width, height }, fps, cores, &[])
            .iter()
            .map(|rung| format!("{} {} {}", rung.name, rung.size, rung.video.kbps()))
            .collect()
    }

    #[test]
    fn a_large_input_gets_the_whole_ladder() {
        assert_eq!(
            sizes(1920, 1080),
            [
                "240p 426x240 350",
                "360p 640x360 700",
                "480p 854x480 1300",
                "720p 1280x720 2200"
            ]
        );
    }

    #[test]
    fn a_large_machine_takes_the_largest_rung_and_faster_pictures_take_more() {
        assert_eq!(sizes_at(1920, 1080, 25, 4)[4], "1080p 1920x1080 4500");
        assert_eq!(sizes_at(1280, 720, 25, 4).len(), 4);
        assert_eq!(
            sizes_at(1920, 1080, 60, 2),
            [
                "240p 426x240 490",
                "360p 640x360 990",
                "480p 854x480 1840",
                "720p 1280x720 3110"
            ]
        );
        assert_eq!(sizes_at(1280, 720, 50, 2)[3], "720p 1280x720 2840");
    }

    #[test]
    fn rungs_of_one_size_are_named_by_their_rates() {
        let wanted = [
            "1280x720@900".parse().unwrap(),
            "1280x720@1800".parse().unwrap(),
            "1280x720@3600".parse().unwrap(),
        ];
        let size = Size {
            width: 1920,
            height: 1080,
        };
        let plans = plan(size, 30, 2, &wanted);
        let names: Vec<_> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names, ["720p-900k", "720p-1800k", "720p-3600k"]);
    }

    #[test]
    fn nothing_is_enlarged_and_three_rungs_are_left() {
        assert_eq!(
            sizes(854, 480),
            ["240p 426x240 350", "360p 640x360 700", "480p 854x480 1300"]
        );
        assert_eq!(
            sizes(640, 360),
            [
                "240p 426x240 350",
                "360p-700k 640x360 700",
                "360p-1120k 640x360 1120"
            ]
        );
        assert_eq!(
            sizes(160, 120),
            [
                "120p-99k 160x120 99",
                "120p-158k 160x120 158",
                "120p-252k 160x120 252"
            ]
        );
    }

    #[test]
    fn a_portrait_stays_upright_and_an_odd_shape_keeps_its_shape() {
        assert_eq!(sizes(720, 1280)[3], "720p 720x1280 2200");
        assert_eq!(sizes(1440, 1080)[2], "480p 640x480 1300");
        assert_eq!(sizes(1921, 801)[3], "534p 1280x534 2200");
    }

    #[test]
    fn before_there_is_an_input_there_is_room_for_the_whole_ladder() {
        let wanted = ["640x360@500".parse().unwrap()];
        let rungs = |wanted: &[RungSpec], cores| {
            plan(full_size(wanted, cores), USUAL_FPS, cores, wanted).len()
        };
        assert_eq!((rungs(&wanted, 2), rungs(&[], 2)), (1, DEFAULT.len() - 1));
        assert_eq!(rungs(&[], FOR_LARGE), DEFAULT.len());
        assert_eq!(full_size(&[], 2).to_string(), "1280x720");
    }

    #[test]
    fn what_was_asked_for_is_not_added_to() {
        let wanted = [
            "640x360@500".parse().unwrap(),
            "1920x1080@4000".parse().unwrap(),
        ];
        let rungs = plan(
            Size {
                width: 1280,
                height: 720,
            },
            30,
            2,
            &wanted,
        );
        assert_eq!(rungs.len(), 1);
        assert_eq!(rungs[0].name, "360p");
    }

    #[test]
    fn the_level_fits_the_largest_rung() {
        let rungs = plan(
            Size {
                width: 1280,
                height: 720,
            },
            30,
            2,
            &[],
        );
        assert_eq!(level(&rungs, 30), 31);
        assert_eq!(level(&rungs, 60), 32);
        assert_eq!(level(&rungs[..2], 30), 30);
    }

    #[test]
    fn the_largest_rung_has_the_threads_and_small_ones_have_fewer() {
        let size = |width, height| Size { width, height };
        let of = |width, height, most| threads(size(width, height), size(1920, 1080), most);
        assert_eq!(
            [of(1920, 1080, 4), of(1280, 720, 4), of(426, 240, 4)],
            [4, 2, 1]
        );
        assert_eq!(of(1920, 1080, 1), 1);
    }

    #[test]
    fn rungs_below_an_original_are_worth_having() {
        let size = Size {
            width: 1280,
            height: 720,
        };
        let left = |kbps| {
            let plans = plan(size, 30, 2, &[]);
            let left = below(plans, size, Bitrate::from_kbps(kbps));
            let left = left.iter().map(|plan| plan.video.kbps());
            left.collect::<Vec<_>>()
        };
        assert_eq!(left(6000), [350, 700, 1300, 2200]);
        assert_eq!(left(2500), [350, 700, 1300]);
        assert_eq!(left(400), [200]);
        assert!((3000..3500).contains(&usual_rate(size, 30).kbps()));
    }

    #[test]
    fn a_promise_counts_sound_and_container() {
        let grid = Grid::new(
            30,
            MediaTime::from_seconds(2.0),
            MediaTime::from_seconds(0.5),
        );
        let promise = plan(
            Size {
                width: 1280,
                height: 720,
            },
            30,
            2,
            &[],
        )[0]
        .promise(Bitrate::from_kbps(96), &grid, grid.segment());
        assert!(
            (450..470).contains(&promise.average.kbps()),
            "{}",
            promise.average
        );
        assert!(promise.peak > promise.average);
    }
}
