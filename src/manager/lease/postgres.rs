//! A lease as an advisory lock of a session in PostgreSQL, for managers on several machines. The epoch and who
//! has it stand in a table.
//!
//! The database ends a session that says nothing for some seconds, be its holder dead, cut off or frozen; then
//! somebody else gets the lock.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{sync::Mutex, task::JoinHandle};
use tokio_postgres::{Client, Config, NoTls};

use super::{Checked, Hold, Holder, Later, Lease, Sought};

#[derive(Clone, Debug)]
pub struct PostgresLease {
    config: Arc<Config>,
    /// Which lease of the database it is.
    name: String,
    url: String,
    /// Of the last attempt: who waits asks often.
    waiting: Arc<Mutex<Option<Session>>>,
}

#[derive(Debug)]
struct Held {
    session: Session,
    name: String,
    epoch: u64,
    left: String,
}

/// A connection; closed when dropped, which gives the lock back.
struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl PostgresLease {
    /// `address`: `postgres://user:password@host/database`, or the same in key words.
    pub fn new(address: &str, name: &str, url: String) -> anyhow::Result<Self> {
        let mut config: Config = address
            .parse()
            .context("the address of the lease's database cannot be read")?;
        config
            .application_name("spillway traffic-manager")
            .connect_timeout(CONNECT)
            .keepalives_idle(QUIET)
            .tcp_user_timeout(QUIET);
        Ok(Self {
            config: Arc::new(config),
            name: name.to_owned(),
            url,
            waiting: Arc::default(),
        })
    }

    async fn try_now(self) -> anyhow::Result<Sought> {
        let waiting = self.waiting.lock().await.take();
        let session = match waiting.filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => Session::open(&self.config).await?,
        };
        let client = &session.client;
        let got: bool = client
            .query_one(
                "select pg_try_advisory_lock(hashtext('spillway'), hashtext($1))",
                &[&self.name],
            )
            .await?
            .get(0);
        if !got {
            let row = client
                .query_opt(
                    "select epoch, url from spillway_lease where name = $1",
                    &[&self.name],
                )
                .await?;
            *self.waiting.lock().await = Some(session);
            return Ok(Sought::Taken(row.map(|row| Holder {
                epoch: row.get::<_, i64>(0).unsigned_abs(),
                url: row.get(1),
            })));
        }
        let row = client.query_one(TAKE, &[&self.name, &self.url]).await?;
        let (epoch, left): (i64, String) = (row.get(0), row.get(1));
        Ok(Sought::Held(Box::new(Held {
            session,
            name: self.name,
            epoch: epoch.unsigned_abs(),
            left,
        })))
    }
}

impl Lease for PostgresLease {
    fn seek(&self) -> Later<anyhow::Result<Sought>> {
        Box::pin(self.clone().try_now())
    }
}

impl Hold for Held {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn left(&self) -> &str {
        &self.left
    }

    fn leave<'a>(&'a mut self, text: &'a str) -> Checked<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let epoch = i64::try_from(self.epoch)?;
            let client = &self.session.client;
            let written = client.execute(LEAVE, &[&self.name, &text, &epoch]).await?;
            anyhow::ensure!(written == 1, "another epoch of it has begun");
            Ok(())
        })
    }

    /// The lock is the session's, so what counts is that the session is there, and nobody has come after it.
    fn check(&mut self) -> Checked<'_, anyhow::Result<()>> {
        Box::pin(async move {
            let row = self
                .session
                .client
                .query_one(
                    "select epoch from spillway_lease where name = $1",
                    &[&self.name],
                )
                .await
                .context("the lease's database")?;
            let newest: i64 = row.get(0);
            anyhow::ensure!(
                newest.unsigned_abs() == self.epoch,
                "epoch {newest} of it has begun"
            );
            Ok(())
        })
    }
}

impl Session {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let (client, connection) = config
            .connect(NoTls)
            .await
            .context("the lease's database cannot be reached")?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the lease's database ended");
            }
        });
        let session = Self { client, driver };
        session.client.batch_execute(PREPARE).await?;
        Ok(session)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A holder speaks each second. Who has said nothing for so long is taken for gone.
const PREPARE: &str = "
    set idle_session_timeout = '6s';
    set tcp_keepalives_idle = 3;
    set tcp_user_timeout = 6000;
    set client_min_messages = warning;
    create table if not exists spillway_lease (
        name text primary key,
        epoch bigint not null,
        url text not null,
        since timestamptz not null default now()
    );
    alter table spillway_lease add column if not exists left_behind text not null default '';
";

const TAKE: &str = "
    insert into spillway_lease (name, epoch, url) values ($1, 1, $2)
    on conflict (name) do update set epoch = spillway_lease.epoch + 1, url = $2, since = now()
    returning epoch, left_behind
";

const LEAVE: &str = "update spillway_lease set left_behind = $2 where name = $1 and epoch = $3";

const CONNECT: Duration = Duration::from_secs(3);

const QUIET: Duration = Duration::from_secs(6);
