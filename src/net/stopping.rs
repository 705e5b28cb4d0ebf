//! The word to stop, for many who have to look for it with each request: looking takes no lock.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Whoever says it, and hands it on.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    said: Arc<AtomicBool>,
    wake: CancellationToken,
}

/// Whoever listens: one task, which is woken when it is said.
#[derive(Debug)]
pub(super) struct Stopping {
    said: Arc<AtomicBool>,
    wake: CancellationToken,
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Stop {
    pub(super) fn say(&self) {
        self.said.store(true, SeqCst);
        self.wake.cancel();
    }

    /// Waits until it is said. For who does so once, not with each request.
    pub(super) async fn said(&self) {
        self.wake.cancelled().await;
    }

    pub(super) fn listener(&self) -> Stopping {
        Stopping {
            said: self.said.clone(),
            wake: self.wake.clone(),
            waiting: None,
        }
    }
}

impl Stopping {
    pub(super) fn is_said(&self) -> bool {
        self.said.load(SeqCst)
    }

    /// Ready once it is said. To be polled by one task only: it is registered once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            let mut waiting = Box::pin(self.wake.clone().cancelled_owned());
            // Registered before the flag is looked at, so that the word is not missed.
            let _ = waiting.as_mut().poll(cx);
            self.waiting = Some(waiting);
        }
        if self.is_said() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
