//! That a message comes from who knows the secret, now, and once; and its answer as well.
//!
//! The secret itself is never sent. A node signs each message (HMAC-SHA256) with what the manager
//! gave it to sign with, the challenge, which is good at one run of one manager for two minutes; and
//! with its own run and a count that only grows. So nothing that was overheard can be said again,
//! and nobody's clock is asked. The manager signs what it answers, with the proof of the question, so that nobody else can
//! give directives.
//!
//! Pure: time and random octets are arguments.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What all nodes and managers of an installation know. Nothing prints it.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// What is signed, of a request.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub path: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Why a message, or an answer, is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error(
        "a node has to prove that it knows the secret of this manager; give it --control-secret-file"
    )]
    Missing,
    #[error("what it has in `authorization` is no proof")]
    Shape,
    #[error("the proof rests on no challenge of now; one comes with this answer")]
    Stale,
    #[error(
        "the proof was made with another secret; give all nodes and managers the same --control-secret-file"
    )]
    Forged,
    #[error("the message was heard before")]
    Replayed,
    #[error("{MOST_RUNS} runs of nodes are remembered, which is the limit")]
    Full,
}

impl Secret {
    /// Short ones could be guessed from a message that was overheard.
    pub fn new(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        anyhow::ensure!(
            text.len() >= SHORTEST,
            "the control secret has {} characters; {SHORTEST} are the least, and `openssl rand -hex 32` makes a good one",
            text.len()
        );
        let keyed = Hmac::new_from_slice(text.as_bytes()).context("the control secret")?;
        Ok(Self(keyed))
    }

    /// The first line of a file, which should be readable for nobody else.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text =
            text.with_context(|| format!("cannot read control-secret-file {}", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        Self::new(line).with_context(|| path.display().to_string())
    }

    /// Each piece with its length, so that no two messages read alike.
    fn keyed(&self, context: &str, pieces: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone().chain_update(context);
        for piece in pieces {
            mac.update(&(piece.len() as u64).to_be_bytes());
            mac.update(piece);
        }
        mac
    }

    fn of_message(&self, stamp: &str, said: &Said<'_>) -> Hmac<Sha256> {
        let Said {
            path,
            content_type,
            body,
        } = said;
        self.keyed(
            MESSAGE,
            &[
                stamp.as_bytes(),
                path.as_bytes(),
                content_type.as_bytes(),
                body,
            ],
        )
    }

    fn of_answer(&self, proof: &str, body: &[u8]) -> Hmac<Sha256> {
        self.keyed(ANSWER, &[proof.as_bytes(), body])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A node's side. One for each run of a node.
#[derive(Debug)]
pub struct Prover {
    secret: Secret,
    run: u64,
    count: u64,
    challenge: String,
}

impl Prover {
    /// `run` is random.
    pub fn new(secret: Secret, run: u64) -> Self {
        let (count, challenge) = (0, String::from("none"));
        Self {
            secret,
            run,
            count,
            challenge,
        }
    }

    /// What to sign with from now on, as the last answer had it; whether that is news.
    pub fn challenged(&mut self, challenge: &str) -> bool {
        let news = self.challenge != challenge && is_plain(challenge);
        if news {
            challenge.clone_into(&mut self.challenge);
        }
        news
    }

    /// The value of `authorization`.
    pub fn prove(&mut self, said: &Said<'_>) -> String {
        self.count += 1;
        let stamp = format!("{:016x}.{}.{}", self.run, self.count, self.challenge);
        let mac = self.secret.of_message(&stamp, said);
        format!("{SCHEME}{stamp}.{}", hex(&mac.finalize().into_bytes()))
    }

    /// Whether the manager signed `body`, in answer to what had this `proof`.
    pub fn is_answer(&self, proof: &str, body: &[u8], seal: &str) -> bool {
        let mac = self.secret.of_answer(proof, body);
        unhex(seal).is_some_and(|seal| mac.verify_slice(&seal).is_ok())
    }
}

/// A manager's side.
#[derive(Debug)]
pub struct Verifier {
    secret: Secret,
    /// Of this run alone: what signs challenges.
    own: Secret,
    started: Instant,
    /// The last message of each run of a node, and in which period that was.
    runs: HashMap<u64, (u64, u64)>,
    swept: u64,
}

impl Verifier {
    pub fn new(secret: Secret, random: [u8; 32], now: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            secret,
            own: Secret::new(&hex(&random))?,
            started: now,
            runs: HashMap::new(),
            swept: 0,
        })
    }

    /// What messages are to be signed with now.
    pub fn challenge(&self, now: Instant) -> String {
        self.challenge_of(self.period(now))
    }

    /// The proof, if the message is genuine, of now, and was not heard before.
    pub fn admit<'a>(
        &mut self,
        header: Option<&'a str>,
        said: &Said<'_>,
        now: Instant,
    ) -> Result<&'a str, Fault> {
        let header = header.ok_or(Fault::Missing)?;
        let proof = header.strip_prefix(SCHEME).ok_or(Fault::Missing)?;
        let (stamp, mac) = proof.rsplit_once('.').ok_or(Fault::Shape)?;
        let mac = unhex(mac).ok_or(Fault::Shape)?;
        let mut fields = stamp.splitn(3, '.');
        let (Some(run), Some(count), Some(challenge)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(Fault::Shape);
        };
        let run = u64::from_str_radix(run, 16).map_err(|_| Fault::Shape)?;
        let count: u64 = count.parse().map_err(|_| Fault::Shape)?;
        let period = self.period(now);
        let of_now = [Some(period), period.checked_sub(1)];
        if !of_now
            .into_iter()
            .flatten()
            .any(|period| self.challenge_of(period) == challenge)
        {
            return Err(Fault::Stale);
        }
        // Takes as long wherever the difference is.
        if self
            .secret
            .of_message(stamp, said)
            .verify_slice(&mac)
            .is_err()
        {
            return Err(Fault::Forged);
        }
        self.remember(run, count, period)?;
        Ok(header)
    }

    /// What shows that this manager answers `body` to what had this `proof`.
    pub fn seal(&self, proof: &str, body: &[u8]) -> String {
        hex(&self.secret.of_answer(proof, body).finalize().into_bytes())
    }

    fn remember(&mut self, run: u64, count: u64, period: u64) -> Result<(), Fault> {
        if self.swept != period {
            self.swept = period;
            // Whatever it signed by then rests on a challenge that is not good any more.
            self.runs.retain(|_, (_, last)| *last + 1 >= period);
        }
        match self.runs.get(&run) {
            Some((last, _)) if count <= *last => return Err(Fault::Replayed),
            None if self.runs.len() >= MOST_RUNS => return Err(Fault::Full),
            _ => {}
        }
        self.runs.insert(run, (count, period));
        Ok(())
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / PERIOD.as_secs()
    }

    fn challenge_of(&self, period: u64) -> String {
        let mac = self.own.keyed(CHALLENGE, &[&period.to_be_bytes()]);
        hex(&mac.finalize().into_bytes()[..16])
    }
}

