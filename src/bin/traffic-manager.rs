//! The `traffic-manager` program: settings in, a running manager out.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use reqwest::Url;
use serde::{Deserialize, Serialize};
#[cfg(feature = "kubernetes")]
use spillway::manager::launcher::kubernetes::KubernetesConfig;
use spillway::{
    assets, config,
    control::ControlConfig,
    manager::{
        self, Manager, Members, address,
        launcher::{Launcher, ProcessLauncher},
    },
    net::{self, Files, Front, FrontConfig, issuing::Issue},
    runtime, shutdown, telemetry,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Sends viewers to the node that serves their region, and starts a relay for a region when its
/// viewers on the primary reach the threshold.
#[derive(Debug, Default, Parser, Deserialize, Serialize)]
#[command(name = NAME, version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    #[command(subcommand)]
    #[serde(skip)]
    command: Option<Command>,

    /// Base URL of the primary, such as http://203.0.113.7:8080
    #[arg(value_name = "PRIMARY_URL")]
    #[serde(skip)]
    primary_argument: Option<String>,

    /// Viewers of one region on the primary from which on it gets a relay
    #[arg(value_name = "THRESHOLD")]
    #[serde(skip)]
    threshold_argument: Option<u32>,

    /// File of settings (TOML; a key is a flag without its dashes)
    #[arg(long, env = "SPILLWAY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Base URL of the primary; the same as the first argument
    #[arg(long, env = "SPILLWAY_PRIMARY", value_name = "URL")]
    primary: Option<String>,

    /// The same as the second argument [default: 100]
    #[arg(long, env = "SPILLWAY_THRESHOLD", value_name = "VIEWERS")]
    threshold: Option<u32>,

    /// Address and port to listen on; `[::]` takes IPv4 as well [default: `[::]:9000`]
    #[arg(long, env = "SPILLWAY_LISTEN", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// Where viewers reach this manager, if not at the address it listens on
    #[arg(long, env = "SPILLWAY_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// Most relays in use at a time [default: 16]
    #[arg(long, env = "SPILLWAY_MAX_RELAYS", value_name = "RELAYS")]
    max_relays: Option<usize>,

    /// Most relays of one region [default: 4]
    #[arg(long, env = "SPILLWAY_MAX_RELAYS_PER_REGION", value_name = "RELAYS")]
    max_relays_per_region: Option<usize>,

    /// Viewers of one relay; when all of a region are full it gets another [default: unlimited]
    #[arg(long, env = "SPILLWAY_RELAY_VIEWERS", value_name = "VIEWERS")]
    relay_viewers: Option<u32>,

    /// How long a region must be quiet before a relay drains, and rests after that [default: 10]
    #[arg(long, env = "SPILLWAY_COOLDOWN_SECONDS", value_name = "SECONDS")]
    cooldown_seconds: Option<f64>,

    /// How often nodes report; after three missed reports a node is lost [default: 2]
    #[arg(long, env = "SPILLWAY_HEARTBEAT_SECONDS", value_name = "SECONDS")]
    heartbeat_seconds: Option<f64>,

    /// How long a joining viewer waits for a relay that is starting [default: 3]
    #[arg(long, env = "SPILLWAY_JOIN_SECONDS", value_name = "SECONDS")]
    join_seconds: Option<f64>,

    /// How relays are started; standby local servers are put to use either way [default: process]
    #[arg(long, env = "SPILLWAY_LAUNCHER")]
    launcher: Option<LauncherKind>,

    /// The program that is started as a relay [default: local-server beside this program]
    #[arg(long, env = "SPILLWAY_LOCAL_SERVER", value_name = "PATH")]
    local_server: Option<PathBuf>,

    /// Address on which started relays listen and viewers reach them [default: that of --listen,
    /// else 127.0.0.1]
    #[arg(long, env = "SPILLWAY_RELAY_IP", value_name = "IP")]
    relay_ip: Option<IpAddr>,

    /// How long a relay that is started has until it serves [default: 30, and 120 for Pods]
    #[arg(long, env = "SPILLWAY_LAUNCH_SECONDS", value_name = "SECONDS")]
    launch_seconds: Option<f64>,

    /// Certificate (PEM) that relays started on this machine show to this manager, with --control-ca
    #[arg(long, env = "SPILLWAY_RELAY_CERT", value_name = "FILE")]
    relay_cert: Option<PathBuf>,

    /// Its private key (PEM) [default: the file of --relay-cert]
    #[arg(long, env = "SPILLWAY_RELAY_KEY", value_name = "FILE")]
    relay_key: Option<PathBuf>,

    /// Where relays that are started report [default: where this manager listens for nodes]
    #[arg(long, env = "SPILLWAY_RELAYS_REPORT_TO", value_name = "URL")]
    relays_report_to: Option<String>,

    /// Authorities (PEM) that started relays trust beside those of the system [default: none]
    #[arg(long, env = "SPILLWAY_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Address on which nodes report, and nobody else; they then show certificates (--control-ca)
    /// [default: that of --listen, without certificates]
    #[arg(long, env = "SPILLWAY_CONTROL_LISTEN", value_name = "IP:PORT")]
    control_listen: Option<SocketAddr>,

    #[command(flatten)]
    control: ControlConfig,

    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    kubernetes: KubernetesConfig,

    #[command(flatten)]
    front: FrontConfig,
}

