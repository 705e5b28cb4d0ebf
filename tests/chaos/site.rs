//! A primary, a manager and its relays, with whoever starts them again when they end. How each is started is `setting`'s
//! business.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tools::program::{Program, children, signal};

use super::{
    common::{Viewer, free},
    crowd::Crowd,
    setting::Setting,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Segmenter,
    Relay,
    Manager,
    Primary,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Segmenter, Self::Relay, Self::Manager, Self::Primary];
}

pub(crate) struct Site {
    pub(crate) setting: Setting,
    primary_at: String,
    manager_at: String,
    primary: Program,
    manager: Program,
    /// What the manager starts as a relay.
    relay: PathBuf,
}

impl Site {
    pub(crate) async fn start(setting: Setting) -> Self {
        let (primary_at, manager_at) = match &setting.net {
            Some(net) => (
                format!("{}:8080", net.address(Part::Primary)),
                format!("{}:9000", net.address(Part::Manager)),
            ),
            None => (free(), free()),
        };
        let relay = setting.relay(&manager_at);
        let primary = setting.primary(&primary_at, &manager_at).await;
        let manager = setting.manager(&primary_at, &manager_at, &relay).await;
        let site = Self {
            setting,
            primary_at,
            manager_at,
            primary,
            manager,
            relay,
        };
        site.playable().await;
        site
    }

    async fn playable(&self) {
        let url = format!("http://{}/live/live/index.m3u8", self.primary_at);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            assert!(Instant::now() < deadline, "{url} cannot be played");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.manager_at)
    }

    /// Four in a region that is to have a relay, and one elsewhere; all of them play.
    pub(crate) async fn crowd(&self) -> Crowd {
        let mut crowd = Vec::new();
        for region in ["paris", "paris", "paris", "paris", "rome"] {
            let mut viewer = Viewer::join(&self.url(), region, 3600);
            viewer.plays().await;
            crowd.push(viewer);
        }
        if self.setting.stub.is_none() {
            self.whole().await;
        }
        Crowd::of(crowd)
    }

    /// Relays of this manager, and of those before it, whoever their parent is now.
    pub(crate) fn relays(&self) -> Vec<u32> {
        let mine = self.url();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let relay = |entry: std::fs::DirEntry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<_> = line.split(|octet| *octet == 0).collect();
            let launched = words.contains(&&b"--launched"[..]);
            let manager = |word: &&[u8]| word.strip_suffix(b"/").unwrap_or(word) == mine.as_bytes();
            (launched && words.iter().any(manager)).then_some(pid)
        };
        processes.filter_map(relay).collect()
    }

    /// Waits until there is one relay, which serves, and the primary; not two.
    pub(crate) async fn whole(&self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let overview = self.overview().await;
            let active = |kind: &str| {
                let nodes = overview["nodes"].as_array().into_iter().flatten();
                let active = nodes.filter(|node| node["kind"] == kind && node["state"] == "active");
                active.count()
            };
            let relays = self.relays();
            if overview["ready"] == true
                && active("primary") == 1
                && active("relay") == 1
                && relays.len() == 1
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "never whole: {relays:?} {overview:#}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn overview(&self) -> Value {
        match reqwest::get(format!("{}/v1/overview", self.url())).await {
            Ok(answer) => answer.json().await.unwrap(),
            Err(_) => Value::Null,
        }
    }

    /// kill -9, and started again by whoever does that: the primary for its segmenter, the manager for its relays, and
    /// this for those two.
    pub(crate) async fn kill(&mut self, part: Part) {
        self.send(part, "KILL");
        self.again(part).await;
    }

    pub(crate) async fn kill_two(&mut self, one: Part, other: Part) {
        self.send(one, "KILL");
        self.send(other, "KILL");
        self.again(one).await;
        self.again(other).await;
    }

    pub(crate) async fn freeze(&mut self, part: Part, span: Duration) {
        let frozen = self.pids(part);
        frozen.iter().for_each(|pid| signal(*pid, "STOP"));
        tokio::time::sleep(span).await;
        frozen.iter().for_each(|pid| signal(*pid, "CONT"));
    }

    /// Two machines that do not hear each other for a while.
    pub(crate) async fn parted(&self, one: Part, other: Part, span: Duration) {
        let net = self.setting.net.as_ref().unwrap();
        net.part(one, other).await;
        tokio::time::sleep(span).await;
        net.join(one, other).await;
    }

    pub(crate) fn set_clock(&self, part: Part, hours: i32) {
        self.setting.clocks.as_ref().unwrap().set(part, hours);
    }

    fn pids(&self, part: Part) -> Vec<u32> {
        match part {
            Part::Segmenter => {
                let parent = self.primary.pid().unwrap();
                children(parent).into_iter().map(|(pid, _)| pid).collect()
            }
            Part::Relay => self.relays(),
            Part::Manager => self.manager.pid().into_iter().collect(),
            Part::Primary => self.primary.pid().into_iter().collect(),
        }
    }

    fn send(&self, part: Part, what: &str) {
        self.pids(part).iter().for_each(|pid| signal(*pid, what));
    }

    async fn again(&mut self, part: Part) {
        match part {
            Part::Segmenter | Part::Relay => {}
            Part::Manager => {
                self.manager.kill().await.unwrap();
                let (primary, own) = (&self.primary_at, &self.manager_at);
                self.manager = self.setting.manager(primary, own, &self.relay).await;
            }
            Part::Primary => {
                self.primary.kill().await.unwrap();
                let (own, manager) = (&self.primary_at, &self.manager_at);
                self.primary = self.setting.primary(own, manager).await;
            }
        }
    }

    /// When the viewers have gone there is no relay any more.
    pub(crate) async fn over(&mut self, crowd: Crowd) {
        crowd.goes().await;
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.relays().is_empty() {
            assert!(
                Instant::now() < deadline,
                "relays that nobody wants: {:?}",
                self.relays()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// After a test there is nothing left of it, however it ended.
impl Drop for Site {
    fn drop(&mut self) {
        self.send(Part::Relay, "KILL");
        let _ = std::fs::remove_file(&self.relay);
    }
}
