//! Evenings on the air, told in virtual time: each input gives a picture every 40 ms while it is on.

use super::*;

/// A run under some rules, at 25 pictures a second.
struct Evening {
    director: Director,
    now: u64,
    main: bool,
    backup: bool,
    /// What happened, and when, in milliseconds.
    seen: Vec<(u64, Verdict)>,
}

impl Evening {
    fn under(backup: bool, slate: bool) -> Self {
        let rules = Rules {
            backup,
            slate,
            stall: Duration::from_secs(3),
            grace: Some(Duration::from_secs(10)),
        };
        Self {
            director: Director::new(rules, OnAir::Main),
            now: 0,
            main: true,
            backup,
            seen: Vec::new(),
        }
    }

    /// `seconds` go by, whoever is wanted on the air gets it at once.
    fn pass(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds * 25 {
            let now = Duration::from_millis(self.now);
            let time = MediaTime::from_ticks(self.now as i64, 1000);
            if self.main {
                self.director.picture(OnAir::Main, time, now);
            }
            if self.backup {
                self.director.picture(OnAir::Backup, time, now);
            }
            let verdict = self.director.decide(now);
            if let Verdict::Take(to) | Verdict::Return(to) = verdict {
                self.director.took(to, now);
            }
            if !matches!(verdict, Verdict::Stay | Verdict::Freeze) {
                self.seen.push((self.now, verdict));
            }
            self.now += 40;
        }
        self
    }

    fn silent(&mut self) -> &mut Self {
        self.main = false;
        self
    }

    fn ends(&mut self) -> &mut Self {
        self.main = false;
        let now = Duration::from_millis(self.now);
        self.director.ended(OnAir::Main, now);
        self
    }

    fn fails(&mut self) -> &mut Self {
        self.main = false;
        self.director.failed(OnAir::Main);
        self
    }

    fn speaks(&mut self) -> &mut Self {
        self.main = true;
        self
    }

    fn only(&self) -> Vec<Verdict> {
        self.seen.iter().map(|(_, verdict)| *verdict).collect()
    }
}

const TO_SLATE: Verdict = Verdict::Take(OnAir::Slate);
const TO_BACKUP: Verdict = Verdict::Take(OnAir::Backup);
const BACK: Verdict = Verdict::Return(OnAir::Main);

#[test]
fn a_quiet_evening_is_all_main() {
    let mut evening = Evening::under(true, true);
    assert_eq!(evening.pass(600).only(), []);
}

#[test]
fn a_stall_brings_the_slate_and_steady_pictures_end_it() {
    let mut evening = Evening::under(false, true);
    evening.pass(10).silent().pass(30).speaks().pass(10);
    assert_eq!(evening.only(), [TO_SLATE, BACK]);
    let [(left, _), (back, _)] = evening.seen[..] else {
        panic!("{:?}", evening.seen)
    };
    assert!((12_900..=13_040).contains(&left), "{left}");
    assert!((42_000..=42_040).contains(&back), "{back}");
}

#[test]
fn the_last_picture_stands_before_anybody_takes_over() {
    let mut evening = Evening::under(false, true);
    evening.pass(10).silent();
    let verdict = |evening: &Evening| evening.director.decide(Duration::from_millis(evening.now));
    assert_eq!(verdict(&evening), Verdict::Stay);
    evening.pass(2);
    assert_eq!(verdict(&evening), Verdict::Freeze);
    evening.speaks().pass(1);
    assert_eq!(evening.only(), []);
}

#[test]
fn a_backup_that_runs_takes_over_at_once_when_the_main_input_fails_and_after_a_while_when_it_stalls()
 {
    let mut evening = Evening::under(true, true);
    evening.pass(10).fails().pass(20).speaks().pass(70);
    evening.silent().pass(10);
    let [(first, TO_BACKUP), (_, BACK), (second, TO_BACKUP)] = evening.seen[..] else {
        panic!("{:?}", evening.seen)
    };
    assert_eq!(first, 10_000);
    assert!((102_900..=103_040).contains(&second), "{second}");
}

#[test]
fn when_the_backup_goes_too_the_slate_is_left() {
    let mut evening = Evening::under(true, true);
    evening.pass(10).fails().pass(5);
    evening.backup = false;
    evening.pass(20);
    assert_eq!(evening.only(), [TO_BACKUP, TO_SLATE]);
    evening.backup = true;
    evening.pass(5).speaks().pass(5);
    assert_eq!(evening.only()[2..], [Verdict::Return(OnAir::Backup), BACK]);
}

#[test]
fn an_input_that_has_ended_is_waited_for_as_long_as_grace_and_one_that_failed_for_ever() {
    let mut evening = Evening::under(false, true);
    evening.pass(10).fails().pass(3600);
    assert_eq!(evening.only(), [TO_SLATE]);
    evening.speaks().pass(10).ends().pass(9);
    assert_eq!(evening.only(), [TO_SLATE, BACK, TO_SLATE]);
    evening.pass(2);
    assert_eq!(evening.only()[3], Verdict::Over);
}

#[test]
fn a_programme_does_not_end_while_its_backup_runs() {
    let mut evening = Evening::under(true, true);
    evening.pass(10).ends().pass(60);
    assert_eq!(evening.only(), [TO_BACKUP]);
    evening.backup = false;
    evening.pass(2);
    assert_eq!(evening.only()[1], Verdict::Over);
}

#[test]
fn an_input_that_flaps_is_trusted_later_each_time() {
    let mut evening = Evening::under(false, true);
    evening.pass(10);
    for _ in 0..6 {
        evening.silent().pass(5).speaks().pass(45);
    }
    let returns = |evening: &Evening| {
        let mut gone = 0;
        let mut waits = Vec::new();
        for (at, verdict) in &evening.seen {
            match verdict {
                Verdict::Take(_) => gone = *at,
                Verdict::Return(_) => waits.push((at - gone) / 1000),
                _ => {}
            }
        }
        waits
    };
    assert_eq!(returns(&evening), [4, 6, 10, 18, 34]);
    // A good hour, and all is forgiven.
    evening.pass(3600).silent().pass(5).speaks().pass(10);
    assert_eq!(returns(&evening).last(), Some(&4));
}

#[test]
fn without_a_slate_the_last_picture_stands() {
    let mut evening = Evening::under(true, false);
    evening.backup = false;
    evening.pass(10).fails().pass(60);
    assert_eq!(evening.only(), []);
    let now = Duration::from_millis(evening.now);
    assert_eq!(evening.director.decide(now), Verdict::Freeze);
}
