//! The settings of the `traffic-manager` program: what can be said, and where. What it comes to is in `meaning`.

mod meaning;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
#[cfg(feature = "kubernetes")]
use spillway::manager::launcher::kubernetes::KubernetesConfig;
use spillway::{
    analytics::Where,
    config,
    control::ControlConfig,
    net::{FrontConfig, issuing::Issue},
    telemetry::LogFormat,
    webhook::WebhookConfig,
};

use super::exporting::Kept;

/// Sends viewers to the node that serves their region, and starts a relay for a region when its
/// viewers on the primary reach the threshold.
#[derive(Debug, Default, Parser, Deserialize, Serialize)]
#[command(name = super::NAME, version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    #[command(subcommand)]
    #[serde(skip)]
    pub(crate) command: Option<Command>,

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

    /// Say whether these settings can work, and end
    #[arg(long)]
    #[serde(skip)]
    pub(crate) check: bool,

    /// Base URL of the primary; the same as the first argument
    #[arg(long, env = "SPILLWAY_PRIMARY", value_name = "URL")]
    primary: Option<String>,

    /// Viewers of one region on the primary from which on it gets a relay; the same as the second argument [default: 100]
    #[arg(long, env = "SPILLWAY_THRESHOLD", value_name = "VIEWERS")]
    threshold: Option<u32>,

    /// Address and port to listen on; `[::]` takes IPv4 as well [default: `[::]:9000`]
    #[arg(long, env = "SPILLWAY_LISTEN", value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Where viewers reach this manager, if not at the address it listens on
    #[arg(long, env = "SPILLWAY_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,

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

    /// The same in what is sent to the region's viewers from the primary, in Mbit/s [default: unlimited]
    #[arg(long, env = "SPILLWAY_THRESHOLD_MBPS", value_name = "MBPS")]
    threshold_mbps: Option<f64>,

    /// Congestion price above which a node's egress is short; see /v1/nodes for what it is now [default: 0]
    #[arg(long, env = "SPILLWAY_SPILL_PRICE", value_name = "PRICE")]
    spill_price: Option<f64>,

    /// Start a relay when the threshold is going to be crossed before one would serve [default: true]
    #[arg(long, env = "SPILLWAY_AHEAD", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    ahead: Option<bool>,

    /// Send a viewer of a relay back when a place on the primary stays free for the cool-down [default: true]
    #[arg(long, env = "SPILLWAY_MOVE_BACK", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    move_back: Option<bool>,

    /// What a relay takes beside others of its region; 1 is usual, 0 nobody new. May be given several times
    #[arg(
        long,
        env = "SPILLWAY_NODE_WEIGHT",
        value_delimiter = ',',
        value_name = "NODE=WEIGHT"
    )]
    #[serde(default)]
    node_weight: Vec<Pair>,

    /// The region of a network, for viewers who declare none; the longest prefix counts. May be given several times
    #[arg(
        long,
        env = "SPILLWAY_NETWORK",
        value_delimiter = ',',
        value_name = "NETWORK=REGION"
    )]
    #[serde(default)]
    network: Vec<Pair>,

    /// MaxMind database of countries or cities, for whom no network says it; read again when it changes
    #[arg(long, env = "SPILLWAY_GEOIP", value_name = "FILE.mmdb")]
    geoip: Option<PathBuf>,

    /// The region of a country (FR), a subdivision (FR-75) or a continent (continent:EU) by --geoip. May be given
    /// several times [default: each country is a region, such as fr]
    #[arg(
        long,
        env = "SPILLWAY_GEO",
        value_delimiter = ',',
        value_name = "PLACE=REGION"
    )]
    #[serde(default)]
    geo: Vec<Pair>,

    /// The region of whom nothing else says it [default: default]
    #[arg(long, env = "SPILLWAY_DEFAULT_REGION", value_name = "REGION")]
    default_region: Option<String>,

    /// What some regions have of their own: tables [regions.NAME] of the file, with threshold, threshold-mbps, max-relays
    #[arg(skip)]
    #[serde(default)]
    regions: BTreeMap<String, RegionSettings>,

    /// Decide, say what, and do nothing; nodes are not told anything and joins go where they are served
    #[arg(long, env = "SPILLWAY_DRY_RUN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    dry_run: Option<bool>,

    /// Write each decision with all that it was made from to this file, a line of JSON each; opened anew on SIGHUP
    /// [default: none]
    #[arg(long, env = "SPILLWAY_MANAGER_DECISIONS_LOG", value_name = "FILE")]
    decisions_log: Option<PathBuf>,

    /// Size at which that file is moved to FILE.1, in MB [default: however large]
    #[arg(long, env = "SPILLWAY_MANAGER_DECISIONS_LOG_MB", value_name = "MB")]
    decisions_log_mb: Option<u64>,

    /// How log lines are written, to stderr [default: text]
    #[arg(long, env = "SPILLWAY_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// Make the decisions of such a file again, print them, and say whether they are the same
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) replay: Option<PathBuf>,

    /// Print JSON for --replay: a decision on each line, and at last what came of it
    #[arg(long, requires = "replay")]
    #[serde(skip)]
    pub(crate) json: bool,

    /// The token with which operators may drain nodes and pin regions is the first line of this file [default: nobody may]
    #[arg(long, env = "SPILLWAY_OPERATOR_TOKEN_FILE", value_name = "FILE")]
    operator_token_file: Option<PathBuf>,

    /// Share the work with other managers, of which the one that holds the lease decides: file:PATH on one machine,
    /// kubernetes:[NAMESPACE/]NAME in a cluster, or postgres://USER:PASSWORD@HOST/DATABASE [default: this manager is the only one]
    #[arg(
        long,
        env = "SPILLWAY_LEASE",
        value_name = "LEASE",
        hide_env_values = true
    )]
    lease: Option<String>,

    /// Which lease of that database, if it has several [default: spillway]
    #[arg(long, env = "SPILLWAY_LEASE_NAME", value_name = "NAME")]
    lease_name: Option<String>,

    /// Base URLs of the other managers, for relays that are started here to report to as well
    #[arg(long, env = "SPILLWAY_PEER", value_delimiter = ',', value_name = "URL")]
    #[serde(default)]
    pub(crate) peer: Vec<String>,

    /// How relays are started; standby local servers are put to use either way [default: process]
    #[arg(long, env = "SPILLWAY_LAUNCHER")]
    pub(crate) launcher: Option<LauncherKind>,

    /// The program that is started as a relay [default: local-server beside this program]
    #[arg(long, env = "SPILLWAY_LOCAL_SERVER", value_name = "PATH")]
    pub(crate) local_server: Option<PathBuf>,

    /// Address on which started relays listen and viewers reach them [default: that of --listen,
    /// else 127.0.0.1]
    #[arg(long, env = "SPILLWAY_RELAY_IP", value_name = "IP")]
    pub(crate) relay_ip: Option<IpAddr>,

    /// How long a relay that is started has until it serves [default: 30, and 120 for Pods]
    #[arg(long, env = "SPILLWAY_LAUNCH_SECONDS", value_name = "SECONDS")]
    launch_seconds: Option<f64>,

    /// Certificate (PEM) that relays started on this machine show to this manager, with --control-ca
    #[arg(long, env = "SPILLWAY_RELAY_CERT", value_name = "FILE")]
    pub(crate) relay_cert: Option<PathBuf>,

    /// Its private key (PEM) [default: the file of --relay-cert]
    #[arg(long, env = "SPILLWAY_RELAY_KEY", value_name = "FILE")]
    pub(crate) relay_key: Option<PathBuf>,

    /// Where relays that are started report [default: where this manager listens for nodes]
    #[arg(long, env = "SPILLWAY_RELAYS_REPORT_TO", value_name = "URL")]
    pub(crate) relays_report_to: Option<String>,

    /// Authorities (PEM) that started relays trust beside those of the system [default: none]
    #[arg(long, env = "SPILLWAY_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Address on which nodes report, and nobody else; with --control-ca they show certificates there
    /// [default: that of --listen, or `[::]:9443` with --control-ca]
    #[arg(long, env = "SPILLWAY_CONTROL_LISTEN", value_name = "IP:PORT")]
    pub(crate) control_listen: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) webhooks: WebhookConfig,

    #[command(flatten)]
    pub(crate) control: ControlConfig,

    /// Keep what becomes of viewers: sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE where several managers share it
    /// [default: nowhere]
    #[arg(
        long,
        env = "SPILLWAY_ANALYTICS",
        value_name = "DATABASE",
        hide_env_values = true
    )]
    pub(crate) analytics: Option<Where>,

    /// For how long visits, and sums by the minute, are kept [default: 30]
    #[arg(long, env = "SPILLWAY_ANALYTICS_DAYS", value_name = "DAYS")]
    analytics_days: Option<u32>,

    /// For how long sums by the hour are kept [default: 800]
    #[arg(long, env = "SPILLWAY_ANALYTICS_HOURS_DAYS", value_name = "DAYS")]
    analytics_hours_days: Option<u32>,

    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesConfig,

    #[command(flatten)]
    pub(crate) front: FrontConfig,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LauncherKind {
    /// Processes on this machine
    Process,
    /// Pods of a Kubernetes cluster
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// None are started
    None,
}

