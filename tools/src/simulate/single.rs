//! One viewer at a time: every rule on every trace, in parallel, the same whatever the order.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    contender::Contender,
    link::{Connection, Link},
    measure::Session,
    mind::Mind,
    origin::Tells,
    random::Random,
    stream::Stream,
    trace::{Family, Trace},
    viewer::{Habits, Viewer},
    world::World,
};

/// What all sessions have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    pub seconds: f64,
    /// Seconds.
    pub rtt: f64,
    pub habits: Habits,
    /// Different starts in each trace.
    pub seeds: u64,
    /// The slow start begins anew after idleness.
    pub restarts: bool,
    pub tells: Tells,
}

/// Where and when one viewing takes place.
#[derive(Clone, Debug)]
pub struct Occasion {
    pub trace: Arc<Trace>,
    /// Into the trace, in seconds.
    pub offset: f64,
    /// When the viewer joins the stream.
    pub joined: f64,
}

/// One rule's sessions on one family: by trace, then by seed.
#[derive(Clone, Debug)]
pub struct Results {
    pub family: String,
    pub rule: String,
    pub traces: Vec<Vec<Session>>,
}

impl Setting {
    /// Those of `trace`: not at the same places of trace and stream.
    pub fn occasions(&self, trace: &Arc<Trace>, stream: &Stream) -> Vec<Occasion> {
        let key = trace
            .name
            .bytes()
            .fold(0_u64, |key, byte| key.wrapping_mul(31) + u64::from(byte));
        let occasion = |seed| {
            let mut random = Random::new(seed, key);
            let offset = if seed == 0 {
                0.0
            } else {
                random.unit() * trace.length()
            };
            Occasion {
                trace: Arc::clone(trace),
                offset,
                joined: (20.0 + 400.0 * random.unit()) * stream.duration,
            }
        };
        (0..self.seeds).map(occasion).collect()
    }

    /// One viewing.
    pub fn view(&self, stream: &Stream, occasion: &Occasion, mind: Mind) -> (Session, Viewer) {
        let joined = occasion.joined;
        let link = Link::new(&occasion.trace, occasion.offset, joined);
        let connection = Connection::new(self.rtt, f64::INFINITY, self.restarts);
        let viewer = Viewer::new(0, mind, connection, self.habits, stream, joined);
        let mut world = World::new(std::slice::from_ref(stream), link, vec![viewer]);
        world.run(joined + self.seconds);
        let viewer = world.viewers.swap_remove(0);
        (
            Session::of(&viewer, stream, joined, joined + self.seconds),
            viewer,
        )
    }

    /// What the origin's rules among `contenders` decided from what, as JSON lines.
    pub fn decisions(
        &self,
        stream: &Stream,
        families: &[Family],
        contenders: &[Contender],
    ) -> anyhow::Result<String> {
        let mut lines = String::new();
        let epoch = Instant::now();
        for trace in families.iter().flat_map(|family| &family.traces) {
            for occasion in self.occasions(trace, stream) {
                for contender in contenders {
                    let mut mind = contender.blind(self.tells, stream, occasion.joined, epoch);
                    let Mind::Origin(origin) = &mut mind else {
                        continue;
                    };
                    origin.log = Some(Vec::new());
                    let (_, viewer) = self.view(stream, &occasion, mind);
                    if let Mind::Origin(origin) = viewer.mind {
                        for decision in origin.log.into_iter().flatten() {
                            lines += &serde_json::to_string(&decision)?;
                            lines.push('\n');
                        }
                    }
                }
            }
        }
        Ok(lines)
    }

    /// All of `contenders` on all of `families`.
    pub fn run(
        &self,
        stream: &Stream,
        families: &[Family],
        contenders: &[Contender],
    ) -> Vec<Results> {
        let mut tasks = Vec::new();
        for (family, of) in families.iter().enumerate() {
            for (trace, of) in of.traces.iter().enumerate() {
                for occasion in self.occasions(of, stream) {
                    tasks.push((family, trace, occasion));
                }
            }
        }
        let epoch = Instant::now();
        let done = each(&tasks, |(_, _, occasion)| {
            let view = |contender: &Contender| contender.view(self, stream, occasion, epoch);
            contenders.iter().map(view).collect::<Vec<_>>()
        });
        let mut results = Vec::new();
        for (at, family) in families.iter().enumerate() {
            for (rule, contender) in contenders.iter().enumerate() {
                let mut traces = vec![Vec::new(); family.traces.len()];
                for ((_, trace, _), sessions) in tasks
                    .iter()
                    .zip(&done)
                    .filter(|((family, _, _), _)| *family == at)
                {
                    traces[*trace].push(sessions[rule].clone());
                }
                results.push(Results {
                    family: family.name.clone(),
                    rule: contender.to_string(),
                    traces,
                });
            }
        }
        results
    }
}

/// `work` on each of `tasks`, on as many threads as there are processors; the answers in their order.
pub fn each<T: Sync, R: Send>(tasks: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let Some(task) = tasks.get(at) else { return };
                    let answer = work(task);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}
