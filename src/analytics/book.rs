//! Visits into the database: looked up, reckoned with what is known, written, all of a message or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Unkept,
    database::{Database, Row, Value, column},
    reckoning::{Minutes, Run, Standing, Sums, hour},
};
use crate::control::visits::{OfStream, Session, Visit, Visits};

#[derive(Debug, Default)]
pub(super) struct Book {
    /// Stream, region and node by number, as the database has them.
    places: HashMap<(String, String, String), i64>,
}

/// What is known of each session.
type Known = HashMap<i64, Vec<Standing>>;

impl Book {
    /// All of it is there for good once this returns. What is older than `days` was forgotten, and would count again.
    pub(super) async fn take(
        &mut self,
        database: &mut Database,
        visits: &Visits,
        days: u32,
        now_ms: i64,
    ) -> anyhow::Result<()> {
        check(visits)?;
        let at = column(visits.at_ms).min(now_ms.saturating_add(AHEAD));
        if at < now_ms - i64::from(days) * DAY_MS {
            tracing::debug!(
                node = visits.node,
                at,
                "visits of long ago, which are forgotten"
            );
            return Ok(());
        }
        database.begin().await?;
        let written = self.write(database, visits, at).await;
        let written = database.finish(written).await;
        if written.is_err() {
            // A number that was given in vain may be another's by now.
            self.places.clear();
        }
        written
    }

    async fn write(
        &mut self,
        database: &mut Database,
        visits: &Visits,
        at: i64,
    ) -> anyhow::Result<()> {
        let mut told = Vec::new();
        for (stream, of) in &visits.streams {
            for visit in &of.visits {
                let place = (stream.clone(), visit.region.clone(), visits.node.clone());
                let place = self.place(database, place).await?;
                told.push((session(visit.session), standing(visit, of, place, at)));
            }
        }
        let mut known = known(database, told.iter().map(|(session, _)| *session)).await?;
        let mut minutes = Minutes::default();
        let mut touched = BTreeSet::new();
        for (session, visit) in told {
            touched.insert((session, visit.place, visit.began));
            minutes.put(known.entry(session).or_default(), visit);
        }
        let rows = touched.iter().filter_map(|(session, place, began)| {
            let visits = known.get(session)?.iter();
            let mut visits = visits.filter(|visit| (visit.place, visit.began) == (*place, *began));
            Some(row(*session, visits.next()?))
        });
        database.each(PUT_VISIT, rows.collect()).await?;
        for (span, of) in [(60, &minutes), (3600, &minutes.hours())] {
            database.each(ADD_SUMS, sums_rows(span, of)).await?;
            database.each(ADD_RUNGS, rungs_rows(span, of)).await?;
        }
        let touched: BTreeSet<_> = minutes.sums.keys().map(|(at, _)| *at).collect();
        let peaks: Vec<Row> = touched
            .into_iter()
            .map(|at| vec![Value::Int(hour(at)), Value::Int(at)])
            .collect();
        database.each(PEAKS, peaks.clone()).await?;
        database.each(PEAKS_OF_ALL, peaks).await?;
        hear_run(database, visits, at).await
    }

    /// The number of a place, new if it was never heard of.
    async fn place(
        &mut self,
        database: &mut Database,
        place: (String, String, String),
    ) -> anyhow::Result<i64> {
        if let Some(id) = self.places.get(&place) {
            return Ok(*id);
        }
        let (stream, region, node) = &place;
        let named: Row = [stream, region, node].map(Value::text).to_vec();
        let mut found = database.rows(FIND_PLACE, named.clone()).await?;
        if found.is_empty() {
            database.each(NEW_PLACE, vec![named.clone()]).await?;
            found = database.rows(FIND_PLACE, named).await?;
        }
        let id = found
            .first()
            .and_then(|row| row.first())
            .map_or(0, Value::int);
        if self.places.len() >= PLACES {
            self.places.clear();
        }
        self.places.insert(place, id);
        Ok(id)
    }
}

async fn known(
    database: &mut Database,
    sessions: impl Iterator<Item = i64>,
) -> anyhow::Result<Known> {
    let sessions: Vec<_> = sessions.collect::<BTreeSet<_>>().into_iter().collect();
    let each = sessions.iter().map(|session| vec![Value::Int(*session)]);
    let found = database.rows_of_each(FIND_VISITS, each.collect()).await?;
    let visits = found.iter().map(|rows| rows.iter().map(read).collect());
    Ok(sessions.into_iter().zip(visits).collect())
}

