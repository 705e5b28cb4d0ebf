//! That an event is ours and is told now: HMAC-SHA256 over its id, the time, and its octets, as Standard Webhooks has it.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// One secret, or a new one and the one before. Nothing prints them.
pub(super) struct Secrets(Vec<Hmac<Sha256>>);

impl Secrets {
    /// A secret on each line.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets = lines.map(secret).collect::<anyhow::Result<Vec<_>>>()?;
        let count = secrets.len();
        ensure!(
            (1..=2).contains(&count),
            "there are {count} secrets in it; there have to be one, or a new one and the one before"
        );
        Ok(Self(secrets))
    }

    /// What goes into `webhook-signature`: by each secret one.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let signed = self.0.iter().map(|secret| {
            let head = format!("{id}.{seconds}.");
            let mac = secret.clone().chain_update(head).chain_update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signed.collect::<Vec<_>>().join(" ")
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

fn secret(line: &str) -> anyhow::Result<Hmac<Sha256>> {
    let encoded = line.strip_prefix("whsec_");
    let encoded = encoded.context("a secret begins with whsec_, and base64 follows")?;
    let octets = STANDARD.decode(encoded);
    let octets = octets.context("what follows whsec_ is no base64")?;
    ensure!(
        (24..=64).contains(&octets.len()),
        "a secret is of {} octets; it has to be 24 to 64",
        octets.len()
    );
    Hmac::new_from_slice(&octets).context("a secret cannot be used")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `hmac`, over `evt_1.1700000000.{"a":1}`.
    const SIGNED: &str = "v1,LD23cPhYO0Vr+7BYB9TpqKHMIUwtb1s91EEyjYfBh+s=";

    fn whsec(octet: u8) -> String {
        format!("whsec_{}", STANDARD.encode([octet; 32]))
    }

    #[test]
    fn the_signature_is_what_others_make_of_the_same() {
        let secrets = Secrets::read(&whsec(7)).unwrap();
        assert_eq!(secrets.sign("evt_1", 1_700_000_000, b"{\"a\":1}"), SIGNED);
    }

    #[test]
    fn two_secrets_make_two_signatures_the_new_one_first() {
        let both = Secrets::read(&format!("{}\n{}\n", whsec(7), whsec(8))).unwrap();
        let signed = both.sign("evt_1", 1_700_000_000, b"{\"a\":1}");
        let (new, old) = signed.split_once(' ').unwrap();
        assert_eq!(new, SIGNED);
        assert!(old.starts_with("v1,") && old != new);
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said() {
        let three = [whsec(1), whsec(2), whsec(3)].join("\n");
        for (text, rule) in [
            ("", "0 secrets"),
            ("hunter2", "whsec_"),
            ("whsec_!", "no base64"),
            ("whsec_aGk=", "2 octets"),
            (&*three, "3 secrets"),
        ] {
            let error = format!("{:#}", Secrets::read(text).unwrap_err());
            assert!(error.contains(rule), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
