//! What operators ask: who watches now, how it was over a time, and whether it adds up.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Moment, Unkept,
    database::{Database, Row, Value},
    told::{Account, Answer, Figures, NowTold, Octets, Point, RungPoint, Series, Totals, Watching},
};

#[derive(Clone, Debug)]
pub(super) enum Question {
    Now,
    Series(Asked),
    Rungs(Asked),
    Totals(Asked),
}

/// Of which time, how finely, and of what.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// Unix time in seconds, or as `2026-11-29T20:00:00Z`; a day before `to` if it is not said.
    #[param(inline, nullable = false)]
    pub from: Option<Moment>,
    /// Now if it is not said.
    #[param(inline, nullable = false)]
    pub to: Option<Moment>,
    /// Seconds; a whole number of minutes, and of hours for what is longer ago than minutes are kept.
    #[param(nullable = false, minimum = 60, multiple_of = 60)]
    pub step: Option<i64>,
    #[param(inline)]
    pub by: By,
    #[param(nullable = false)]
    pub stream: Option<String>,
    #[param(nullable = false)]
    pub region: Option<String>,
    #[param(nullable = false)]
    pub node: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    #[default]
    All,
    Stream,
    Region,
    Node,
}

/// A time, cut into steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Steps {
    from: i64,
    to: i64,
    step: i64,
    /// Of the sums that are looked at: 60 or 3600.
    span: i64,
}

pub(super) async fn answer(
    database: &mut Database,
    question: &Question,
    now_ms: i64,
) -> anyhow::Result<Answer> {
    let now = now_ms / 1000;
    Ok(match question {
        Question::Now => Answer::Now(watching(database, now_ms).await?),
        Question::Series(asked) => Answer::Series(series(database, asked, now).await?),
        Question::Rungs(asked) => Answer::Rungs(rungs(database, asked, now).await?),
        Question::Totals(asked) => Answer::Totals(totals(database, asked, now).await?),
    })
}

async fn watching(database: &mut Database, now_ms: i64) -> anyhow::Result<NowTold> {
    let sql = "
        select p.stream, p.region, p.node, count(distinct v.session)
        from visits v join places p on p.id = v.place
        where v.ended is null and v.seen > $1 group by p.stream, p.region, p.node order by 1, 2, 3
    ";
    let rows = database
        .rows(sql, vec![Value::Int(now_ms - RECENT_MS)])
        .await?;
    let watching = rows.iter().map(|row| Watching {
        stream: text(row, 0),
        region: text(row, 1),
        node: text(row, 2),
        viewers: int(row, 3),
    });
    let watching: Vec<_> = watching.collect();
    Ok(NowTold {
        at: now_ms / 1000,
        viewers: watching.iter().map(|some| some.viewers).sum(),
        watching,
    })
}

async fn series(database: &mut Database, asked: &Asked, now: i64) -> anyhow::Result<Series> {
    let steps = Steps::of(asked, now)?;
    let by = asked.by.column();
    let sql = format!(
        "select (s.at / $1) * $1, {by}, {SUMS} from sums s join places p on p.id = s.place
        where {FILTER} group by 1, 2 order by 1, 2 limit {MOST}"
    );
    let rows = database.rows(&sql, asked.values(steps)).await?;
    let points = rows.iter().map(|row| {
        let (at, rest) = (int(row, 0), row.get(1..).unwrap_or_default());
        let figures = figures(rest, steps.lasted(at, now));
        Point { at, figures }
    });
    Ok(Series {
        from: steps.from,
        to: steps.to,
        step: steps.step,
        points: points.collect(),
        cut: rows.len() as i64 == MOST,
    })
}

async fn rungs(database: &mut Database, asked: &Asked, now: i64) -> anyhow::Result<Octets> {
    let steps = Steps::of(asked, now)?;
    let sql = format!(
        "select (s.at / $1) * $1, s.rung, cast(sum(s.octets) as bigint) from rungs s join places p on p.id = s.place
        where {FILTER} group by 1, 2 order by 1, 2 limit {MOST}"
    );
    let rows = database.rows(&sql, asked.values(steps)).await?;
    let points = rows.iter().map(|row| RungPoint {
        at: int(row, 0),
        rung: text(row, 1),
        octets: int(row, 2),
    });
    Ok(Octets {
        from: steps.from,
        to: steps.to,
        step: steps.step,
        points: points.collect(),
        cut: rows.len() as i64 == MOST,
    })
}

