//! The line to the traffic manager: a heartbeat is written in the node's encoding, proven if there is
//! a secret, sent; and the answer is believed if the manager proves that it is his.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};

use crate::{
    control::{
        self, ANSWER_PATH, ControlConfig, Encoding, HEARTBEAT_PATH, Heartbeat, HeartbeatReply,
        Message, Noted, Unreadable,
        proof::{CHALLENGE_HEADER, Prover, SEAL_HEADER, Said},
        visits::{VISITS_PATH, Visits},
    },
    net::{Answer, Caller, FetchError, caller::Trusted},
};

/// One node's way to its manager.
#[derive(Debug)]
pub struct Line {
    manager: Url,
    caller: Caller,
    encoding: Encoding,
    prover: Option<Prover>,
}

/// Why a heartbeat had no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Call(#[from] FetchError),
    #[error("{url}: refused with {status}: {said}")]
    Refused {
        url: Url,
        status: StatusCode,
        said: String,
    },
    #[error("{url}: {why}")]
    Unreadable { url: Url, why: Unreadable },
    #[error("{url}: the answer is not from who knows the secret; somebody else may be answering")]
    Forged { url: Url },
}

impl LineError {
    /// Somebody answered, and does not want to hear this node: it is for people to mend that.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Call(_) => false,
            Self::Refused { status, .. } => status.is_client_error(),
            Self::Unreadable { .. } | Self::Forged { .. } => true,
        }
    }

    /// What was said cannot be read there, and never will be.
    pub fn is_for_good(&self) -> bool {
        let status = match self {
            Self::Refused { status, .. } => *status,
            _ => return false,
        };
        status == StatusCode::BAD_REQUEST || status == StatusCode::PAYLOAD_TOO_LARGE
    }

    /// Not worth another word.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call(_), Self::Call(_)) => true,
            (Self::Refused { said, .. }, Self::Refused { said: before, .. }) => said == before,
            (Self::Unreadable { why, .. }, Self::Unreadable { why: before, .. }) => why == before,
            (Self::Forged { .. }, Self::Forged { .. }) => true,
            _ => false,
        }
    }
}

impl Line {
    /// To the manager whose base URL is `manager`. `trust` is for TLS without certificates of our own.
    pub fn new(
        manager: Url,
        control: &ControlConfig,
        encoding: Encoding,
        mut trust: Trusted,
    ) -> anyhow::Result<Self> {
        if let Some(papers) = control.papers()? {
            anyhow::ensure!(
                manager.scheme() == "https",
                "control-cert is for https, but the manager is {manager}; it says where it listens for nodes (--control-listen)"
            );
            trust = Trusted {
                authorities: Some(papers.authority),
                own: Some((papers.certificate, papers.key)),
            };
        }
        let run = getrandom::u64().context("random octets")?;
        // Whatever a proxy puts before it.
        let url = manager.join(HEARTBEAT_PATH.trim_start_matches('/'));
        url.with_context(|| format!("manager {manager}"))?;
        Ok(Self {
            manager,
            caller: Caller::new(trust)?,
            encoding,
            prover: control.secret()?.map(|secret| Prover::new(secret, run)),
        })
    }

    pub fn manager(&self) -> &Url {
        &self.manager
    }

    pub async fn report(&mut self, heartbeat: &Heartbeat) -> Result<HeartbeatReply, LineError> {
        self.exchange(HEARTBEAT_PATH, heartbeat).await
    }

    /// What the manager asked for an operator.
    pub async fn answer(&mut self, answer: &control::Answer) -> Result<Noted, LineError> {
        self.exchange(ANSWER_PATH, answer).await
    }

    /// Tells of visits, which are taken for good once it is answered.
    pub async fn tell(&mut self, visits: &Visits) -> Result<(), LineError> {
        // Maps with text for keys, and numbers: nothing can fail.
        let body = serde_json::to_vec(visits).unwrap_or_default();
        let content_type = Encoding::Json.content_type();
        self.say(VISITS_PATH, content_type, body).await.map(|_| ())
    }

    /// Says it in the node's encoding, and reads what comes back.
    async fn exchange<M: Message + Clone, R: Message>(
        &mut self,
        path: &'static str,
        message: &M,
    ) -> Result<R, LineError> {
        let body = self.encoding.write(message);
        let content_type = self.encoding.content_type();
        let answer = self.say(path, content_type, body).await?;
        let encoding = Encoding::of(text(&answer, CONTENT_TYPE.as_str())).unwrap_or(self.encoding);
        let read = encoding.read(&answer.body);
        read.map_err(|why| LineError::Unreadable {
            url: self.url(path),
            why,
        })
    }

    /// Says it, and once more if the manager wants the proof to rest on something newer.
    async fn say(
        &mut self,
        path: &'static str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Answer, LineError> {
        let said = (path, content_type);
        let (mut proof, mut answer) = self.call(said, body.clone()).await?;
        if self.challenged(&answer) && answer.status == StatusCode::UNAUTHORIZED {
            (proof, answer) = self.call(said, body).await?;
            self.challenged(&answer);
        }
        let url = || self.url(path);
        if answer.status != StatusCode::OK {
            return Err(LineError::Refused {
                url: url(),
                status: answer.status,
                said: told(&answer.body),
            });
        }
        if let Some(prover) = &self.prover {
            let seal = text(&answer, SEAL_HEADER);
            if !prover.is_answer(&proof, &answer.body, seal) {
                return Err(LineError::Forged { url: url() });
            }
        }
        Ok(answer)
    }

    fn url(&self, path: &str) -> Url {
        let url = self.manager.join(path.trim_start_matches('/'));
        // It was joined with another such path before.
        url.unwrap_or_else(|_| self.manager.clone())
    }

    async fn call(
        &mut self,
        (path, content_type): (&'static str, &'static str),
        body: Vec<u8>,
    ) -> Result<(String, Answer), FetchError> {
        let url = self.url(path);
        let said = Said {
            path,
            content_type,
            body: &body,
        };
        let proof = self.prover.as_mut().map(|prover| prover.prove(&said));
        let proof = proof.unwrap_or_default();
        let headers = [("content-type", content_type), ("authorization", &*proof)];
        let needed = if proof.is_empty() {
            &headers[..1]
        } else {
            &headers[..]
        };
        let answer = self.caller.post(&url, needed, body, PATIENCE).await?;
        Ok((proof, answer))
    }

    /// Whether there is something new to sign with.
    fn challenged(&mut self, answer: &Answer) -> bool {
        let challenge = text(answer, CHALLENGE_HEADER);
        self.prover
            .as_mut()
            .is_some_and(|prover| prover.challenged(challenge))
    }
}

fn text<'a>(answer: &'a Answer, header: &str) -> &'a str {
    let value = answer.headers.get(header);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Of an answer that is no success, what is for people.
fn told(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        error: String,
    }
    let text = serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).trim().to_owned(),
        |problem: Problem| problem.error,
    );
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

const PATIENCE: Duration = Duration::from_secs(3);
