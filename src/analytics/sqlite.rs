//! SQLite: a file, and a thread that has it open. One job after another; each has a time in which it has to be done.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use anyhow::Context as _;
use rusqlite::{
    Connection, InterruptHandle,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::oneshot;

use super::database::{Row, Value};

pub(super) struct Sqlite {
    /// Whoever has it is the only one, and waits for each: so no more than one job waits.
    jobs: mpsc::Sender<Job>,
    interrupt: InterruptHandle,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

impl Sqlite {
    pub(super) async fn open(path: PathBuf) -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (opened, open) = oneshot::channel();
        let told = format!("analytics in {}", path.display());
        std::thread::Builder::new()
            .name("analytics".into())
            .spawn(move || match connect(&path) {
                Ok(connection) => {
                    let handle = connection.get_interrupt_handle();
                    if opened.send(Ok(handle)).is_ok() {
                        inbox.iter().for_each(|job| job(&connection));
                    }
                }
                Err(error) => _ = opened.send(Err(error)),
            })
            .context("a thread for SQLite")?;
        let interrupt = open.await.context("SQLite")?.context(told)?;
        Ok(Self { jobs, interrupt })
    }

    pub(super) async fn script(&self, sql: &str) -> anyhow::Result<()> {
        let sql = sql.to_owned();
        self.run(move |connection| connection.execute_batch(&sql))
            .await
    }

    pub(super) async fn rows_of_each(
        &self,
        sql: &str,
        each: Vec<Row>,
    ) -> anyhow::Result<Vec<Vec<Row>>> {
        let sql = numbered(sql);
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let columns = statement.column_count();
            let mut found = Vec::with_capacity(each.len());
            for values in each {
                let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
                    (0..columns)
                        .map(|column| row.get_ref(column).map(read))
                        .collect()
                })?;
                found.push(rows.collect::<rusqlite::Result<Vec<Row>>>()?);
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn each(&self, sql: &str, each: Vec<Row>) -> anyhow::Result<u64> {
        let sql = numbered(sql);
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut concerned = 0;
            for values in each {
                concerned += statement.execute(rusqlite::params_from_iter(values))? as u64;
            }
            Ok(concerned)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (done, result) = oneshot::channel();
        // Whoever waited may have gone.
        let job: Job = Box::new(move |connection| _ = done.send(job(connection)));
        self.jobs
            .send(job)
            .ok()
            .context("SQLite's thread has ended")?;
        match tokio::time::timeout(LONGEST, result).await {
            Ok(result) => Ok(result.context("SQLite's thread has ended")??),
            Err(_) => {
                self.interrupt.interrupt();
                anyhow::bail!("it took longer than {} s", LONGEST.as_secs())
            }
        }
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}

fn connect(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SETTINGS)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::text(String::from_utf8_lossy(text)),
        ValueRef::Real(value) => Value::Int(value as i64),
        ValueRef::Null | ValueRef::Blob(_) => Value::Nothing,
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Int(value) => ToSqlOutput::from(*value),
            Self::Text(text) => ToSqlOutput::from(text.as_str()),
            Self::Nothing => ToSqlOutput::from(rusqlite::types::Null),
        })
    }
}

/// Readers beside a writer, and what was committed stays, whatever the machine does. Another program that reads is waited for.
const SETTINGS: &str = "
pragma journal_mode = wal;
pragma synchronous = full;
pragma busy_timeout = 5000;
";

const LONGEST: Duration = Duration::from_secs(30);