/// What may stand in a header and between dots.
fn is_plain(challenge: &str) -> bool {
    (1..=64).contains(&challenge.len()) && challenge.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn hex(octets: &[u8]) -> String {
    use fmt::Write as _;
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to memory cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(octets)
}

/// In which header the manager says what to sign with, in every answer.
pub const CHALLENGE_HEADER: &str = "spillway-challenge";

/// In which header it proves its answer.
pub const SEAL_HEADER: &str = "spillway-seal";

const SCHEME: &str = "Spillway ";
const MESSAGE: &str = "spillway control message 1\n";
const ANSWER: &str = "spillway control answer 1\n";
const CHALLENGE: &str = "spillway control challenge 1\n";

/// Two of them are good at a time.
const PERIOD: Duration = Duration::from_secs(60);

/// Only who knows the secret adds to it, and nobody needs so many within two minutes.
const MOST_RUNS: usize = 65_536;

const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Said<'_> = Said {
        path: "/v1/heartbeat",
        content_type: "application/json",
        body: b"{}",
    };

    fn pair(theirs: &str, t0: Instant) -> (Prover, Verifier) {
        let ours = Secret::new("a secret of everybody").unwrap();
        let verifier = Verifier::new(ours, [7; 32], t0).unwrap();
        (Prover::new(Secret::new(theirs).unwrap(), 1), verifier)
    }

    #[test]
    fn a_node_that_knows_the_secret_is_heard_once_it_was_challenged() {
        let t0 = Instant::now();
        let (mut node, mut manager) = pair("a secret of everybody", t0);
        assert_eq!(
            manager.admit(Some(&node.prove(&SAID)), &SAID, t0),
            Err(Fault::Stale)
        );
        assert!(node.challenged(&manager.challenge(t0)));
        assert!(!node.challenged(&manager.challenge(t0)), "it is no news");
        let proof = node.prove(&SAID);
        assert_eq!(manager.admit(Some(&proof), &SAID, t0), Ok(&*proof));
        let seal = manager.seal(&proof, b"continue");
        assert!(node.is_answer(&proof, b"continue", &seal));
        assert!(!node.is_answer(&proof, b"retire", &seal), "another answer");
        let other = node.prove(&SAID);
        assert!(
            !node.is_answer(&other, b"continue", &seal),
            "another question"
        );
        assert!(!node.is_answer(&proof, b"continue", "garbage"));
    }

    #[test]
    fn what_was_overheard_is_of_no_use() {
        let t0 = Instant::now();
        let (mut node, mut manager) = pair("a secret of everybody", t0);
        node.challenged(&manager.challenge(t0));
        let (first, second) = (node.prove(&SAID), node.prove(&SAID));
        assert!(manager.admit(Some(&second), &SAID, t0).is_ok());
        for heard in [&first, &second] {
            assert_eq!(manager.admit(Some(heard), &SAID, t0), Err(Fault::Replayed));
        }
        let late = t0 + 2 * PERIOD;
        assert_eq!(manager.admit(Some(&second), &SAID, late), Err(Fault::Stale));
        let (_, mut next) = pair("a secret of everybody", t0);
        next.own = Secret::new("of the next manager").unwrap();
        assert_eq!(next.admit(Some(&second), &SAID, t0), Err(Fault::Stale));
    }

    #[test]
    fn what_was_changed_on_the_way_is_forged() {
        let t0 = Instant::now();
        let (mut node, mut manager) = pair("a secret of everybody", t0);
        node.challenged(&manager.challenge(t0));
        for changed in [
            Said {
                path: "/v1/drain",
                ..SAID
            },
            Said {
                content_type: "application/x-protobuf",
                ..SAID
            },
            Said {
                body: b"{ }",
                ..SAID
            },
        ] {
            let proof = node.prove(&SAID);
            assert_eq!(
                manager.admit(Some(&proof), &changed, t0),
                Err(Fault::Forged)
            );
        }
        let (mut stranger, _) = pair("a secret of nobody", t0);
        stranger.challenged(&manager.challenge(t0));
        assert_eq!(
            manager.admit(Some(&stranger.prove(&SAID)), &SAID, t0),
            Err(Fault::Forged)
        );
    }

    #[test]
    fn what_is_no_proof_is_refused_for_what_it_is() {
        let t0 = Instant::now();
        let (_, mut manager) = pair("a secret of everybody", t0);
        assert_eq!(manager.admit(None, &SAID, t0), Err(Fault::Missing));
        assert_eq!(
            manager.admit(Some("Bearer abc"), &SAID, t0),
            Err(Fault::Missing)
        );
        let mac = "0".repeat(64);
        for garbage in [
            "",
            ".",
            "....",
            "x.1.none",
            "1.1.1.zz",
            &format!("zz.1.none.{mac}"),
            &format!("1.-1.none.{mac}"),
        ] {
            let header = format!("Spillway {garbage}");
            assert_eq!(
                manager.admit(Some(&header), &SAID, t0),
                Err(Fault::Shape),
                "{garbage}"
            );
        }
    }

    #[test]
    fn a_challenge_is_good_for_two_periods_and_runs_are_forgotten_with_it() {
        let t0 = Instant::now();
        let (mut node, mut manager) = pair("a secret of everybody", t0);
        let challenge = manager.challenge(t0);
        node.challenged(&challenge);
        let later = t0 + PERIOD;
        assert_ne!(manager.challenge(later), challenge);
        assert!(
            manager
                .admit(Some(&node.prove(&SAID)), &SAID, later)
                .is_ok()
        );
        assert_eq!(manager.runs.len(), 1);
        let much_later = t0 + 9 * PERIOD;
        let mut other = Prover::new(Secret::new("a secret of everybody").unwrap(), 2);
        other.challenged(&manager.challenge(much_later));
        assert!(
            manager
                .admit(Some(&other.prove(&SAID)), &SAID, much_later)
                .is_ok()
        );
        assert_eq!(manager.runs.keys().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        let error = Secret::new(" short ").unwrap_err().to_string();
        assert!(
            error.starts_with("the control secret has 5 characters; 16 are the least"),
            "{error}"
        );
        let error = format!("{:#}", Secret::load(Path::new("/nowhere")).unwrap_err());
        assert!(
            error.starts_with("cannot read control-secret-file /nowhere: "),
            "{error}"
        );
    }
}
