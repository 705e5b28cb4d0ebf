//! An authority of an installation's own, and the certificates that its nodes and managers show to one another.
//!
//! Files in a folder: the authority is made once and kept, certificates are made anew whenever they
//! are asked for by name.

use std::{
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Makes certificates for nodes and traffic managers, and at first the authority that issues them.
#[derive(Clone, Debug, clap::Args)]
pub struct Issue {
    /// Folder for all of them; its ca-key.pem makes further ones and belongs on no node
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// For whom: the name that a node reports under, a `*` at its end for all that begin so; and behind `=` the
    /// hosts at which others reach it, which managers need [default: manager=localhost,127.0.0.1,::1 primary
    /// and relay-*, as far as they are not there]
    #[arg(value_name = "NODE[=HOST,...]")]
    nodes: Vec<Node>,
    /// For how many days they are good
    #[arg(long, default_value = "825", value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Node {
    name: String,
    hosts: Vec<String>,
}

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, hosts) = text.split_once('=').unwrap_or((text, ""));
        let stem = name.strip_suffix('*').unwrap_or(name);
        let fits = stem
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !fits || name.is_empty() || name.len() > 64 {
            return Err(format!(
                "{name:?} is no name for a node: 1 to 64 letters, digits, '-', '_' and '.', with or without '*' at the end"
            ));
        }
        let hosts = hosts.split(',').filter(|host| !host.is_empty());
        Ok(Self {
            name: name.to_owned(),
            hosts: hosts.map(str::to_owned).collect(),
        })
    }
}

impl Node {
    /// What its files are called: `relay` for `relay-*`.
    fn file(&self) -> &str {
        let stem = self.name.trim_end_matches(['*', '-', '_', '.']);
        if stem.is_empty() { "any" } else { stem }
    }

    fn usual() -> [Self; 3] {
        let node = |name: &str, hosts: &[&str]| Self {
            name: name.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        };
        [
            node("manager", &["localhost", "127.0.0.1", "::1"]),
            node("primary", &[]),
            node("relay-*", &[]),
        ]
    }
}

impl Issue {
    /// Writes the files; a line about each.
    pub fn run(&self) -> anyhow::Result<Vec<String>> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the folder {}", self.folder.display()))?;
        let mut told = Vec::new();
        let issuer = self.authority(&mut told)?;
        let usual = Node::usual();
        let nodes: Vec<&Node> = if self.nodes.is_empty() {
            let missing = |node: &&Node| !self.path(node.file(), "").exists();
            usual.iter().filter(missing).collect()
        } else {
            self.nodes.iter().collect()
        };
        for node in nodes {
            ensure!(
                node.file() != AUTHORITY,
                "{AUTHORITY} is what the authority's files are called; no node can be"
            );
            let (certificate, key) = (self.path(node.file(), ""), self.path(node.file(), KEY));
            let (pem, key_pem) = self.certificate(node, &issuer)?;
            write(&key, &key_pem, SECRET)?;
            write(&certificate, &pem, PUBLIC)?;
            let hosts = if node.hosts.is_empty() {
                String::new()
            } else {
                format!(", reached at {}", node.hosts.join(", "))
            };
            told.push(format!(
                "{} and {}: for {}{hosts}",
                certificate.display(),
                key.display(),
                node.name
            ));
        }
        Ok(told)
    }

    fn authority(&self, told: &mut Vec<String>) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let (certificate, key) = (self.path(AUTHORITY, ""), self.path(AUTHORITY, KEY));
        if certificate.exists() {
            let pem = read(&certificate)?;
            let key_pem = read(&key)
                .context("the authority that is there makes no certificates without its key")?;
            let key_pair =
                KeyPair::from_pem(&key_pem).with_context(|| key.display().to_string())?;
            return Issuer::from_ca_cert_pem(&pem, key_pair)
                .with_context(|| certificate.display().to_string());
        }
        let mut params = self.good_for(Duration::from_secs(10 * 365 * DAY));
        params
            .distinguished_name
            .push(DnType::CommonName, "Spillway control");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key_pair = KeyPair::generate().context("a key for the authority")?;
        let pem = params
            .self_signed(&key_pair)
            .context("the authority")?
            .pem();
        write(&key, &key_pair.serialize_pem(), SECRET)?;
        write(&certificate, &pem, PUBLIC)?;
        told.push(format!(
            "{}: the authority, for --control-ca of all; keep {} where no node is",
            certificate.display(),
            key.display()
        ));
        Ok(Issuer::new(params, key_pair))
    }

    fn certificate(
        &self,
        node: &Node,
        issuer: &Issuer<'_, KeyPair>,
    ) -> anyhow::Result<(String, String)> {
        let mut params = self.good_for(Duration::from_secs(u64::from(self.days) * DAY));
        params
            .distinguished_name
            .push(DnType::CommonName, &node.name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        for host in &node.hosts {
            let name = match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(
                    host.as_str()
                        .try_into()
                        .with_context(|| format!("{host:?} is no host"))?,
                ),
            };
            params.subject_alt_names.push(name);
        }
        let key = KeyPair::generate().context("a key")?;
        let certificate = params
            .signed_by(&key, issuer)
            .with_context(|| node.name.clone())?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// From a day ago, as not all clocks agree.
    fn good_for(&self, span: Duration) -> CertificateParams {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now = rcgen::date_time_ymd(1970, 1, 1) + since;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = now - Duration::from_secs(DAY);
        params.not_after = now + span;
        params
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}{kind}.pem"))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whole or not at all: nobody reads half of it.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        // Left over from a run that was killed, perhaps with another mode.
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

const AUTHORITY: &str = "ca";
const KEY: &str = "-key";
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const DAY: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_certificate_is_for_is_a_name_and_hosts() {
        let node: Node = "manager=tm.example.org,::1".parse().unwrap();
        assert_eq!((node.name.as_str(), node.file()), ("manager", "manager"));
        assert_eq!(node.hosts, ["tm.example.org", "::1"]);
        for (text, file) in [("relay-*", "relay"), ("*", "any"), ("eu.west", "eu.west")] {
            assert_eq!(text.parse::<Node>().unwrap().file(), file);
        }
        for wrong in ["", "=host", "a/b", "a*b", "../x"] {
            assert!(wrong.parse::<Node>().is_err(), "{wrong}");
        }
    }
}
