//! What the settings come to: the manager's configuration, and what it has beside that. What cannot work is refused, with its
//! name and its value.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use adaptation::region::{Region, Terms};
use anyhow::Context as _;
use playlists::Bitrate;
#[cfg(feature = "kubernetes")]
use spillway::manager::lease::KubernetesLease;
use spillway::{
    analytics::Retention,
    manager::{
        self, address,
        lease::{FileLease, Lease, PostgresLease},
        operator::Operator,
        places::{Geo, Places, Rules, Table},
    },
};

#[cfg(feature = "kubernetes")]
use super::LauncherKind;
use super::{Pair, Settings};

impl Settings {
    /// Whether all of it can work, as far as can be told without listening.
    pub(crate) fn would_do(&self) -> anyhow::Result<()> {
        self.manager()?;
        self.members()?;
        self.places()?;
        self.operator()?;
        Ok(())
    }

    pub(crate) fn manager(&self) -> anyhow::Result<manager::Config> {
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
        balancer.threshold_egress = egress("threshold-mbps", self.threshold_mbps)?;
        for (name, own) in &self.regions {
            anyhow::ensure!(
                own.threshold != Some(0),
                "the threshold of region {name} is 0 viewers, which is not possible; 1 is the least"
            );
            let terms = Terms {
                threshold: own.threshold,
                threshold_egress: egress("threshold-mbps", own.threshold_mbps)?,
                relays: own.max_relays,
            };
            balancer.regions.insert(region(name)?, terms);
        }
        for Pair(node, weight) in &self.node_weight {
            let weight: f64 = weight
                .parse()
                .ok()
                .filter(|weight| (0.0..=1000.0).contains(weight))
                .with_context(|| format!("node-weight {node}={weight} is not 0 to 1000"))?;
            balancer.weights.insert(node.clone(), weight);
        }
        if let Some(price) = self.spill_price {
            anyhow::ensure!(
                price >= 0.0,
                "spill-price is {price}, but must not be below 0"
            );
            balancer.price = price;
        }
        #[cfg(feature = "kubernetes")]
        if matches!(self.launcher, Some(LauncherKind::Kubernetes)) {
            // An image may have to be fetched first.
            balancer.launch_deadline = Duration::from_secs(120);
        }
        set(&mut balancer.ahead, self.ahead);
        set(&mut balancer.move_back, self.move_back);
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
        config.dry_run = self.dry_run.unwrap_or(false);
        config.leased = self.lease.is_some();
        Ok(config)
    }

    /// Which region a viewer is of.
    pub(crate) fn places(&self) -> anyhow::Result<Places> {
        let mut table = Table::default();
        for Pair(network, name) in &self.network {
            let parsed = network.parse();
            let parsed = parsed
                .or_else(|error| network.parse::<IpAddr>().map(Into::into).map_err(|_| error))
                .with_context(|| format!("{network:?} is no network, such as 192.0.2.0/24"))?;
            table.insert(parsed, region(name)?);
        }
        let mut rules = Rules::default();
        for Pair(place, name) in &self.geo {
            rules
                .add(place, region(name)?)
                .map_err(anyhow::Error::msg)?;
        }
        anyhow::ensure!(
            self.geo.is_empty() || self.geoip.is_some(),
            "--geo needs a database; name it with --geoip"
        );
        let geo = self.geoip.as_deref().map(|path| Geo::open(path, rules));
        Ok(Places {
            table,
            geo: geo.transpose()?,
            default: self
                .default_region
                .as_deref()
                .map_or(Ok(Region::default()), region)?,
        })
    }

    pub(crate) fn operator(&self) -> anyhow::Result<Operator> {
        let Some(path) = &self.operator_token_file else {
            return Ok(Operator::default());
        };
        let operator = || -> anyhow::Result<_> {
            let text = std::fs::read_to_string(path)?;
            let token = text.lines().next().unwrap_or_default().trim();
            Operator::with(token).map_err(anyhow::Error::msg)
        };
        operator().with_context(|| format!("operator-token-file {}", path.display()))
    }

    pub(crate) fn retention(&self) -> anyhow::Result<Retention> {
        let usual = Retention::default();
        let retention = Retention {
            days: self.analytics_days.unwrap_or(usual.days),
            hours_days: self.analytics_hours_days.unwrap_or(usual.hours_days),
        };
        anyhow::ensure!(
            (1..=36_500).contains(&retention.days) && (1..=36_500).contains(&retention.hours_days),
            "analytics-days is {}, analytics-hours-days {}; 1 is the least",
            retention.days,
            retention.hours_days
        );
        Ok(retention)
    }

    /// Where decisions are to be written, and how much of them.
    pub(crate) fn log(&self) -> Option<(&Path, Option<u64>)> {
        let most = self.decisions_log_mb.map(|mb| mb.max(1) * 1_000_000);
        Some((self.decisions_log.as_deref()?, most))
    }

