//! A connection to either database, as the rest sees it: rows in, rows out, one transaction at a time. Statements are those that
//! both understand, with `$1`, `$2`, ... for what is put in.

use super::{Where, postgres::Postgres, sqlite::Sqlite};

#[derive(Debug)]
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Nothing,
}

pub(super) type Row = Vec<Value>;

impl Database {
    pub(super) async fn open(place: &Where) -> anyhow::Result<Self> {
        Ok(match place {
            Where::Sqlite(path) => Self::Sqlite(Sqlite::open(path.clone()).await?),
            Where::Postgres(address) => Self::Postgres(Box::new(Postgres::open(address).await?)),
        })
    }

    /// Several statements that take nothing.
    pub(super) async fn script(&mut self, sql: &str) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.script(sql).await,
            Self::Postgres(postgres) => postgres.script(sql).await,
        }
    }

    pub(super) async fn rows(&mut self, sql: &str, values: Row) -> anyhow::Result<Vec<Row>> {
        let all = self.rows_of_each(sql, vec![values]).await?;
        Ok(all.into_iter().flatten().collect())
    }

    /// What a statement finds for each of these.
    pub(super) async fn rows_of_each(
        &mut self,
        sql: &str,
        each: Vec<Row>,
    ) -> anyhow::Result<Vec<Vec<Row>>> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows_of_each(sql, each).await,
            Self::Postgres(postgres) => postgres.rows_of_each(sql, each).await,
        }
    }

    /// Does it with each of these; returns how many rows that concerned.
    pub(super) async fn each(&mut self, sql: &str, each: Vec<Row>) -> anyhow::Result<u64> {
        if each.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Sqlite(sqlite) => sqlite.each(sql, each).await,
            Self::Postgres(postgres) => postgres.each(sql, each).await,
        }
    }

    /// From here on it is all or nothing, and nobody else writes.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(sqlite) => sqlite.script("begin immediate").await,
            Self::Postgres(postgres) => postgres.begin().await,
        }
    }

    /// All of it, if it was `done`, else nothing.
    pub(super) async fn finish<T>(&mut self, done: anyhow::Result<T>) -> anyhow::Result<T> {
        match done {
            Ok(done) => {
                self.script("commit").await?;
                Ok(done)
            }
            Err(error) => {
                if let Err(worse) = self.script("rollback").await {
                    tracing::debug!("nothing was written, and that could not be said: {worse:#}");
                }
                Err(error)
            }
        }
    }
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(value) => *value,
            _ => 0,
        }
    }

    pub(super) fn str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

/// A count as a column takes it.
pub(super) fn column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