/// What else this program does than to manage.
#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Make the certificates that nodes and traffic managers show to one another, and their authority
    MakeCertificates(Issue),
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum LauncherKind {
    /// Processes on this machine
    Process,
    /// Pods of a Kubernetes cluster
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// None are started
    None,
}

const NAME: &str = "traffic-manager";

const AFTER_HELP: &str = "\
A flag wins over its variable in the environment, which wins over the file.
Viewers open http://THIS_HOST:9000/watch/STREAM.m3u8?region=REGION.";

fn main() -> ExitCode {
    let mut given = Settings::parse();
    if let Some(Command::MakeCertificates(issue)) = given.command.take() {
        return print(issue.run());
    }
    let settings = match given.complete() {
        Ok(settings) => settings,
        Err(error) => return config::refuse(NAME, &error),
    };
    telemetry::init();
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

impl Settings {
    /// With the file under it. The arguments without a flag win over everything.
    fn complete(mut self) -> anyhow::Result<Self> {
        self.primary = self.primary_argument.take().or(self.primary);
        self.threshold = self.threshold_argument.take().or(self.threshold);
        let file = self.config.take();
        config::layered(self, file.as_deref())
    }

    /// Without a word about it, who is on this machine.
    fn members(&self) -> anyhow::Result<Members> {
        let (secret, certificate) = (self.control.secret()?, self.control.papers()?.is_some());
        Ok(Members {
            this_machine: secret.is_none() && !certificate,
            secret,
            certificate,
        })
    }

    fn manager(&self) -> anyhow::Result<manager::Config> {
        let primary = self.primary.as_deref().context(
            "the primary is not named: traffic-manager http://PRIMARY:8080 THRESHOLD, or --primary",
        )?;
        let primary = address::typed_url(primary).map_err(anyhow::Error::msg)?;
        let mut config = manager::Config::new(primary);
        let balancer = &mut config.balancer;
        if let Some(threshold) = self.threshold {
            anyhow::ensure!(
                threshold >= 1,
                "a threshold of 0 viewers is not possible; 1 is the least"
            );
            balancer.threshold = threshold;
        }
        anyhow::ensure!(
            self.relay_viewers != Some(0),
            "relays of 0 viewers are not possible; leave relay-viewers out for no limit"
        );
        balancer.relay_viewers = self.relay_viewers;
        #[cfg(feature = "kubernetes")]
        if matches!(self.launcher, Some(LauncherKind::Kubernetes)) {
            // An image may have to be fetched first.
            balancer.launch_deadline = Duration::from_secs(120);
        }
        set(&mut balancer.relays, self.max_relays);
        set(&mut balancer.relays_per_region, self.max_relays_per_region);
        for (name, least, seconds, span) in [
            (
                "cooldown-seconds",
                0.0,
                self.cooldown_seconds,
                &mut balancer.cooldown,
            ),
            (
                "heartbeat-seconds",
                0.1,
                self.heartbeat_seconds,
                &mut balancer.heartbeat,
            ),
            (
                "launch-seconds",
                1.0,
                self.launch_seconds,
                &mut balancer.launch_deadline,
            ),
            (
                "join-seconds",
                0.0,
                self.join_seconds,
                &mut config.join_patience,
            ),
        ] {
            let Some(seconds) = seconds else { continue };
            anyhow::ensure!(
                (least..=3600.0).contains(&seconds),
                "{name} is {seconds}, but must be {least} to 3600"
            );
            *span = Duration::from_secs_f64(seconds);
        }
        Ok(config)
    }

    /// `None`: relays cannot be started, or are not to be. `within` is for a relay to serve.
    async fn launcher(
        &self,
        here: SocketAddr,
        reports_to: String,
        front: &Front,
        within: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Arc<dyn Launcher>>> {
        match self.launcher {
            Some(LauncherKind::None) => return Ok(None),
            #[cfg(feature = "kubernetes")]
            Some(LauncherKind::Kubernetes) => {
                let stop = stop.clone();
                let launcher = self.kubernetes.launcher(reports_to, within, stop).await?;
                return Ok(Some(Arc::new(launcher)));
            }
            Some(LauncherKind::Process) | None => {}
        }
        let program = match &self.local_server {
            Some(given) => {
                anyhow::ensure!(
                    given.is_file(),
                    "{} is no program to start as a relay",
                    given.display()
                );
                given.clone()
            }
            None => {
                let beside = std::env::current_exe()
                    .context("cannot tell where this program is")?
                    .with_file_name("local-server");
                if !beside.is_file() {
                    tracing::warn!(program = %beside.display(), "not found, so relays cannot be started; see --local-server");
                    return Ok(None);
                }
                beside
            }
        };
        let ip = self.relay_ip.unwrap_or(here.ip());
        let mut launcher = ProcessLauncher::new(program, reports_to, ip);
        launcher.ready_within = within.min(launcher.ready_within);
        launcher.files = front.files().unwrap_or_default();
        launcher.files.extend(self.relay_papers()?);
        let given = [
            ("--ca-file", &self.ca_file),
            ("--control-secret-file", &self.control.control_secret_file),
        ];
        let given = given.into_iter();
        launcher
            .files
            .extend(given.filter_map(|(flag, file)| Some((flag, file.clone()?))));
        Ok(Some(Arc::new(launcher)))
    }
}

/// A listener for nodes alone.
struct Door {
    front: Front,
    listener: TcpListener,
    url: Url,
}

impl Door {
    /// `None`: nodes report where viewers join.
    async fn open(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let (front, usual) = match settings.control.papers()? {
            Some(papers) => {
                let files = Files {
                    certificate: papers.certificate,
                    key: papers.key,
                };
                let front = Front::for_members(files, &papers.authority).await?;
                (front, Some(CONTROL_PORT))
            }
            None => (FrontConfig::default().open().await?, None),
        };
        let listener = match (settings.control_listen, usual) {
            (Some(address), _) => net::bind(address).await.context("control-listen")?,
            (None, Some(port)) => net::bind_all(port).await.context("control-listen")?,
            (None, None) => return Ok(None),
        };
        let url = front.url(listener.local_addr()?, here(&listener)?.ip())?;
        Ok(Some(Self {
            front,
            listener,
            url,
        }))
    }
}

/// Where this machine reaches it.
fn here(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    let mut here = listener.local_addr()?;
    if here.ip().is_unspecified() {
        here.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(here)
}

impl Settings {
    /// What relays of this machine show to the manager.
    fn relay_papers(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let Some(papers) = self.control.papers()? else {
            return Ok(Vec::new());
        };
        let certificate = self.relay_cert.clone().context(
            "relays that are started have to show a certificate as well, for names that begin with relay-; \
             give relay-cert, or start none (--launcher none)",
        )?;
        let key = self
            .relay_key
            .clone()
            .unwrap_or_else(|| certificate.clone());
        Ok(vec![
            ("--control-ca", papers.authority),
            ("--control-cert", certificate),
            ("--control-key", key),
        ])
    }

    /// Where relays that are started report.
    fn reports_to(
        &self,
        here: SocketAddr,
        url: &str,
        front: &Front,
        door: Option<&Door>,
    ) -> anyhow::Result<String> {
        if let Some(given) = &self.relays_report_to {
            return address::typed_url(given).map_err(anyhow::Error::msg);
        }
        Ok(match door {
            Some(door) => door.url.to_string(),
            // With a certificate this manager is reached by the name in it, and so are relays beside it.
            None if front.files().is_some() => url.to_owned(),
            None => format!("http://{here}"),
        })
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let config = settings.manager()?;
    let members = settings.members()?;
    let public = settings.public_url.as_deref().map(address::typed_url);
    let public = public.transpose().map_err(anyhow::Error::msg)?;
    let front = settings.front.open().await?;
    let door = Door::open(&settings).await?;
    let listener = match settings.listen {
        Some(address) => net::bind(address).await?,
        None => net::bind_all(PORT).await?,
    };
    let here = here(&listener)?;
    let own = front.url(here, here.ip())?;
    let url = public.unwrap_or_else(|| own.as_str().trim_end_matches('/').to_owned());
    let reports_to = settings.reports_to(here, &url, &front, door.as_ref())?;
    let stop = shutdown::on_signal()?;
    let within = config.balancer.launch_deadline;
    let launcher = settings
        .launcher(here, reports_to, &front, within, &stop)
        .await?;
    tracing::info!(
        primary = config.primary,
        threshold = config.balancer.threshold,
        launches = launcher.is_some(),
        "viewers join at {url}/watch/STREAM.m3u8"
    );
    let hears = members.to_string();
    let manager = Manager::start(config, launcher, stop.clone());
    let (mut app, control) = (
        manager.public().merge(assets::ops()),
        manager.control(members)?,
    );
    let (at, ready) = match &door {
        Some(door) => (
            door.url.to_string(),
            format!("ready {url} control {}", door.url),
        ),
        None => (url.clone(), format!("ready {url}")),
    };
    tracing::info!(at, "nodes report, and heard is who {hears}");
    let door = match door {
        Some(door) => Some((door, control)),
        None => {
            app = app.merge(control);
            None
        }
    };
    let nodes = async {
        if let Some((door, control)) = door {
            let Door {
                front,
                listener,
                url,
            } = door;
            front.serve(listener, control, &url, stop.clone()).await;
        }
    };
    // Whoever started this may not read it.
    let _ = writeln!(std::io::stdout(), "{ready}");
    let base = url.parse().with_context(|| format!("public-url {url}"))?;
    let served = front.serve(listener, app, &base, stop.clone());
    tokio::join!(served, nodes, manager.ended());
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

const PORT: u16 = 9000;

/// Of nodes that show certificates.
const CONTROL_PORT: u16 = 9443;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<manager::Config> {
        let program = std::iter::once(&NAME);
        Settings::try_parse_from(program.chain(arguments))?
            .complete()?
            .manager()
    }

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }

    #[test]
    fn the_short_form_names_the_primary_and_the_threshold() {
        let config = parse(&["10.0.0.1:8080", "3"]).unwrap();
        assert_eq!(config.primary, "http://10.0.0.1:8080");
        assert_eq!(config.balancer.threshold, 3);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_value() {
        for (arguments, told) in [
            (vec![], "the primary is not named"),
            (vec!["ftp://x", "3"], "must start with http://"),
            (vec!["http://x", "0"], "threshold of 0"),
            (
                vec!["http://x", "--relay-viewers", "0"],
                "relays of 0 viewers",
            ),
            (
                vec!["http://x", "--heartbeat-seconds", "0"],
                "heartbeat-seconds is 0, but must be 0.1",
            ),
            (
                vec!["http://x", "--config", "/nowhere.toml"],
                "cannot read the config file /nowhere.toml",
            ),
        ] {
            let error = format!("{:#}", parse(&arguments).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
