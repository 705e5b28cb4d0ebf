//! A stream that somebody publishes: whether a publisher is there, and how long one that has gone is waited for.
//! Who they are, and what they had to know to publish, is not known here.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What is known of a stream's publisher.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Somebody is on the air, until cut off.
    pub on_air: watch::Receiver<Option<CancellationToken>>,
    /// How long a programme waits for its publisher to come back. `None`: its segmenter waits, with something else on
    /// the air, and what ends that ends the programme.
    pub grace: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waited {
    /// Somebody is on the air, or need not be.
    OnAir,
    /// Nobody came within the grace.
    InVain,
}

impl Publication {
    /// Waits for a publisher: for the grace if a programme is under way, else for ever.
    pub(super) async fn wait(&self, under_way: bool) -> Waited {
        if !under_way {
            self.begun().await;
            return Waited::OnAir;
        }
        let Some(grace) = self.grace else {
            return Waited::OnAir;
        };
        match tokio::time::timeout(grace, self.begun()).await {
            Ok(()) => Waited::OnAir,
            Err(_) => Waited::InVain,
        }
    }

    /// Waits until somebody is on the air.
    pub(super) async fn begun(&self) {
        let there =
            |now: &Option<CancellationToken>| now.as_ref().is_some_and(|cut| !cut.is_cancelled());
        if self.on_air.clone().wait_for(there).await.is_err() {
            // The listeners have gone, so nobody will come.
            std::future::pending::<()>().await;
        }
    }

    /// Ends the connection of whoever is on the air.
    pub(super) fn cut_off(&self) {
        if let Some(cut) = &*self.on_air.borrow() {
            cut.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_programme_waits_for_the_grace_and_a_stream_without_one_for_ever() {
        let sender = watch::Sender::new(None);
        let publication = Publication {
            on_air: sender.subscribe(),
            grace: Some(Duration::ZERO),
        };
        assert_eq!(publication.wait(true).await, Waited::InVain);
        assert_eq!(publication.wait(false).now_or_never(), None);
        let bridged = Publication {
            grace: None,
            ..publication.clone()
        };
        assert_eq!(bridged.wait(true).await, Waited::OnAir);
        assert_eq!(bridged.wait(false).now_or_never(), None);
        let cut = CancellationToken::new();
        sender.send_replace(Some(cut.clone()));
        assert_eq!(publication.wait(true).await, Waited::OnAir);
        publication.cut_off();
        assert!(cut.is_cancelled());
        let waited = publication.wait(true).await;
        assert_eq!(
            waited,
            Waited::InVain,
            "one who is cut off is as good as gone"
        );
    }
}