/// What else this program does than to manage.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make the certificates that nodes and traffic managers show to one another, and their authority
    MakeCertificates(Issue),
    /// What is kept of viewers
    #[command(subcommand)]
    Analytics(Kept),
}

/// `[regions.NAME]` of the file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RegionSettings {
    threshold: Option<u32>,
    threshold_mbps: Option<f64>,
    max_relays: Option<usize>,
}

/// `THIS=THAT`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Pair(String, String);

impl std::str::FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() => {
                Ok(Self(left.trim().to_owned(), right.trim().to_owned()))
            }
            _ => Err(format!("{text:?} is not of the form THIS=THAT")),
        }
    }
}

impl TryFrom<String> for Pair {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Pair> for String {
    fn from(Pair(left, right): Pair) -> Self {
        format!("{left}={right}")
    }
}

impl manual::Filed for Settings {
    fn sample() -> Self {
        Self {
            regions: [("NAME".to_owned(), RegionSettings::default())].into(),
            ..Self::default()
        }
    }

    const ONLY_FILED: &[(&str, &str)] = &[(
        "regions.NAME.max-relays",
        "Most relays of this region [default: as for all, max-relays-per-region]",
    )];
}

const AFTER_HELP: &str = "\
A flag wins over its variable in the environment, which wins over the file.
Viewers open http://THIS_HOST:9000/watch/STREAM.m3u8?region=REGION.";

impl Settings {
    /// With the file under it. The arguments without a flag win over everything.
    pub(crate) fn complete(mut self) -> anyhow::Result<Self> {
        self.primary = self.primary_argument.take().or(self.primary);
        self.threshold = self.threshold_argument.take().or(self.threshold);
        let file = self.config.take();
        config::layered(self, file.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Settings::command().debug_assert();
    }
}
