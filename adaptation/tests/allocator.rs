//! What holds for every crowd that shares a node's budget.

use adaptation::{Allocation, Allocator, Class, Demand};
use playlists::Bitrate;
use proptest::prelude::*;

const LADDER: [u64; 4] = [350, 700, 1300, 2200];

/// `count` viewers of the usual ladder with fast paths of their own.
fn crowd(count: u64) -> Class {
    let viewers = (0..count).map(|key| Demand { key, cap: 3 }).collect();
    Class {
        rates: LADDER.map(Bitrate::from_kbps).to_vec(),
        worth: Vec::new(),
        weight: 1.0,
        viewers,
    }
}

fn share(kbps: u64, classes: &[Class], turn: u64) -> Allocation {
    Allocator::new(Some(Bitrate::from_kbps(kbps))).allocate(classes, turn)
}

/// Everybody's rung: the lower of ceiling and own cap.
fn rungs(allocation: &Allocation, classes: &[Class]) -> Vec<Vec<usize>> {
    let rung = |index: usize, class: &Class, viewer: &Demand| {
        allocation
            .ceiling(index, viewer.key)
            .min(viewer.cap)
            .min(class.rates.len() - 1)
    };
    let each = |(index, class): (usize, &Class)| {
        class
            .viewers
            .iter()
            .map(|viewer| rung(index, class, viewer))
            .collect()
    };
    classes.iter().enumerate().map(each).collect()
}

fn total(allocation: &Allocation, classes: &[Class]) -> Bitrate {
    let rungs = rungs(allocation, classes);
    classes
        .iter()
        .zip(&rungs)
        .flat_map(|(class, rungs)| rungs.iter().map(|rung| class.rates[*rung]))
        .sum()
}

#[test]
fn without_a_budget_nobody_is_held_down() {
    let classes = [crowd(3)];
    let allocation = Allocator::new(None).allocate(&classes, 0);
    assert_eq!((allocation.price, allocation.ceiling(0, 1)), (0.0, 3));
    assert_eq!(allocation.granted, Bitrate::from_kbps(6600));
}

#[test]
fn a_handful_of_viewers_keeps_the_budget_too() {
    for count in 1..=10 {
        let classes = [crowd(count)];
        for kbps in (350 * count + 100..2300 * count).step_by(37) {
            for turn in 0..8 {
                let allocation = share(kbps, &classes, turn);
                let sum = total(&allocation, &classes);
                assert_eq!(sum, allocation.granted);
                let budget = Bitrate::from_kbps(kbps).scale(0.97);
                assert!(
                    sum <= budget || allocation.overload,
                    "{count} viewers take {sum} of {budget}"
                );
                // What is left over would not have been enough for one more step.
                assert!(sum + Bitrate::from_kbps(900) > budget || allocation.price == 0.0);
            }
        }
    }
}

#[test]
fn all_take_turns_at_what_not_all_can_have() {
    for (count, granted) in [(2, 1), (3, 1), (5, 2), (40, 7)] {
        let classes = [crowd(count)];
        let kbps = ((1300 * (count - granted) + 2200 * granted) as f64 / 0.97) as u64 + 1;
        let turns = 400;
        let mut had = vec![0_u32; count as usize];
        for turn in 1_000_000..1_000_000 + turns {
            let rungs = rungs(&share(kbps, &classes, turn), &classes);
            assert_eq!(
                rungs[0].iter().filter(|rung| **rung == 3).count() as u64,
                granted
            );
            had.iter_mut()
                .zip(&rungs[0])
                .for_each(|(had, rung)| *had += u32::from(*rung == 3));
        }
        let fair = (turns * granted / count) as f64;
        assert!(
            had.iter()
                .all(|had| (f64::from(*had) - fair).abs() <= 0.1 * fair + 2.0),
            "{fair}: {had:?}"
        );
    }
}

