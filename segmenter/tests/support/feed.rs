//! A feed that a test has in its hands: MPEG-TS in real time over a socket, that can fall silent, hang up and come back.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::clip;

/// What a feed does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    Sending,
    /// Connected, or whoever connects is taken; not a word.
    Silent,
    /// Whoever is there is hung up on, and so is whoever comes.
    Gone,
}

/// One that serves whoever connects to `url`, one at a time, from the beginning and round and round.
pub(crate) struct Feed {
    pub(crate) url: String,
    mood: Arc<Mutex<Mood>>,
    over: Arc<AtomicBool>,
}

impl Feed {
    /// 20 s of one colour and one tone, in mood.
    pub(crate) fn of(colour: &str, tone: u32, mood: Mood) -> Self {
        let picture = format!("color={colour}:size=320x180:rate=25:duration=20");
        let tone = format!("sine=frequency={tone}:sample_rate=48000:duration=20");
        let path = clip(
            &format!("feed-{colour}-{}.ts", std::process::id()),
            &[
                "-f",
                "lavfi",
                "-i",
                &picture,
                "-f",
                "lavfi",
                "-i",
                &tone,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-g",
                "25",
                "-b:v",
                "300k",
                "-c:a",
                "aac",
                "-muxrate",
                "700k",
            ],
        );
        let media = std::fs::read(path).expect("what was just made is there");
        Self::new(media, SECONDS, mood)
    }

    /// `media`, which takes so many seconds.
    pub(crate) fn new(media: Vec<u8>, seconds: f64, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("tcp://{}", listener.local_addr().expect("bound"));
        let (mood, over) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicBool::new(false)));
        let feed = Self {
            url,
            mood: Arc::clone(&mood),
            over: Arc::clone(&over),
        };
        thread::spawn(move || {
            while let Ok((viewer, _)) = listener.accept() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever hangs up has had enough.
                let _ = serve(viewer, &media, seconds, &mood);
            }
        });
        feed
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.is(Mood::Gone);
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.url["tcp://".len()..]);
    }
}

fn serve(
    mut viewer: TcpStream,
    media: &[u8],
    seconds: f64,
    mood: &Mutex<Mood>,
) -> std::io::Result<()> {
    let now = || *mood.lock().unwrap_or_else(PoisonError::into_inner);
    if now() == Mood::Gone {
        return Ok(());
    }
    // Silence is no reason to send faster afterwards.
    let (mut sent, mut last) = (0.0_f64, Instant::now());
    let mut at = 0;
    loop {
        thread::sleep(Duration::from_millis(10));
        let passed = last.elapsed().as_secs_f64();
        last = Instant::now();
        match now() {
            Mood::Gone => return Ok(()),
            Mood::Silent => continue,
            Mood::Sending => sent += passed * media.len() as f64 / seconds,
        }
        let until = (sent as usize / PACKET * PACKET).min(media.len());
        viewer.write_all(&media[at..until])?;
        at = until;
        if at == media.len() {
            return Ok(());
        }
    }
}

const SECONDS: f64 = 20.0;
const PACKET: usize = 188;
