//! Objects that are brought when they are asked for, told without a network.

use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::*;

/// Brings "one" and "two" once it may, each time; breaks off in between if it is told to.
#[derive(Clone, Debug)]
struct Slow {
    asked: Arc<AtomicUsize>,
    may: Arc<Semaphore>,
    breaks_off: bool,
}

impl Bringer for Slow {
    fn bring(&self, _: Wanted, to: Filling) -> Bringing {
        let this = self.clone();
        Box::pin(async move {
            this.asked.fetch_add(1, Relaxed);
            to.expects(6);
            to.push(Bytes::from_static(b"one"));
            this.may.acquire().await.expect("it is open").forget();
            if this.breaks_off {
                return Err("the connection was reset".to_owned());
            }
            to.push(Bytes::from_static(b"two"));
            Ok(())
        })
    }
}

fn slow(breaks_off: bool) -> (Arc<Supply>, Slow) {
    let slow = Slow {
        asked: Arc::default(),
        may: Arc::new(Semaphore::new(0)),
        breaks_off,
    };
    let supply = Arc::new(Supply::default());
    supply.by(slow.clone());
    (supply, slow)
}

fn wanted(number: u64) -> Wanted {
    Wanted {
        number,
        epoch: Epoch(1),
        rung: 1,
        part: None,
    }
}

#[tokio::test]
async fn five_hundred_who_ask_at_once_are_one_fetch() {
    let (supply, slow) = slow(false);
    let readers: Vec<_> = (0..500)
        .map(|_| supply.bring(wanted(1)).expect("brought").whole())
        .collect();
    slow.may.add_permits(1);
    for reader in readers {
        assert_eq!(reader.await.expect("all of it"), "onetwo");
    }
    assert_eq!(slow.asked.load(Relaxed), 1);
    // And who comes later finds it.
    let late = supply.bring(wanted(1)).expect("here");
    assert_eq!(late.at_hand().expect("all of it").concat(), b"onetwo");
    assert_eq!(slow.asked.load(Relaxed), 1);
}

#[tokio::test]
async fn what_has_come_is_read_before_the_rest_is_there() {
    let (supply, slow) = slow(false);
    let mut reader = supply.bring(wanted(1)).expect("brought");
    assert_eq!(reader.length().await, Ok(6));
    assert_eq!(reader.more().await.expect("a half").concat(), b"one");
    assert!(reader.at_hand().is_none());
    slow.may.add_permits(1);
    assert_eq!(
        reader.more().await.expect("the other half").concat(),
        b"two"
    );
    assert!(reader.more().await.expect("the end").is_empty());
}

#[tokio::test]
async fn it_comes_even_if_who_asked_first_has_left() {
    let (supply, slow) = slow(false);
    let mut first = supply.bring(wanted(1)).expect("brought");
    first.length().await.expect("on its way");
    drop(first);
    let second = supply.bring(wanted(1)).expect("on its way");
    slow.may.add_permits(1);
    assert_eq!(second.whole().await.expect("all of it"), "onetwo");
    assert_eq!(slow.asked.load(Relaxed), 1);
}

#[tokio::test]
async fn what_breaks_off_is_an_error_and_is_tried_again_by_the_next() {
    let (supply, slow) = slow(true);
    for times in 1..=2 {
        slow.may.add_permits(1);
        let whole = supply.bring(wanted(1)).expect("tried").whole().await;
        let failed = NotBrought::Failed("the connection was reset".into());
        assert_eq!(whole, Err(failed));
        assert_eq!(slow.asked.load(Relaxed), times);
    }
    // Whoever read some of it before is told as well, and not that it was all.
    let mut reader = supply.bring(wanted(2)).expect("tried");
    assert_eq!(reader.more().await.expect("a half").concat(), b"one");
    slow.may.add_permits(1);
    assert!(reader.more().await.is_err());
}

#[tokio::test]
async fn more_than_enough_at_once_is_refused_and_what_is_old_is_forgotten() {
    let (supply, slow) = slow(false);
    let readers: Vec<_> = (0..MOST_AT_ONCE as u64)
        .map(|number| supply.bring(wanted(number)).expect("brought"))
        .collect();
    assert_eq!(supply.bring(wanted(999)).err(), Some(NotBrought::Busy));
    slow.may.add_permits(MOST_AT_ONCE);
    for reader in readers {
        reader.whole().await.expect("all of it");
    }
    supply.forget_before(10);
    assert_eq!(supply.fills().by.len(), MOST_AT_ONCE - 10);
    assert_eq!(supply.fills().octets, 6 * (MOST_AT_ONCE as u64 - 10));
    supply.bring(wanted(999)).expect("there is room again");
    let nobody = Arc::new(Supply::default());
    assert_eq!(nobody.bring(wanted(1)).err(), Some(NotBrought::Nowhere));
}

#[test]
fn which_rungs_are_watched_is_known_rung_by_rung() {
    let supply = Supply::default();
    supply.watched(2);
    supply.watched(999);
    assert_eq!(supply.unwatched(1), None);
    assert!(supply.unwatched(2).is_some_and(|ago| ago < PATIENCE));
    assert_eq!(supply.unwatched(999), None);
}
