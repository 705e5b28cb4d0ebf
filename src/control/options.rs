//! The options by which nodes and managers know one another. The same on both sides.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::proof::Secret;

/// How nodes and the traffic manager speak to each other.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ControlConfig {
    /// A file whose first line is the secret that all nodes and traffic managers share;
    /// SPILLWAY_CONTROL_SECRET may say the secret itself [default: none; nodes of the same machine are trusted]
    #[arg(long, env = "SPILLWAY_CONTROL_SECRET_FILE", value_name = "FILE")]
    pub control_secret_file: Option<PathBuf>,
    /// Authority (PEM) that issued the certificates of nodes and traffic managers, who then show them
    /// to each other; `traffic-manager make-certificates` makes all of them
    #[arg(long, env = "SPILLWAY_CONTROL_CA", value_name = "FILE")]
    pub control_ca: Option<PathBuf>,
    /// Certificate (PEM) of this node or manager, issued by that authority
    #[arg(long, env = "SPILLWAY_CONTROL_CERT", value_name = "FILE")]
    pub control_cert: Option<PathBuf>,
    /// Its private key (PEM) [default: the file of --control-cert]
    #[arg(long, env = "SPILLWAY_CONTROL_KEY", value_name = "FILE")]
    pub control_key: Option<PathBuf>,
}

/// A certificate of the installation's own authority, and that authority.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Papers {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl ControlConfig {
    pub fn secret(&self) -> anyhow::Result<Option<Secret>> {
        match (&self.control_secret_file, std::env::var(SECRET)) {
            (Some(file), _) => Secret::load(file).map(Some),
            (None, Ok(secret)) => Secret::new(&secret).map(Some),
            (None, Err(_)) => Ok(None),
        }
    }

    /// `None`: nobody shows certificates.
    pub fn papers(&self) -> anyhow::Result<Option<Papers>> {
        let (Some(authority), Some(certificate)) = (&self.control_ca, &self.control_cert) else {
            ensure!(
                self.control_ca.is_none()
                    && self.control_cert.is_none()
                    && self.control_key.is_none(),
                "control-ca and control-cert go together; give both, or neither"
            );
            return Ok(None);
        };
        Ok(Some(Papers {
            authority: authority.clone(),
            certificate: certificate.clone(),
            key: self
                .control_key
                .clone()
                .unwrap_or_else(|| certificate.clone()),
        }))
    }
}

/// In the environment, as flags can be seen by everybody on a machine.
const SECRET: &str = "SPILLWAY_CONTROL_SECRET";
