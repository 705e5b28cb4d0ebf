//! Who is there: viewers come as their region's curve rises and go as it falls. All of them live in one thread.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use reqwest::Url;
use tokio::task::{AbortHandle, LocalSet};

use super::{
    account::{Account, Report},
    curve::Curve,
    model::Model,
    progress::Progress,
    seen::Seen,
    viewer::Viewer,
    wire::{
        Manner, Wire,
        tls::{Tls, Trust},
    },
};
use crate::simulate::random::Random;

/// One region's audience.
#[derive(Clone, Debug)]
pub struct Audience {
    pub region: String,
    pub curve: Curve,
    /// Its viewers' connections begin there, and the region is not declared: who is asked knows it by the address.
    pub from: Option<IpAddr>,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// `/watch/STREAM.m3u8` of a traffic manager, or `index.m3u8` of a node.
    pub url: Url,
    pub audiences: Vec<Audience>,
    pub span: Duration,
    /// How many of each kind there are, for each other.
    pub models: Vec<(Model, f64)>,
    /// What links carry, in kbit/s, each as often as the others; `None` is as much as there is.
    pub links: Vec<Option<u64>>,
    pub seed: u64,
    /// The manager whose overview is looked at.
    pub manager: Option<Url>,
    pub progress: bool,
    /// Whose certificates are believed, where what is loaded speaks TLS.
    pub trust: Trust,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub report: Report,
    pub seen: Seen,
    /// Share of one core that the viewers took themselves.
    pub own_cost: f64,
    /// When each node first served somebody, seconds since the beginning.
    pub served: BTreeMap<String, f64>,
    /// When it began, milliseconds since 1970.
    pub began_at: u64,
}

/// Runs all of it, and ends when it is over.
pub async fn run(options: &Options) -> anyhow::Result<Outcome> {
    LocalSet::new().run_until(of_one_thread(options)).await
}

async fn of_one_thread(options: &Options) -> anyhow::Result<Outcome> {
    let names = options
        .audiences
        .iter()
        .map(|audience| audience.region.clone());
    let account = Rc::new(Account::of(names));
    let mut present: Vec<Vec<AbortHandle>> = options.audiences.iter().map(|_| Vec::new()).collect();
    let mut random = Random::new(options.seed, 1);
    let (began, cpu) = (Instant::now(), cpu_time()?);
    let began_at = SystemTime::now().duration_since(UNIX_EPOCH);
    let began_at = began_at.map_or(0, |since| since.as_millis() as u64);
    let mut progress = Progress::new(options.progress, options.span);
    let mut ticks = tokio::time::interval(TICK);
    let mut second = Instant::now();
    let mut octets = BTreeMap::new();
    let seen = Rc::new(tokio::sync::Mutex::new(Seen::default()));
    // Without authorities a system can still do without TLS.
    let encrypted = [Some(&options.url), options.manager.as_ref()];
    let encrypted = encrypted
        .into_iter()
        .flatten()
        .any(|url| url.scheme() == "https");
    let tls = match Tls::trusting(&options.trust) {
        Ok(tls) => Some(tls),
        Err(error) if encrypted || options.trust != Trust::System => return Err(error),
        Err(_) => None,
    };
    let client = match &tls {
        Some(tls) => reqwest::Client::builder()
            .tls_backend_preconfigured(tls.config())
            .build()?,
        None => reqwest::Client::builder().tls_certs_only([]).build()?,
    };
    while began.elapsed() < options.span {
        ticks.tick().await;
        let share = began.elapsed().as_secs_f64() / options.span.as_secs_f64();
        for (region, (audience, there)) in options.audiences.iter().zip(&mut present).enumerate() {
            // Who saw nothing any more has left by itself; another comes.
            there.retain(|viewer| !viewer.is_finished());
            let wanted = audience.curve.at(share);
            while there.len() > wanted {
                let leaves = random.below(there.len());
                there.swap_remove(leaves).abort();
            }
            while there.len() < wanted {
                let viewer = one(options, region, audience, &tls, &mut random)?;
                account.joined(region);
                let watching = viewer.watch(account.clone());
                there.push(tokio::task::spawn_local(watching).abort_handle());
            }
        }
        if second.elapsed() >= Duration::from_secs(1) {
            let at = began.elapsed().as_secs_f64();
            account.second(at, &mut octets, second.elapsed());
            second = Instant::now();
            progress.show(began.elapsed(), &account.line());
            if let Some(manager) = options.manager.clone() {
                let (seen, client) = (seen.clone(), client.clone());
                tokio::task::spawn_local(async move {
                    // A look that takes longer than a second is one look less.
                    if let Ok(mut seen) = seen.try_lock() {
                        seen.look(&client, &manager, at).await;
                    }
                });
            }
        }
    }
    let own_cost = (cpu_time()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    present
        .into_iter()
        .flatten()
        .for_each(|viewer| viewer.abort());
    // They say what they saw when they are dropped, which is their next turn.
    tokio::time::sleep(Duration::from_millis(50)).await;
    progress.done(&account.line());
    let report = account.report();
    let served = report.nodes.keys().filter_map(|node| {
        let first = account.first_served_by(node)?;
        Some((
            node.clone(),
            first.saturating_duration_since(began).as_secs_f64(),
        ))
    });
    let served = served.collect();
    let seen = seen.lock().await.clone();
    Ok(Outcome {
        report,
        seen,
        own_cost,
        served,
        began_at,
    })
}

fn one(
    options: &Options,
    region: usize,
    audience: &Audience,
    tls: &Option<Tls>,
    random: &mut Random,
) -> anyhow::Result<Viewer> {
    let all: f64 = options.models.iter().map(|(_, share)| share).sum();
    let mut at = random.unit() * all;
    let model = options.models.iter().find(|(_, share)| {
        at -= share;
        at < 0.0
    });
    let model = model.or(options.models.last()).map(|(model, _)| *model);
    let model = model.context("no kind of player was named")?;
    let link = options
        .links
        .get(random.below(options.links.len()))
        .copied()
        .flatten();
    let mut join = options.url.clone();
    let declared = audience
        .from
        .is_none()
        .then(|| format!("region={}", audience.region));
    let own = join.query().map(str::to_owned);
    let query = [
        own.unwrap_or_default(),
        declared.unwrap_or_default(),
        model.query().to_owned(),
    ];
    let query: Vec<_> = query.into_iter().filter(|pair| !pair.is_empty()).collect();
    join.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
    Ok(Viewer {
        region,
        model,
        wire: Wire::new(
            Manner {
                agent: model.agent(),
                from: audience.from,
                kbps: link,
                modern: model.modern(),
            },
            tls.clone(),
        ),
        join,
    })
}

/// What this process has taken of the processor so far.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |index: usize| -> u64 {
        fields
            .split_whitespace()
            .nth(index)
            .and_then(|field| field.parse().ok())
            .unwrap_or(0)
    };
    // User and system time, in hundredths of a second as Linux has it everywhere.
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

const TICK: Duration = Duration::from_millis(50);
