//! Whom the manager hears: who knows the secret, who has a certificate, or who is on this machine, as it
//! was set up; and what a heartbeat that is not taken is told.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    control::proof::{CHALLENGE_HEADER, Fault, SEAL_HEADER, Said, Secret, Verifier},
    net::{Client, Complaints, Connection},
};

/// What a node has to be or to show. All that is asked for has to be there; with nothing anybody is heard.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// To be on this machine.
    pub this_machine: bool,
    /// To know this.
    pub secret: Option<Secret>,
    /// To have shown a certificate in the handshake, which names the node.
    pub certificate: bool,
}

impl fmt::Display for Members {
    /// What has to be true of who is heard, for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = [
            (self.this_machine, "is on this machine"),
            (self.secret.is_some(), "knows the secret"),
            (self.certificate, "shows a certificate"),
        ];
        let asked: Vec<_> = asked
            .into_iter()
            .filter_map(|(asked, what)| asked.then_some(what))
            .collect();
        f.write_str(if asked.is_empty() { "comes" } else { "" })?;
        f.write_str(&asked.join(" and "))
    }
}

/// Who sees to it.
#[derive(Debug)]
pub(super) struct Gate {
    members: Members,
    verifier: Option<Mutex<Verifier>>,
    complaints: Complaints,
}

/// Who says something, as far as that is known.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    pub(super) connection: Option<&'a Connection>,
    pub(super) client: Option<Client>,
    pub(super) headers: &'a HeaderMap,
}

/// Why it is not heard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

/// Who is heard; what is answered is sealed with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pass(Option<String>);

impl Gate {
    pub(super) fn new(members: Members) -> anyhow::Result<Self> {
        let verifier = match &members.secret {
            Some(secret) => {
                let mut random = [0; 32];
                getrandom::fill(&mut random).context("random octets")?;
                let verifier = Verifier::new(secret.clone(), random, Instant::now())?;
                Some(Mutex::new(verifier))
            }
            None => None,
        };
        Ok(Self {
            members,
            verifier,
            complaints: Complaints::default(),
        })
    }

    /// Before anything is read of what it says.
    pub(super) fn admit(&self, caller: &Caller<'_>, said: &Said<'_>) -> Result<Pass, Refusal> {
        let forbidden = |told: &str| Err(Refusal(StatusCode::FORBIDDEN, told.to_owned()));
        let local = caller
            .connection
            .is_some_and(|connection| connection.peer.local);
        if self.members.this_machine && !local {
            return forbidden(ELSEWHERE);
        }
        if self.members.certificate && caller.certified().is_empty() {
            return forbidden(
                "a node has to show a certificate of the control-ca; give it --control-cert",
            );
        }
        let Some(verifier) = &self.verifier else {
            return Ok(Pass(None));
        };
        let header = caller.headers.get(header::AUTHORIZATION);
        let header = header.and_then(|header| header.to_str().ok());
        match lock(verifier).admit(header, said, Instant::now()) {
            Ok(proof) => Ok(Pass(Some(proof.to_owned()))),
            Err(fault) => {
                let status = match fault {
                    Fault::Missing | Fault::Shape | Fault::Stale => StatusCode::UNAUTHORIZED,
                    Fault::Forged | Fault::Replayed => StatusCode::FORBIDDEN,
                    Fault::Full => StatusCode::SERVICE_UNAVAILABLE,
                };
                Err(Refusal(status, fault.to_string()))
            }
        }
    }

    /// Whether who showed this certificate may report under `node`.
    pub(super) fn may_be(&self, caller: &Caller<'_>, node: &str) -> Result<(), Refusal> {
        let certified = caller.certified();
        if !self.members.certificate || certified.iter().any(|name| covers(name, node)) {
            return Ok(());
        }
        let told = format!(
            "{node}: its certificate is for {}; a node reports under a name that is in it (--name)",
            certified.join(", ")
        );
        Err(Refusal(StatusCode::FORBIDDEN, told))
    }

    /// What goes into the head of every answer: what the next message is to be signed with, and the proof that
    /// it is we who answer this one.
    pub(super) fn mark(&self, headers: &mut HeaderMap, pass: Option<&Pass>, body: &[u8]) {
        let Some(verifier) = &self.verifier else {
            return;
        };
        let verifier = lock(verifier);
        let proof = pass.and_then(|pass| pass.0.as_deref());
        let seal = proof.map(|proof| verifier.seal(proof, body));
        let challenge = Some(verifier.challenge(Instant::now()));
        for (name, value) in [(CHALLENGE_HEADER, challenge), (SEAL_HEADER, seal)] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
    }

    /// Says in the log who was refused, and why; not each time that it tries again.
    pub(super) fn complain(&self, caller: &Caller<'_>, node: Option<&str>, refusal: &Refusal) {
        let from = caller.client.map(|client| client.address);
        let Refusal(status, told) = refusal;
        // How every conversation begins.
        let usual = *told == Fault::Stale.to_string();
        let known = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if !usual && self.complaints.is_news(known, told, Instant::now()) {
            tracing::warn!(
                ?from,
                node,
                status = status.as_u16(),
                told,
                "heartbeat refused"
            );
        } else {
            tracing::debug!(
                ?from,
                node,
                status = status.as_u16(),
                told,
                "heartbeat refused"
            );
        }
    }
}

impl Caller<'_> {
    fn certified(&self) -> &[String] {
        self.connection.map_or(&[], Connection::certified)
    }
}

/// A name with `*` at its end is for all that begin so.
fn covers(name: &str, node: &str) -> bool {
    match name.strip_suffix('*') {
        Some(stem) => node.starts_with(stem),
        None => node == name,
    }
}

fn lock(verifier: &Mutex<Verifier>) -> MutexGuard<'_, Verifier> {
    verifier.lock().unwrap_or_else(PoisonError::into_inner)
}

const ELSEWHERE: &str = "this manager hears nodes of its own machine only; give it and all nodes the same \
     --control-secret-file, or certificates (--control-ca)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_its_name_or_for_all_that_begin_so() {
        assert!(
            covers("primary", "primary") && covers("relay-*", "relay-paris-1") && covers("*", "x")
        );
        assert!(!covers("primary", "primary2") && !covers("relay-*", "primary"));
        assert!(!covers("relay-", "relay-1"));
    }

    #[test]
    fn who_says_nothing_of_itself_is_heard_only_where_anybody_is() {
        let headers = HeaderMap::new();
        let caller = Caller {
            connection: None,
            client: None,
            headers: &headers,
        };
        let said = Said {
            path: "/v1/heartbeat",
            content_type: "application/json",
            body: b"{}",
        };
        let status = |members| {
            let gate = Gate::new(members).unwrap();
            gate.admit(&caller, &said)
                .map_err(|Refusal(status, _)| status.as_u16())
        };
        let nobody = Members::default();
        assert_eq!(status(nobody.clone()), Ok(Pass(None)));
        assert_eq!(
            status(Members {
                this_machine: true,
                ..nobody.clone()
            }),
            Err(403)
        );
        assert_eq!(
            status(Members {
                certificate: true,
                ..nobody.clone()
            }),
            Err(403)
        );
        let secret = Secret::new("a secret of everybody").ok();
        assert_eq!(status(Members { secret, ..nobody }), Err(401));
    }
}