async fn hear_run(database: &mut Database, visits: &Visits, at: i64) -> anyhow::Result<()> {
    let node = || Value::text(&visits.node);
    let instance = || Value::Int(column(visits.instance));
    let found = database.rows(FIND_RUN, vec![node(), instance()]).await?;
    let mut run = match found.first().map(Vec::as_slice) {
        Some([seen, sent, seatless]) => Run {
            seen: seen.int(),
            sent: sent.int(),
            seatless: seatless.int(),
        },
        _ => Run {
            seen: column(visits.instance).min(at),
            ..Run::default()
        },
    };
    let told = Run {
        seen: at,
        sent: column(visits.sent),
        seatless: column(visits.seatless),
    };
    let minutes = run.hear(told);
    let row = vec![
        node(),
        instance(),
        Value::Int(run.seen),
        Value::Int(run.sent),
        Value::Int(run.seatless),
    ];
    database.each(PUT_RUN, vec![row]).await?;
    let mut sums = BTreeMap::<(i64, i64), (i64, i64)>::new();
    for (at, (sent, seatless)) in minutes {
        for key in [(60, at), (3600, hour(at))] {
            let sum = sums.entry(key).or_default();
            *sum = (sum.0 + sent, sum.1 + seatless);
        }
    }
    let rows = sums.into_iter().map(|((span, at), (sent, seatless))| {
        let [span, at, sent, seatless] = [span, at, sent, seatless].map(Value::Int);
        vec![span, at, node(), sent, seatless]
    });
    database.each(ADD_SENT, rows.collect()).await?;
    Ok(())
}

/// What cannot be, before anything is written.
fn check(visits: &Visits) -> Result<(), Unkept> {
    let plain =
        |text: &str| !text.is_empty() && text.len() <= 64 && !text.contains(char::is_control);
    let rungs = visits.streams.values().flat_map(|of| &of.rungs);
    let regions = visits
        .streams
        .values()
        .flat_map(|of| &of.visits)
        .map(|visit| &visit.region);
    let names = visits
        .streams
        .keys()
        .chain(rungs)
        .chain(regions)
        .chain([&visits.node]);
    for name in names {
        if !plain(name) {
            let told = format!("{name:?} is no name: 1 to 64 octets, and no control characters");
            return Err(Unkept::Wrong(told));
        }
    }
    Ok(())
}

fn session(session: Session) -> i64 {
    i64::from_ne_bytes(session.0.to_ne_bytes())
}

fn standing(visit: &Visit, of: &OfStream, place: i64, at: i64) -> Standing {
    let mut rungs = BTreeMap::<String, i64>::new();
    for (index, octets) in visit.octets.iter().enumerate() {
        let name = of
            .rungs
            .get(index)
            .cloned()
            .unwrap_or_else(|| format!("rung {index}"));
        *rungs.entry(name).or_default() += column(*octets);
    }
    rungs.insert(NO_RUNG.to_owned(), column(visit.other));
    rungs.retain(|_, octets| *octets > 0);
    Standing {
        place,
        began: column(visit.began_ms),
        seen: at.max(column(visit.began_ms).min(at)),
        sums: Sums {
            watched: column(visit.watched_ms),
            stalls: visit.stalls.into(),
            stalled: column(visit.stalled_ms),
            starved: visit.starved.into(),
            octets: rungs
                .values()
                .fold(0, |sum, octets| sum.saturating_add(*octets)),
            ..Sums::default()
        },
        rungs,
        ended: visit.end.map(|end| end.name().to_owned()),
    }
}

fn read(row: &Row) -> Standing {
    let int = |at: usize| row.get(at).map_or(0, Value::int);
    let str = |at: usize| row.get(at).map_or("", Value::str);
    Standing {
        place: int(0),
        began: int(1),
        seen: int(2),
        sums: Sums::of([0, 0, int(3), int(4), int(5), int(6), int(7)]),
        rungs: serde_json::from_str(str(8)).unwrap_or_default(),
        ended: Some(str(9))
            .filter(|ended| !ended.is_empty())
            .map(str::to_owned),
    }
}