async fn totals(database: &mut Database, asked: &Asked, now: i64) -> anyhow::Result<Totals> {
    let steps = Steps::of(asked, now)?;
    let by = asked.by.column();
    // The step is of no use here; PostgreSQL wants to see what it is.
    let sql = format!(
        "select {by}, {SUMS}, max(s.at / $1) from sums s join places p on p.id = s.place
        where {FILTER} group by 1 order by 1 limit {MOST}"
    );
    let rows = database.rows(&sql, asked.values(steps)).await?;
    let lasted = (steps.to.min(now) - steps.from).max(1);
    Ok(Totals {
        from: steps.from,
        to: steps.to,
        each: rows.iter().map(|row| figures(row, lasted)).collect(),
        peak_viewers: peak(database, asked, steps).await?,
        account: account(database, asked, steps).await?,
    })
}

/// The most viewers on average over a minute; of one stream, or of all. Of a region or a node it is not kept.
async fn peak(database: &mut Database, asked: &Asked, steps: Steps) -> anyhow::Result<Option<f64>> {
    if asked.region.is_some() || asked.node.is_some() {
        return Ok(None);
    }
    let sql = "select max(watched) from peaks where stream = $1 and at >= $2 and at < $3";
    let stream = Value::text(asked.stream.clone().unwrap_or_default());
    let hour = super::reckoning::hour(steps.from);
    let values = vec![stream, Value::Int(hour), Value::Int(steps.to)];
    let rows = database.rows(sql, values).await?;
    let watched = rows.first().map_or(0, |row| int(row, 0));
    Ok(Some(rounded(watched as f64 / 60_000.0)))
}

/// Whether what viewers took adds up to what nodes have sent. Nodes say what they sent in all, so that this is of a node or of all.
async fn account(
    database: &mut Database,
    asked: &Asked,
    steps: Steps,
) -> anyhow::Result<Option<Account>> {
    if asked.stream.is_some() || asked.region.is_some() {
        return Ok(None);
    }
    let node = Value::text(asked.node.clone().unwrap_or_default());
    let times = [steps.span, steps.from, steps.to].map(Value::Int);
    let values: Row = times.into_iter().chain([node]).collect();
    let sent = "
        select cast(coalesce(sum(sent), 0) as bigint), cast(coalesce(sum(seatless), 0) as bigint) from sent
        where span = $1 and at >= $2 and at < $3 and ($4 = '' or node = $4)
    ";
    let taken = "
        select cast(coalesce(sum(s.octets), 0) as bigint) from sums s join places p on p.id = s.place
        where s.span = $1 and s.at >= $2 and s.at < $3 and ($4 = '' or p.node = $4)
    ";
    let sent = database.rows(sent, values.clone()).await?;
    let taken = database.rows(taken, values).await?;
    let first = |rows: &[Row], at| rows.first().map_or(0, |row| int(row, at));
    let (taken, seatless, sent) = (first(&taken, 0), first(&sent, 1), first(&sent, 0));
    Ok(Some(Account {
        sent,
        in_visits: taken,
        without_seat: seatless,
        difference: (sent != 0).then(|| (taken + seatless - sent) as f64 / sent as f64),
    }))
}

impl Asked {
    /// As the filter has them.
    fn values(&self, steps: Steps) -> Row {
        let numbers = [steps.step, steps.span, steps.from, steps.to].map(Value::Int);
        let names = [&self.stream, &self.region, &self.node];
        let names = names.map(|name| Value::text(name.clone().unwrap_or_default()));
        numbers.into_iter().chain(names).collect()
    }
}

impl By {
    fn column(self) -> &'static str {
        match self {
            Self::All => "cast('' as text)",
            Self::Stream => "p.stream",
            Self::Region => "p.region",
            Self::Node => "p.node",
        }
    }
}

