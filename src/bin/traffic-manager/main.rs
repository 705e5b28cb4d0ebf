//! The `traffic-manager` program: settings in, a running manager out.

mod door;
mod exporting;
mod launching;
mod settings;

use std::{io::Write as _, path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use door::Door;
use settings::{Command, Settings};
use spillway::{
    analytics::Keeper,
    assets, config,
    manager::{
        Manager, Means, address, journal,
        lease::{self, Tenure},
        replay,
    },
    net::{self, caller::Trusted},
    runtime, shutdown, telemetry,
    webhook::{Hooks, Pace},
};
use tokio::{sync::watch, task::JoinSet};

pub(crate) const NAME: &str = "traffic-manager";

fn main() -> ExitCode {
    let mut given = manual::parse_filed::<Settings>();
    match given.command.take() {
        Some(Command::MakeCertificates(issue)) => return print(issue.run()),
        Some(Command::Analytics(kept)) => return exporting::run(kept),
        None => {}
    }
    let check = given.check;
    let settings = match given.complete() {
        Ok(settings) => settings,
        Err(error) => return config::refuse(NAME, &error),
    };
    if check {
        return config::told(NAME, settings.would_do());
    }
    if let Some(log) = &settings.replay {
        return match again(log, settings.json) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => config::refuse(NAME, &error),
        };
    }
    telemetry::init(settings.log_format.unwrap_or_default());
    let runtime = match runtime::build(None) {
        Ok(runtime) => runtime,
        Err(error) => return config::refuse(NAME, &error.into()),
    };
    match runtime.block_on(run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => config::refuse(NAME, &error),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "what was asked for on the command line"
)]
fn print(told: anyhow::Result<Vec<String>>) -> ExitCode {
    match told {
        Ok(told) => {
            for line in told {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => config::refuse("traffic-manager make-certificates", &error),
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let config = settings.manager()?;
    let members = settings.members()?;
    let (places, operator) = (Arc::new(settings.places()?), settings.operator()?);
    let public = settings.public_url.as_deref().map(address::typed_url);
    let public = public.transpose().map_err(anyhow::Error::msg)?;
    let front = settings.front.open().await?;
    let door = Door::open(&settings).await?;
    let listener = match settings.listen {
        Some(address) => net::bind(address).await?,
        None => net::bind_all(PORT).await?,
    };
    let here = door::here(&listener)?;
    let own = front.url(here, here.ip())?;
    let url = public.unwrap_or_else(|| own.as_str().trim_end_matches('/').to_owned());
    let stop = shutdown::of_server()?;
    let reports_to = match &door {
        Some(door) => door.url.to_string(),
        // With a certificate this manager is reached by the name in it, and so are relays beside it.
        None if front.files().is_some() => url.clone(),
        None => format!("http://{here}"),
    };
    let within = config.balancer.launch_deadline;
    let launcher = settings
        .launcher(here, reports_to, &front, within, &stop)
        .await?;
    let lease = settings.lease(&url).await?;
    let trust = Trusted {
        authorities: settings.ca_file.clone(),
        own: None,
    };
    let (hooks, deliveries) = Hooks::open(&settings.webhooks, &url, &trust, Pace::default())?;

    let mut tasks = JoinSet::new();
    let journal = match settings.log() {
        Some((path, most)) => {
            let opened = journal::open(path, most).await;
            let (journal, writer) =
                opened.with_context(|| format!("cannot write to {}", path.display()))?;
            tasks.spawn(writer.run());
            Some(journal)
        }
        None => None,
    };
    let keeper = match &settings.analytics {
        Some(place) => {
            let opened = Keeper::open(place, settings.retention()?, stop.clone()).await;
            let (keeper, task) = opened.with_context(|| format!("analytics {place}"))?;
            tasks.spawn(async move { task.await.unwrap_or_default() });
            Some(keeper)
        }
        None => None,
    };
    let alone = lease.is_none();
    let (tenures, tenure) = watch::channel(match alone {
        true => Tenure::SOLE,
        false => Tenure::Standby { active: None },
    });
    let legacy = lease::Legacy::default();
    if let Some(lease) = lease {
        let pursuit = lease::pursue(lease, tenures, legacy.clone(), stop.clone());
        tasks.spawn(pursuit);
    }
    tasks.spawn(places.clone().follow(stop.clone()));
    tracing::info!(
        primary = config.primary,
        threshold = config.balancer.threshold,
        launches = launcher.is_some(),
        alone,
        dry_run = config.dry_run,
        "viewers join at {url}/watch/STREAM.m3u8"
    );
    let means = Means {
        launcher,
        journal,
        places,
        operator,
        tenure,
        keeper,
        legacy,
        hooks,
    };
    for delivery in deliveries {
        tasks.spawn(delivery.run(stop.clone()));
    }
    let manager = Manager::start(config, means, stop.clone());
    let hears = members.to_string();
    let (mut app, control) = (
        manager
            .public()
            .merge(assets::ops())
            .merge(assets::analytics()),
        manager.control(members)?,
    );
    let mut ready = format!("ready {url}");
    let nodes = match door {
        Some(door) => {
            ready += &format!(" control {}", door.url);
            tracing::info!(at = %door.url, "nodes report, and heard is who {hears}");
            Some(door.serve(control, stop.clone()))
        }
        None => {
            tracing::info!(at = url, "nodes report, and heard is who {hears}");
            app = app.merge(control);
            None
        }
    };
    // Whoever started this may not read it.
    let _ = writeln!(std::io::stdout(), "{ready}");
    let base = url.parse().with_context(|| format!("public-url {url}"))?;
    let served = front.serve(listener, app, &base, stop);
    let nodes = async {
        if let Some(nodes) = nodes {
            nodes.await;
        }
    };
    tokio::join!(served, nodes, manager.ended());
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Makes the decisions of a log again; whether they are the same.
fn again(path: &Path, json: bool) -> anyhow::Result<bool> {
    let told = || format!("replay {}", path.display());
    let log = replay::open(path).with_context(told)?;
    let mut out = std::io::stdout().lock();
    let replayed = replay::replay(log, |at, action| {
        if json {
            let told = serde_json::json!({
                "at_s": at.as_secs_f64(), "action": action.what.name(), "region": action.region,
                "node": action.node, "reason": action.reason,
            });
            let _ = writeln!(out, "{told}");
            return;
        }
        let (region, node) = (action.region.as_ref(), action.node.as_deref());
        let region = region.map_or("-", |region| region.as_str());
        let (what, node, why) = (action.what, node.unwrap_or("-"), &action.reason);
        // Whoever has read enough may have gone.
        let _ = writeln!(
            out,
            "{:>12.3} {what:<9} {region:<12} {node:<20} {why}",
            at.as_secs_f64()
        );
    });
    let replayed = replayed.with_context(told)?;
    if json {
        let told = serde_json::json!({
            "decisions": replayed.decisions, "events": replayed.events, "joins": replayed.joins,
            "differing": replayed.differing, "differences": replayed.differences,
        });
        let _ = writeln!(out, "{told}");
        return Ok(replayed.differing == 0);
    }
    for difference in &replayed.differences {
        let _ = writeln!(out, "{difference}");
    }
    let _ = writeln!(
        out,
        "{} decisions of {} events, and where {} joins went, made again: {}",
        replayed.decisions,
        replayed.events,
        replayed.joins,
        match replayed.differing {
            0 => "the same".to_owned(),
            some => format!("{some} differ"),
        }
    );
    Ok(replayed.differing == 0)
}

const PORT: u16 = 9000;
