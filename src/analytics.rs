//! What became of viewers, kept: each visit for some weeks, sums by the minute for as long, by the hour for years. In SQLite, a file
//! that this program opens, or in PostgreSQL, which several traffic managers can share.
//!
//! ```text
//! nodes -> Visits -> Keeper -> book: what is new by what is known (reckoning) -> database
//! operators, the page, `export` -> routes -> ask, export -----------------------> database, on a connection of its own
//! ```
//!
//! A visit's numbers are sums since it began, and what is new is their difference to what the database has: so a message that comes
//! twice is counted once, and one that was lost is made good by the next. Whom it is about nobody can tell: a visit has neither an
//! address nor the name that is in the viewer's URLs.

mod ask;
mod book;
mod database;
mod export;
mod moment;
mod postgres;
mod reckoning;
mod retention;
mod routes;
mod schema;
mod sqlite;
mod told;

use std::{
    fmt,
    path::PathBuf,
    pin::pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{ask::Question, book::Book, database::Database, export::Page, told::Answer};
pub use self::{
    export::{Export, Form, What},
    moment::Moment,
    routes::{Guard, router},
};
use crate::{clock, control::visits::Visits};

/// Where it is kept.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Where {
    Sqlite(PathBuf),
    /// With a password, maybe.
    Postgres(String),
}

/// For how long.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Visits, and sums by the minute.
    pub days: u32,
    /// Sums by the hour.
    pub hours_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            days: 30,
            hours_days: 800,
        }
    }
}

/// The way to what is kept. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Keeper {
    write: mpsc::Sender<Order>,
    read: mpsc::Sender<Order>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Visits taken, as often as they were told.
    taken: AtomicU64,
    /// Messages that were not.
    failed: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Take(Arc<Visits>, Reply<()>),
    Ask(Question, Reply<Answer>),
    Export(Export, Reply<Page>),
}

type Reply<T> = oneshot::Sender<Result<T, Unkept>>;

/// Why something was not kept, or is not told.
#[derive(Debug, thiserror::Error)]
pub enum Unkept {
    /// It will not be, however often it is said.
    #[error("{0}")]
    Wrong(String),
    #[error("the analytics database: {0}")]
    Database(String),
    #[error("too much waits for the analytics database; ask again")]
    Busy,
}

impl Keeper {
    /// Opens the database, makes what is not there yet, and keeps until `stop`.
    pub async fn open(
        place: &Where,
        retention: Retention,
        stop: CancellationToken,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let mut first = Database::open(place).await?;
        schema::prepare(&mut first).await?;
        let second = Database::open(place).await?;
        let (write, writes) = mpsc::channel(QUEUE);
        let (read, reads) = mpsc::channel(QUEUE);
        let keeper = Self {
            write,
            read,
            counts: Arc::default(),
        };
        let (writer, reader) = (Clerk::new(first, retention), Clerk::new(second, retention));
        tracing::info!(at = %place, days = retention.days, "what becomes of viewers is kept");
        let end = stop.clone();
        let task = tokio::spawn(async move {
            tokio::join!(
                writer.run(writes, true, end),
                reader.run(reads, false, stop)
            );
        });
        Ok((keeper, task))
    }

    /// Keeps what a node tells. It is there for good once this returns.
    pub async fn take(&self, visits: Arc<Visits>) -> Result<(), Unkept> {
        let count = visits.len() as u64;
        let taken = ordered(&self.write, |reply| Order::Take(visits, reply)).await;
        match &taken {
            Ok(()) => self.counts.taken.fetch_add(count, Relaxed),
            Err(_) => self.counts.failed.fetch_add(1, Relaxed),
        };
        taken
    }

    /// Visits taken ever, as often as they were told; and messages that were not.
    pub fn counts(&self) -> (u64, u64) {
        let counts = &self.counts;
        (counts.taken.load(Relaxed), counts.failed.load(Relaxed))
    }