impl Steps {
    fn of(asked: &Asked, now: i64) -> Result<Self, Unkept> {
        let (from, to) = Moment::span(asked.from, asked.to, now);
        if from >= to {
            return Err(Unkept::Wrong(format!(
                "from is {from}, which is not before to, {to}"
            )));
        }
        let usual = if to - from > 2 * 86_400 { 3600 } else { 60 };
        let step = asked.step.unwrap_or(usual);
        if step < 60 || step % 60 != 0 {
            let told =
                format!("step is {step}; it has to be a whole number of minutes, in seconds");
            return Err(Unkept::Wrong(told));
        }
        let span = if step % 3600 == 0 { 3600 } else { 60 };
        // What lies on an edge counts whole.
        let from = from.div_euclid(span) * span;
        Ok(Self {
            from,
            to,
            step,
            span,
        })
    }

    /// How long the step at `at` has lasted, and been asked for.
    fn lasted(&self, at: i64, now: i64) -> i64 {
        let until = at.saturating_add(self.step).min(now).min(self.to);
        (until - at.max(self.from)).max(1)
    }
}

/// Of a name and sums over so many seconds, in the order of [`SUMS`].
fn figures(row: &[Value], seconds: i64) -> Figures {
    let (watched, stalled) = (int(row, 3), int(row, 5));
    let stalled_share = match watched {
        0 => 0.0,
        watched => stalled as f64 / watched as f64,
    };
    Figures {
        of: text(row, 0),
        viewers: rounded(watched as f64 / (seconds as f64 * 1000.0)),
        joins: int(row, 1),
        visits: int(row, 2),
        watched_s: watched / 1000,
        stalls: int(row, 4),
        stalled_s: rounded(stalled as f64 / 1000.0),
        stalled_share: rounded(stalled_share),
        starved: int(row, 6),
        octets: int(row, 7),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn int(row: &[Value], at: usize) -> i64 {
    row.get(at).map_or(0, Value::int)
}

fn text(row: &[Value], at: usize) -> String {
    row.get(at).map_or("", Value::str).to_owned()
}

const SUMS: &str = "
cast(sum(s.joins) as bigint), cast(sum(s.visits) as bigint), cast(sum(s.watched) as bigint),
cast(sum(s.stalls) as bigint), cast(sum(s.stalled) as bigint), cast(sum(s.starved) as bigint), cast(sum(s.octets) as bigint)
";

const FILTER: &str = "
s.span = $2 and s.at >= $3 and s.at < $4
and ($5 = '' or p.stream = $5) and ($6 = '' or p.region = $6) and ($7 = '' or p.node = $7)
";

/// Points of an answer, at most; it says when it was cut.
const MOST: i64 = 50_000;

/// Nodes tell every ten seconds, and again after at most fifteen if that fails.
const RECENT_MS: i64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str, step: Option<i64>) -> Asked {
        Asked {
            from: Some(from.parse().unwrap()),
            to: Some(to.parse().unwrap()),
            step,
            ..Asked::default()
        }
    }

    #[test]
    fn a_step_is_of_minutes_where_it_has_to_be_and_of_hours_where_it_can() {
        let steps = |from, to, step| Steps::of(&asked(from, to, step), 0).unwrap();
        let day = steps("2026-11-29", "2026-11-30", None);
        assert_eq!((day.step, day.span, day.to - day.from), (60, 60, 86_400));
        let month = steps("2026-11-01", "2026-12-01", None);
        assert_eq!((month.step, month.span), (3600, 3600));
        assert_eq!(steps("7000", "10000", Some(7200)).span, 3600);
        assert_eq!(steps("7000", "10000", Some(7200)).from, 3600);
        assert_eq!(steps("7000", "10000", Some(300)).from, 6960);
    }

    #[test]
    fn what_cannot_be_asked_is_told_why() {
        for (asked, told) in [
            (asked("2026-11-30", "2026-11-29", None), "is not before to"),
            (asked("0", "100", Some(30)), "step is 30"),
        ] {
            let error = Steps::of(&asked, 0).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
