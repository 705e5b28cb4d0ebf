//! What is kept, out of it again: as lines of CSV or of JSON, a page at a time, so that no export has all of it in memory.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{
    Where,
    database::{Database, Row, Value},
};

/// What is wanted, and from where on.
#[derive(Clone, Debug)]
pub struct Export {
    pub what: What,
    pub form: Form,
    /// Unix time in seconds; `to` is not in it any more.
    pub from: i64,
    pub to: i64,
    /// Where the page before ended.
    after: Option<Row>,
}

/// Some lines, each with its end.
#[derive(Clone, Debug)]
pub struct Page {
    pub text: String,
    /// What is to be asked next; `None` at the end.
    pub next: Option<Export>,
}

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    PartialEq,
    Deserialize,
    Serialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A line for each visit, by when it was heard of last
    #[default]
    Visits,
    /// Sums by the minute, stream, region and node
    Minutes,
    /// The same by the hour
    Hours,
    /// Octets by rung, by the hour
    Rungs,
}

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    PartialEq,
    Deserialize,
    Serialize,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Comma-separated values, with a head
    #[default]
    Csv,
    /// An object of JSON on each line
    Jsonl,
}

impl Export {
    pub fn new(what: What, form: Form, from: i64, to: i64) -> Self {
        Self {
            what,
            form,
            from,
            to,
            after: None,
        }
    }

    /// Goes through all of it without a keeper, so that it can be done beside one.
    pub async fn run(
        self,
        place: &Where,
        mut write: impl FnMut(&str) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        if let Where::Sqlite(path) = place {
            anyhow::ensure!(path.exists(), "there is no {}", path.display());
        }
        let mut database = Database::open(place).await?;
        let mut next = Some(self);
        while let Some(export) = next {
            let page = page(&mut database, export).await?;
            write(&page.text).context("what was exported cannot be written")?;
            next = page.next;
        }
        Ok(())
    }
}

pub(super) async fn page(database: &mut Database, export: Export) -> anyhow::Result<Page> {
    let Kind {
        sql,
        head,
        keys,
        thousandfold,
    } = export.what.kind();
    let sql = format!("{sql} limit {LINES}");
    let factor = if thousandfold { 1000 } else { 1 };
    let mut values = vec![
        Value::Int(export.from.saturating_mul(factor)),
        Value::Int(export.to.saturating_mul(factor)),
    ];
    let first = export.after.is_none();
    // Before all that there is.
    let start = || {
        let mut start = vec![Value::Int(i64::MIN); keys];
        if export.what == What::Rungs {
            start[2] = Value::text("");
        }
        start
    };
    values.extend(export.after.clone().unwrap_or_else(start));
    let rows = database.rows(&sql, values).await?;
    let mut text = String::new();
    if first && export.form == Form::Csv {
        text.push_str(&head.join(","));
        text.push('\n');
    }
    for row in &rows {
        let columns = row.get(keys..).unwrap_or_default();
        line(&mut text, export.form, head, columns);
    }
    let after = rows
        .last()
        .and_then(|row| row.get(..keys))
        .map(<[Value]>::to_vec);
    let whole = rows.len() < LINES;
    let next = after.filter(|_| !whole).map(|after| Export {
        after: Some(after),
        ..export
    });
    Ok(Page { text, next })
}

struct Kind {
    /// Without its limit.
    sql: String,
    head: &'static [&'static str],
    /// Columns, before those of the head, that say where the next page begins.
    keys: usize,
    /// Times are in milliseconds.
    thousandfold: bool,
}

impl What {
    fn kind(self) -> Kind {
        match self {
            Self::Visits => Kind {
                sql: VISITS.to_owned(),
                head: &VISITS_HEAD,
                keys: 4,
                thousandfold: true,
            },
            Self::Minutes => Kind::sums(60),
            Self::Hours => Kind::sums(3600),
            Self::Rungs => Kind {
                sql: RUNGS.to_owned(),
                head: &RUNGS_HEAD,
                keys: 3,
                thousandfold: false,
            },
        }
    }
}

impl Kind {
    fn sums(span: i64) -> Self {
        Self {
            sql: sums(span),
            head: &SUMS_HEAD,
            keys: 2,
            thousandfold: false,
        }
    }
}