fn row(session: i64, visit: &Standing) -> Row {
    let [_, _, sums @ ..] = visit.sums.columns();
    let numbers = [session, visit.place, visit.began, visit.seen];
    let mut row: Row = numbers.into_iter().chain(sums).map(Value::Int).collect();
    // A map of text and numbers: nothing can fail.
    row.push(Value::text(
        serde_json::to_string(&visit.rungs).unwrap_or_default(),
    ));
    row.push(visit.ended.clone().map_or(Value::Nothing, Value::Text));
    row
}

fn sums_rows(span: i64, of: &Minutes) -> Vec<Row> {
    let rows = of.sums.iter().map(|((at, place), sums)| {
        let numbers = [span, *at, *place].into_iter().chain(sums.columns());
        numbers.map(Value::Int).collect()
    });
    rows.collect()
}

fn rungs_rows(span: i64, of: &Minutes) -> Vec<Row> {
    let rows = of.rungs.iter().map(|((at, place, rung), octets)| {
        let [span, at, place, octets] = [span, *at, *place, *octets].map(Value::Int);
        vec![span, at, place, Value::text(rung), octets]
    });
    rows.collect()
}

const FIND_PLACE: &str = "select id from places where stream = $1 and region = $2 and node = $3";

const NEW_PLACE: &str = "
insert into places (id, stream, region, node)
select coalesce(max(id), 0) + 1, cast($1 as text), cast($2 as text), cast($3 as text) from places
";

const FIND_VISITS: &str = "
select place, began, seen, watched, stalls, stalled, starved, octets, rungs, ended from visits where session = $1
";

const PUT_VISIT: &str = "
insert into visits (session, place, began, seen, watched, stalls, stalled, starved, octets, rungs, ended)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (session, place, began) do update set seen = excluded.seen, watched = excluded.watched,
stalls = excluded.stalls, stalled = excluded.stalled, starved = excluded.starved, octets = excluded.octets,
rungs = excluded.rungs, ended = excluded.ended
";

const ADD_SUMS: &str = "
insert into sums (span, at, place, joins, visits, watched, stalls, stalled, starved, octets)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (span, at, place) do update set joins = sums.joins + excluded.joins, visits = sums.visits + excluded.visits,
watched = sums.watched + excluded.watched, stalls = sums.stalls + excluded.stalls, stalled = sums.stalled + excluded.stalled,
starved = sums.starved + excluded.starved, octets = sums.octets + excluded.octets
";

const ADD_RUNGS: &str = "
insert into rungs (span, at, place, rung, octets) values ($1, $2, $3, $4, $5)
on conflict (span, at, place, rung) do update set octets = rungs.octets + excluded.octets
";

/// The most that was watched in one minute of an hour.
const PEAKS: &str = "
insert into peaks (at, stream, watched)
select cast($1 as bigint), p.stream, cast(sum(s.watched) as bigint) from sums s join places p on p.id = s.place
where s.span = 60 and s.at = $2 group by p.stream
on conflict (at, stream) do update set watched =
case when excluded.watched > peaks.watched then excluded.watched else peaks.watched end
";

const PEAKS_OF_ALL: &str = "
insert into peaks (at, stream, watched)
select cast($1 as bigint), '', cast(sum(s.watched) as bigint) from sums s
where s.span = 60 and s.at = $2 having count(*) > 0
on conflict (at, stream) do update set watched =
case when excluded.watched > peaks.watched then excluded.watched else peaks.watched end
";

const FIND_RUN: &str = "select seen, sent, seatless from runs where node = $1 and instance = $2";

const PUT_RUN: &str = "
insert into runs (node, instance, seen, sent, seatless) values ($1, $2, $3, $4, $5)
on conflict (node, instance) do update set seen = excluded.seen, sent = excluded.sent, seatless = excluded.seatless
";

const ADD_SENT: &str = "
insert into sent (span, at, node, sent, seatless) values ($1, $2, $3, $4, $5)
on conflict (span, at, node) do update set sent = sent.sent + excluded.sent, seatless = sent.seatless + excluded.seatless
";

/// What is in no rung.
const NO_RUNG: &str = "sound alone";

pub(super) const DAY_MS: i64 = 86_400_000;

/// By how much a node's clock may be ahead of ours before its time is not believed.
const AHEAD: i64 = 60_000;

/// Places whose numbers are remembered.
const PLACES: usize = 10_000;