#[test]
fn a_turn_changes_few_and_a_tick_nobody() {
    let classes = [crowd(1000)];
    let mut allocator = Allocator::new(Some(Bitrate::from_kbps(1_800_000)));
    let first = rungs(&allocator.allocate(&classes, 7), &classes);
    let again = rungs(&allocator.allocate(&classes, 7), &classes);
    assert_eq!(first, again);
    let next = rungs(&allocator.allocate(&classes, 8), &classes);
    let moved = first[0]
        .iter()
        .zip(&next[0])
        .filter(|(before, after)| before != after)
        .count();
    assert!((1..=300).contains(&moved), "{moved} of 1000 changed");
}

#[test]
fn measured_rates_that_tremble_move_nobody() {
    for count in [2, 5, 50] {
        let mut allocator = Allocator::new(Some(Bitrate::from_kbps(1800 * count)));
        let mut seen = Vec::new();
        for tick in 0..120_u64 {
            let mut class = crowd(count);
            let tremble = 1.0 + 0.008 * (tick as f64 * 2.4).sin();
            class
                .rates
                .iter_mut()
                .for_each(|rate| *rate = rate.scale(tremble));
            let classes = [class];
            seen.push(rungs(&allocator.allocate(&classes, 0), &classes));
        }
        seen.dedup();
        let changes: usize = seen
            .windows(2)
            .map(|two| {
                two[0][0]
                    .iter()
                    .zip(&two[1][0])
                    .filter(|(a, b)| a != b)
                    .count()
            })
            .sum();
        assert!(
            changes as u64 <= 2 + count / 50,
            "{count} viewers: {changes} changes"
        );
    }
}

#[test]
fn two_streams_alike_share_alike() {
    let mut second = crowd(100);
    second
        .rates
        .iter_mut()
        .for_each(|rate| *rate = rate.scale(1.01));
    let classes = [crowd(100), second];
    let rungs = rungs(&share(350_000, &classes, 3), &classes);
    let [first, second] = [0, 1].map(|class| rungs[class].iter().sum::<usize>().abs_diff(0));
    assert!(
        first.abs_diff(second) <= 2,
        "{first} against {second} rungs"
    );
}

#[test]
fn the_heavier_class_goes_first() {
    let classes = [
        crowd(50),
        Class {
            weight: 4.0,
            ..crowd(50)
        },
    ];
    let rungs = rungs(&share(150_000, &classes, 0), &classes);
    assert!(rungs[1].iter().min() > rungs[0].iter().max(), "{rungs:?}");
}

#[test]
fn what_brings_little_is_granted_last_whatever_its_rate() {
    // The first looks as good with its second rung as with its dearest.
    let flat = Class {
        worth: vec![0.0, 1.7, 1.75, 1.8],
        ..crowd(50)
    };
    let classes = [flat, crowd(50)];
    let rungs = rungs(&share(120_000, &classes, 0), &classes);
    assert_eq!(rungs[0], [1; 50]);
    assert!(rungs[1].iter().all(|rung| *rung >= 2), "{rungs:?}");
}

#[test]
fn a_step_that_is_worth_more_than_the_one_before_goes_with_it() {
    // Nobody is left at the rung that brings nothing but cost.
    let classes = [Class {
        worth: vec![0.0, 0.0, 2.0, 2.1],
        ..crowd(20)
    }];
    let rungs = rungs(&share(14_000, &classes, 0), &classes);
    let with = |wanted: usize| rungs[0].iter().filter(|rung| **rung == wanted).count();
    assert!(with(0) > 0 && with(2) > 0 && with(1) == 0, "{rungs:?}");
}

#[test]
fn overload_is_said_and_leaves_the_cheapest_rung() {
    let classes = [crowd(10)];
    let allocation = share(3000, &classes, 0);
    assert!(allocation.overload && allocation.price > 0.0);
    assert_eq!(rungs(&allocation, &classes)[0], [0; 10]);
    assert!(!share(4000, &classes, 0).overload);
}