fn sums(span: i64) -> String {
    format!(
        "
select s.at, s.place, s.at, p.stream, p.region, p.node, s.joins, s.visits, s.watched, s.stalls, s.stalled, s.starved, s.octets
from sums s join places p on p.id = s.place
where s.span = {span} and s.at >= $1 and s.at < $2 and (s.at, s.place) > ($3, $4) order by s.at, s.place"
    )
}

fn line(text: &mut String, form: Form, head: &[&str], columns: &[Value]) {
    let named = head.iter().zip(columns);
    match form {
        Form::Csv => {
            let fields: Vec<_> = named.map(|(name, value)| csv(name, value)).collect();
            text.push_str(&fields.join(","));
        }
        Form::Jsonl => {
            let fields: Map<_, _> = named
                .map(|(name, value)| ((*name).to_owned(), json(name, value)))
                .collect();
            text.push_str(&Json::Object(fields).to_string());
        }
    }
    text.push('\n');
}

fn csv(name: &str, value: &Value) -> String {
    match value {
        Value::Int(value) if name == SESSION => session(*value),
        Value::Int(value) => value.to_string(),
        // A name that a spreadsheet would take for a formula stays a name.
        Value::Text(text) if text.starts_with(['=', '+', '-', '@']) => quoted(&format!("'{text}")),
        Value::Text(text) if text.contains([',', '"', '\n', '\r']) => quoted(text),
        Value::Text(text) => text.clone(),
        Value::Nothing => String::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn json(name: &str, value: &Value) -> Json {
    match value {
        Value::Int(value) if name == SESSION => session(*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Text(text) if name == "rungs" => serde_json::from_str(text).unwrap_or_default(),
        Value::Text(text) => text.as_str().into(),
        Value::Nothing => Json::Null,
    }
}

fn session(value: i64) -> String {
    format!("{value:016x}")
}

const SESSION: &str = "session";

const VISITS_HEAD: [&str; 13] = [
    SESSION,
    "stream",
    "region",
    "node",
    "began_ms",
    "seen_ms",
    "watched_ms",
    "stalls",
    "stalled_ms",
    "starved",
    "octets",
    "rungs",
    "ended",
];

const VISITS: &str = "
select v.seen, v.session, v.place, v.began,
v.session, p.stream, p.region, p.node, v.began, v.seen, v.watched, v.stalls, v.stalled, v.starved, v.octets, v.rungs, v.ended
from visits v join places p on p.id = v.place
where v.seen >= $1 and v.seen < $2 and (v.seen, v.session, v.place, v.began) > ($3, $4, $5, $6)
order by v.seen, v.session, v.place, v.began
";

const SUMS_HEAD: [&str; 11] = [
    "at",
    "stream",
    "region",
    "node",
    "joins",
    "visits",
    "watched_ms",
    "stalls",
    "stalled_ms",
    "starved",
    "octets",
];

const RUNGS_HEAD: [&str; 6] = ["at", "stream", "region", "node", "rung", "octets"];

const RUNGS: &str = "
select s.at, s.place, s.rung, s.at, p.stream, p.region, p.node, s.rung, s.octets
from rungs s join places p on p.id = s.place
where s.span = 3600 and s.at >= $1 and s.at < $2 and (s.at, s.place, s.rung) > ($3, $4, $5) order by s.at, s.place, s.rung
";

/// On a page.
const LINES: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pose_as_another_column_or_as_a_formula() {
        let columns = [
            Value::Int(-1),
            Value::text("a,b"),
            Value::text("=cmd()"),
            Value::text("say \"no\""),
            Value::Nothing,
        ];
        let head = [SESSION, "stream", "region", "node", "ended"];
        let mut text = String::new();
        line(&mut text, Form::Csv, &head, &columns);
        line(&mut text, Form::Jsonl, &head, &columns);
        let expected = concat!(
            "ffffffffffffffff,\"a,b\",\"'=cmd()\",\"say \"\"no\"\"\",\n",
            r#"{"ended":null,"node":"say \"no\"","region":"=cmd()","session":"ffffffffffffffff","stream":"a,b"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }
}