    /// What is shared with other managers; `url` is where they find this one.
    pub(crate) async fn lease(&self, url: &str) -> anyhow::Result<Option<Arc<dyn Lease>>> {
        let Some(lease) = self.lease.as_deref() else {
            return Ok(None);
        };
        if let Some(path) = lease.strip_prefix("file:") {
            return Ok(Some(Arc::new(FileLease::new(path.into(), url.to_owned()))));
        }
        #[cfg(feature = "kubernetes")]
        if let Some(place) = lease.strip_prefix("kubernetes:") {
            let (namespace, name) = match place.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, place),
            };
            let name = Some(name).filter(|name| !name.is_empty());
            let name = name.or(self.lease_name.as_deref()).unwrap_or("spillway");
            let lease = KubernetesLease::connect(namespace, name, url.to_owned()).await?;
            return Ok(Some(Arc::new(lease)));
        }
        anyhow::ensure!(
            lease.starts_with("postgres://") || lease.starts_with("postgresql://"),
            "lease is neither file:PATH, kubernetes:[NAMESPACE/]NAME nor postgres://USER:PASSWORD@HOST/DATABASE"
        );
        let name = self.lease_name.as_deref().unwrap_or("spillway");
        Ok(Some(Arc::new(PostgresLease::new(
            lease,
            name,
            url.to_owned(),
        )?)))
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A region that is named by an operator: what would be `default` otherwise is refused.
fn region(name: &str) -> anyhow::Result<Region> {
    let region = Region::new(name);
    anyhow::ensure!(
        region.as_str() == name.to_ascii_lowercase(),
        "{name:?} is no region: 1 to 32 letters, digits and '-'"
    );
    Ok(region)
}

fn egress(name: &str, mbps: Option<f64>) -> anyhow::Result<Option<Bitrate>> {
    let Some(mbps) = mbps else { return Ok(None) };
    anyhow::ensure!(
        mbps.is_finite() && mbps > 0.0,
        "{name} is {mbps}; it has to be above 0"
    );
    Ok(Some(Bitrate::from_bps((mbps * 1e6) as u64)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::RegionSettings, *};

    fn parse(arguments: &[&str]) -> anyhow::Result<manager::Config> {
        let program = std::iter::once(&crate::NAME);
        Settings::try_parse_from(program.chain(arguments))?
            .complete()?
            .manager()
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
                vec!["http://x", "--threshold-mbps", "0"],
                "threshold-mbps is 0",
            ),
            (
                vec!["http://x", "--node-weight", "relay=heavy"],
                "node-weight relay=heavy is not 0 to 1000",
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

    #[test]
    fn regions_are_told_by_networks_and_have_terms_of_their_own() {
        let arguments = [
            crate::NAME,
            "http://x",
            "--network",
            "10.0.0.0/8=paris,10.1.0.7=rome",
        ];
        let mut settings = Settings::try_parse_from(arguments)
            .unwrap()
            .complete()
            .unwrap();
        let own = RegionSettings {
            threshold: Some(7),
            threshold_mbps: Some(2.5),
            max_relays: Some(1),
        };
        settings.regions.insert("Paris".into(), own);
        let places = settings.places().unwrap();
        for (declared, from, named) in [
            ("", "10.2.3.4", "paris"),
            ("", "10.1.0.7", "rome"),
            ("lyon", "10.1.0.7", "lyon"),
            ("", "192.0.2.1", "default"),
        ] {
            let found = places.region(declared, from.parse().ok());
            assert_eq!(found.as_str(), named, "{declared} {from}");
        }
        let balancer = settings.manager().unwrap().balancer;
        let terms = &balancer.regions[&Region::new("paris")];
        assert_eq!((terms.threshold, terms.relays), (Some(7), Some(1)));
        assert_eq!(terms.threshold_egress, Some(Bitrate::from_kbps(2500)));
    }

    #[tokio::test]
    async fn what_is_no_place_no_network_and_no_lease_is_refused() {
        let parse = |arguments: &[&str]| {
            let program = [crate::NAME, "http://x"];
            Settings::try_parse_from(program.iter().chain(arguments)).unwrap()
        };
        for (arguments, told) in [
            (vec!["--network", "here=paris"], "is no network"),
            (vec!["--network", "10.0.0.0/8=pa ris"], "is no region"),
            (vec!["--geo", "FR=paris"], "needs a database"),
            (vec!["--geo", "France=paris"], "is no place"),
            (
                vec!["--geoip", "/nowhere.mmdb"],
                "GeoIP database /nowhere.mmdb",
            ),
        ] {
            let error = format!("{:#}", parse(&arguments).places().unwrap_err());
            assert!(error.contains(told), "{error}");
        }
        let settings = parse(&["--lease", "redis://x"]);
        let error = settings.lease("http://x").await.unwrap_err();
        assert!(error.to_string().contains("neither file:PATH, "), "{error}");
    }
}