    async fn ask(&self, question: Question) -> Result<Answer, Unkept> {
        ordered(&self.read, |reply| Order::Ask(question, reply)).await
    }

    /// The next lines of what is exported; see `Page`.
    pub async fn export(&self, export: Export) -> Result<Page, Unkept> {
        ordered(&self.read, |reply| Order::Export(export, reply)).await
    }
}

async fn ordered<T>(
    to: &mpsc::Sender<Order>,
    order: impl FnOnce(Reply<T>) -> Order,
) -> Result<T, Unkept> {
    let (reply, answer) = oneshot::channel();
    to.try_send(order(reply)).map_err(|_| Unkept::Busy)?;
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Unkept::Database("it is being closed".to_owned())),
        Err(_) => Err(Unkept::Busy),
    }
}

/// Who has a connection to the database, and does one thing after another with it.
struct Clerk {
    database: Database,
    book: Book,
    retention: Retention,
}

impl Clerk {
    fn new(database: Database, retention: Retention) -> Self {
        Self {
            database,
            book: Book::default(),
            retention,
        }
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        tidies: bool,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What nodes tell last comes after the word to stop.
        let mut end = pin!(late(&stop));
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                _ = ticks.tick(), if tidies => {
                    let tidied = retention::tidy(&mut self.database, self.retention, now_ms()).await;
                    if let Err(error) = tidied {
                        tracing::warn!("the analytics database cannot be tidied: {error:#}");
                    }
                }
                () = &mut end => return,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        let database = &mut self.database;
        // Whoever asked may have gone.
        match order {
            Order::Take(visits, reply) => {
                let days = self.retention.days;
                let taken = self.book.take(database, &visits, days, now_ms()).await;
                _ = reply.send(told(taken));
            }
            Order::Ask(question, reply) => {
                let answer = ask::answer(database, &question, now_ms()).await;
                _ = reply.send(told(answer));
            }
            Order::Export(export, reply) => {
                _ = reply.send(told(export::page(database, export).await));
            }
        }
    }
}

fn told<T>(done: anyhow::Result<T>) -> Result<T, Unkept> {
    done.map_err(|error| match error.downcast::<Unkept>() {
        Ok(unkept) => unkept,
        Err(error) => {
            tracing::warn!("the analytics database: {error:#}");
            Unkept::Database(format!("{error:#}"))
        }
    })
}

async fn late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}

fn now_ms() -> i64 {
    clock::wall().millis()
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(format!(
                "analytics is {text:?}, which is neither sqlite:FILE nor postgres://USER:PASSWORD@HOST/DATABASE"
            )),
        }
    }
}

impl TryFrom<String> for Where {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Where> for String {
    fn from(place: Where) -> Self {
        match place {
            Where::Sqlite(path) => format!("sqlite:{}", path.display()),
            Where::Postgres(address) => address,
        }
    }
}

impl fmt::Display for Where {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(address) => {
                let host = address.rsplit_once('@').map_or("", |(_, host)| host);
                write!(f, "PostgreSQL {host}")
            }
        }
    }
}

impl fmt::Debug for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What waits for the database, at most; whoever comes then is told to ask again.
const QUEUE: usize = 64;

/// Less than a node waits for its answer, so that it hears why.
const PATIENCE: Duration = Duration::from_millis(2_800);

const TIDY_EVERY: Duration = Duration::from_secs(600);

const LAST_WORDS: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_kept_is_said_without_a_password() {
        let place = |text: &str| text.parse::<Where>().map(|place| place.to_string());
        assert_eq!(place("sqlite:/var/a.db"), Ok("/var/a.db".into()));
        let address = "postgres://spillway:secret@db.example/stats";
        assert_eq!(place(address), Ok("PostgreSQL db.example/stats".into()));
        for wrong in ["", "sqlite:", "mysql://x", "postgres:x"] {
            assert!(
                place(wrong).unwrap_err().contains("neither sqlite:FILE"),
                "{wrong}"
            );
        }
    }
}
