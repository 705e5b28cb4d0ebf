//! Calls of the API: each within a time, again after what passes, until a deadline. The one place
//! where they are tried again.

use std::time::Duration;

use kube::Error;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// For one answer.
    pub(super) each: Duration,
}

/// No answer came in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API did not answer within {0:?}")]
struct Unanswered(Duration);

impl Calls {
    /// What `call` comes to, tried again while what is wrong may pass.
    pub(super) async fn until<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn() -> F,
    ) -> anyhow::Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        self.again(deadline, call, passes).await
    }

    /// The same, but that a conflict is an answer: a precondition did not hold.
    pub(super) async fn unless_conflict<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn() -> F,
    ) -> anyhow::Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        self.again(deadline, call, |error| {
            passes(error) && code(error) != Some(409)
        })
        .await
    }

    async fn again<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn() -> F,
        passes: impl Fn(&Error) -> bool,
    ) -> anyhow::Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let error =
                match tokio::time::timeout_at(deadline.min(Instant::now() + self.each), call())
                    .await
                {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) if !passes(&error) => return Err(error.into()),
                    Ok(Err(error)) => error.into(),
                    Err(_) => Unanswered(self.each).into(),
                };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!("a call of the API is made again in {pause:?}: {error:#}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The status with which the API refused.
pub(super) fn status(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Error>().and_then(code)
}

/// Nothing is known to be wrong but that the cluster cannot be asked now.
pub(super) fn is_away(error: &anyhow::Error) -> bool {
    error.is::<Unanswered>() || error.downcast_ref::<Error>().is_some_and(passes)
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same call may be answered otherwise soon. What is forbidden, unknown or wrong stays so.
fn passes(error: &Error) -> bool {
    match error {
        Error::Api(status) => matches!(status.code, 409 | 410 | 429 | 500..=504),
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) | Error::Auth(_) => true,
        _ => false,
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_is_forbidden_or_wrong_is_not_tried_again() {
        for (code, again) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (409, true),
            (410, true),
            (422, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let error = Error::Api(Box::new(Status {
                code,
                ..Status::default()
            }));
            assert_eq!(passes(&error), again, "{code}");
        }
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_until_the_deadline() {
        let calls = Calls {
            each: Duration::from_millis(50),
        };
        let tried = std::cell::Cell::new(0);
        let busy = || {
            Error::Api(Box::new(Status {
                code: 503,
                ..Status::default()
            }))
        };
        let call = || {
            tried.set(tried.get() + 1);
            let answer = if tried.get() < 3 {
                Err(busy())
            } else {
                Ok(tried.get())
            };
            async { answer }
        };
        let soon = || Instant::now() + Duration::from_millis(150);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(calls.until(later, call).await.unwrap(), 3);
        let never = || async { Err::<(), _>(busy()) };
        let error = calls.until(soon(), never).await.unwrap_err();
        assert_eq!(status(&error), Some(503));
        let silent = std::future::pending::<kube::Result<()>>;
        let error = calls.until(soon(), silent).await.unwrap_err();
        assert!(is_away(&error), "{error}");
        assert_eq!(error.to_string(), "the API did not answer within 50ms");
    }
}
