//! What is old goes: visits and minutes first, hours later; and visits that nobody tells of any more are given up.

use super::{
    Retention,
    book::DAY_MS,
    database::{Database, Value},
};

/// Forgets what is old, some at a time, and gives up on visits that nobody tells of any more.
pub(super) async fn tidy(
    database: &mut Database,
    retention: Retention,
    now_ms: i64,
) -> anyhow::Result<()> {
    let lost = vec![Value::Int(now_ms - LOST_MS)];
    database.each(LOSE, vec![lost]).await?;
    let cut = |days: u32| now_ms - i64::from(days) * DAY_MS;
    let (visits, hours) = (
        cut(retention.days),
        cut(retention.hours_days.max(retention.days)),
    );
    let seconds = |cut_ms: i64| Value::Int(cut_ms / 1000);
    let mut gone = 0;
    for (sql, values) in [
        (FORGET_VISITS, vec![Value::Int(visits)]),
        (FORGET_SUMS, vec![Value::Int(60), seconds(visits)]),
        (FORGET_RUNGS, vec![Value::Int(60), seconds(visits)]),
        (FORGET_SENT, vec![Value::Int(60), seconds(visits)]),
        (FORGET_SUMS, vec![Value::Int(3600), seconds(hours)]),
        (FORGET_RUNGS, vec![Value::Int(3600), seconds(hours)]),
        (FORGET_SENT, vec![Value::Int(3600), seconds(hours)]),
        (FORGET_PEAKS, vec![seconds(hours)]),
        (FORGET_RUNS, vec![Value::Int(visits)]),
    ] {
        loop {
            let some = database.each(sql, vec![values.clone()]).await?;
            gone += some;
            if some == 0 {
                break;
            }
            // What nodes tell waits meanwhile, but not for long.
            if gone >= AT_ONCE {
                return Ok(());
            }
        }
    }
    Ok(())
}

const LOSE: &str = "update visits set ended = 'lost' where ended is null and seen < $1";

const FORGET_VISITS: &str = "
delete from visits where (session, place, began) in (select session, place, began from visits where seen < $1 limit 20000)
";

const FORGET_SUMS: &str = "
delete from sums where (span, at, place) in (select span, at, place from sums where span = $1 and at < $2 limit 20000)
";

const FORGET_RUNGS: &str = "
delete from rungs where (span, at, place, rung) in
(select span, at, place, rung from rungs where span = $1 and at < $2 limit 20000)
";

const FORGET_SENT: &str = "
delete from sent where (span, at, node) in (select span, at, node from sent where span = $1 and at < $2 limit 20000)
";

const FORGET_PEAKS: &str = "delete from peaks where at < $1";

const FORGET_RUNS: &str = "delete from runs where seen < $1";

/// A visit that was not told of for so long is of a node that was killed, or cut off.
const LOST_MS: i64 = 15 * 60 * 1000;

/// Rows that are forgotten in one go; the rest goes next time.
const AT_ONCE: u64 = 200_000;
