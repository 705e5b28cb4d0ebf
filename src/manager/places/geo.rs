//! Where an address is, by a MaxMind database (`.mmdb`) that the operator brings; and which region that is.
//! A file that changes is read anew; one that cannot be read leaves the one before in place.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use adaptation::region::Region;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use maxminddb::Reader;
use serde::Deserialize;

/// A database, and what is made of it.
#[derive(Debug)]
pub struct Geo {
    path: PathBuf,
    rules: Rules,
    reader: ArcSwap<Reader<Vec<u8>>>,
    /// As the file was when it was read last, or when that failed.
    seen: Mutex<Option<Stamp>>,
}

/// Regions by `FR-75` (a subdivision), `FR` (a country) and `continent:EU`, the first that fits. Without any,
/// each country is a region of its own (`fr`).
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<String, Region>);

type Stamp = (SystemTime, u64);

/// What is read of a record, be it of a database of cities or of countries.
#[derive(Debug, Default, Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    continent: Option<Continent<'a>>,
    #[serde(borrow, default)]
    country: Option<Place<'a>>,
    #[serde(borrow, default)]
    registered_country: Option<Place<'a>>,
    #[serde(borrow, default)]
    subdivisions: Vec<Place<'a>>,
}

#[derive(Debug, Deserialize)]
struct Continent<'a> {
    code: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct Place<'a> {
    iso_code: Option<&'a str>,
}

impl Rules {
    /// Adds `FR=paris`, `FR-75=paris` or `continent:EU=frankfurt`.
    pub fn add(&mut self, place: &str, region: Region) -> Result<(), String> {
        let code = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let name = place.to_ascii_uppercase();
        let valid = match (name.strip_prefix("CONTINENT:"), name.split_once('-')) {
            (Some(continent), _) => code(continent, 2..=2),
            (None, Some((country, part))) => code(country, 2..=2) && code(part, 1..=3),
            (None, None) => code(&name, 2..=2),
        };
        if !valid {
            return Err(format!(
                "{place:?} is no place: a country (FR), a subdivision (FR-75) or a continent (continent:EU), by its ISO code"
            ));
        }
        self.0.insert(name, region);
        Ok(())
    }

    fn region(&self, record: &Record<'_>) -> Option<Region> {
        let country = record.country.as_ref().and_then(|place| place.iso_code);
        let registered = || record.registered_country.as_ref()?.iso_code;
        let country = country.or_else(registered);
        if self.0.is_empty() {
            return country.map(Region::new);
        }
        let parts = record.subdivisions.iter().rev();
        let parts = parts.filter_map(|part| Some(format!("{}-{}", country?, part.iso_code?)));
        let continent = record.continent.as_ref().and_then(|place| place.code);
        let names = parts
            .chain(country.map(str::to_owned))
            .chain(continent.map(|code| format!("CONTINENT:{code}")));
        names
            .filter_map(|name| self.0.get(&name.to_ascii_uppercase()))
            .next()
            .cloned()
    }
}

impl Geo {
    pub fn open(path: &Path, rules: Rules) -> anyhow::Result<Self> {
        let stamp = stamp(path);
        let reader = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            rules,
            reader: ArcSwap::from_pointee(reader),
            seen: Mutex::new(stamp),
        })
    }

    pub(super) fn region(&self, address: IpAddr) -> Option<Region> {
        let reader = self.reader.load();
        let found = reader.lookup(address.to_canonical());
        let record = found.and_then(|found| found.decode::<Record<'_>>());
        match record {
            Ok(record) => self.rules.region(&record?),
            Err(error) => {
                tracing::debug!(%address, %error, "the GeoIP database cannot tell");
                None
            }
        }
    }

    /// Reads the file again if it is another one. It is read off the tasks that answer.
    pub(super) async fn refresh(&self) {
        let path = self.path.clone();
        let seen = *self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let look = move || {
            let stamp = stamp(&path);
            (stamp != seen && stamp.is_some()).then(|| (stamp, read(&path)))
        };
        let Ok(Some((stamp, read))) = tokio::task::spawn_blocking(look).await else {
            return;
        };
        *self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = stamp;
        match read {
            Ok(reader) => {
                tracing::info!(path = %self.path.display(), built = reader.metadata().build_epoch, "GeoIP database read again");
                self.reader.store(reader.into());
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the GeoIP database has changed and cannot be read; the one before goes on"
                );
            }
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Reader<Vec<u8>>> {
    let read = || -> anyhow::Result<_> {
        let reader = Reader::open_readfile(path)?;
        let kind = reader.metadata().database_type.clone();
        anyhow::ensure!(
            kind.contains("Country") || kind.contains("City") || kind.contains("Enterprise"),
            "a database of type {kind} says nothing of countries"
        );
        Ok(reader)
    };
    read().with_context(|| format!("GeoIP database {}", path.display()))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}