#[test]
fn a_class_that_was_not_there_is_not_held_down() {
    assert_eq!(share(1000, &[crowd(10)], 0).ceiling(9, 1), usize::MAX);
    assert_eq!(Allocation::default().ceiling(0, 1), usize::MAX);
}

fn any_class() -> impl Strategy<Value = Class> {
    let rates = prop::collection::vec(prop_oneof![Just(0), 100..8_000_u64], 1..7);
    let viewers = prop::collection::vec((any::<u64>(), 0..8_usize), 0..150);
    (rates, prop_oneof![Just(1.0), 0.1..10.0_f64], viewers).prop_map(
        |(mut rates, weight, viewers)| {
            rates.sort_unstable();
            let rates = rates.into_iter().map(Bitrate::from_kbps).collect();
            let viewers = viewers
                .into_iter()
                .map(|(key, cap)| Demand { key, cap })
                .collect();
            Class {
                rates,
                worth: Vec::new(),
                weight,
                viewers,
            }
        },
    )
}

fn any_classes() -> impl Strategy<Value = Vec<Class>> {
    prop::collection::vec(any_class(), 1..5)
}

proptest! {
    #[test]
    fn the_budget_is_kept_unless_even_the_cheapest_rungs_exceed_it(
        classes in any_classes(), kbps in 1..500_000_u64, turn: u64,
    ) {
        let allocation = share(kbps, &classes, turn);
        let sum = total(&allocation, &classes);
        prop_assert!(sum <= allocation.granted);
        prop_assert!(allocation.granted <= allocation.demand);
        if allocation.overload {
            let rungs = rungs(&allocation, &classes);
            let cheapest = |class: &Class, rung: usize| class.rates[rung] <= class.rates[0];
            let all = rungs.iter().zip(&classes).all(|(rungs, class)| rungs.iter().all(|rung| cheapest(class, *rung)));
            prop_assert!(all, "{:?}", rungs);
        } else {
            prop_assert!(allocation.granted <= Bitrate::from_kbps(kbps).scale(0.97));
            prop_assert_eq!(allocation.price == 0.0, allocation.granted == allocation.demand);
        }
        prop_assert!(allocation.price.is_finite() && (0.0..=1.0).contains(&allocation.fraction));
    }

    #[test]
    fn a_larger_budget_takes_nothing_from_anybody(
        classes in any_classes(), kbps in 1..300_000_u64, more in 1..50_000_u64, turn: u64,
    ) {
        let (small, large) = (share(kbps, &classes, turn), share(kbps + more, &classes, turn));
        prop_assert!(small.price >= large.price);
        for (before, after) in rungs(&small, &classes).iter().flatten().zip(rungs(&large, &classes).iter().flatten()) {
            prop_assert!(before <= after);
        }
    }

    #[test]
    fn what_is_over_is_less_than_anybodys_next_steps(
        count in 1..300_u64, kbps in 1000..600_000_u64, turn: u64,
    ) {
        let classes = [crowd(count)];
        let allocation = share(kbps, &classes, turn);
        if allocation.price > 0.0 && !allocation.overload {
            let over = Bitrate::from_kbps(kbps).scale(0.97).bps() - allocation.granted.bps();
            prop_assert!(over < 900_000, "{} bit/s over", over);
        }
    }

    #[test]
    fn within_a_turn_too_the_budget_is_kept(
        ticks in prop::collection::vec((any_classes(), 1..300_000_u64, 0..2_u64), 2..6),
    ) {
        let mut allocator = Allocator::new(None);
        for (classes, kbps, turn) in ticks {
            allocator.budget = Some(Bitrate::from_kbps(kbps));
            let allocation = allocator.allocate(&classes, turn);
            prop_assert!(total(&allocation, &classes) <= allocation.granted);
            prop_assert!(allocation.overload || allocation.granted <= Bitrate::from_kbps(kbps).scale(0.97));
        }
    }
}
