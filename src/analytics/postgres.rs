//! PostgreSQL: a connection that is opened again when it is lost. Statements for many rows are sent without waiting for each
//! answer, so that a long way does not count as often as there are rows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::BytesMut;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, NoTls, Statement,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use super::database::{Row, Value};

pub(super) struct Postgres {
    config: Arc<Config>,
    client: Client,
    driver: JoinHandle<()>,
    prepared: HashMap<String, Statement>,
}

impl Postgres {
    pub(super) async fn open(address: &str) -> anyhow::Result<Self> {
        let mut config: Config = address
            .parse()
            .context("the address of the analytics database cannot be read")?;
        config
            .application_name("spillway analytics")
            .connect_timeout(CONNECT)
            .keepalives_idle(QUIET)
            .tcp_user_timeout(QUIET);
        let (client, driver) = connect(&config).await?;
        Ok(Self {
            config: Arc::new(config),
            client,
            driver,
            prepared: HashMap::new(),
        })
    }

    pub(super) async fn script(&mut self, sql: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// The lock lasts as long as the transaction: another traffic manager may still be at it.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        self.renew().await?;
        self.script(BEGIN).await
    }

    pub(super) async fn rows_of_each(
        &mut self,
        sql: &str,
        each: Vec<Row>,
    ) -> anyhow::Result<Vec<Vec<Row>>> {
        let statement = self.statement(sql).await?;
        let client = &self.client;
        let statement = &statement;
        let each = each.iter().map(|values| async move {
            let rows = client.query(statement, &references(values)).await?;
            let read =
                |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.try_get(at)).collect();
            rows.iter().map(read).collect::<Result<Vec<Row>, _>>()
        });
        Ok(try_join_all(each).await?)
    }

    pub(super) async fn each(&mut self, sql: &str, each: Vec<Row>) -> anyhow::Result<u64> {
        let statement = self.statement(sql).await?;
        let client = &self.client;
        let statement = &statement;
        let each = each
            .iter()
            .map(|values| async move { client.execute(statement, &references(values)).await });
        Ok(try_join_all(each).await?.into_iter().sum())
    }

    async fn statement(&mut self, sql: &str) -> anyhow::Result<Statement> {
        self.renew().await?;
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let prepared = self.client.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        if self.client.is_closed() {
            self.prepared.clear();
            self.driver.abort();
            (self.client, self.driver) = connect(&self.config).await?;
        }
        Ok(())
    }
}

async fn connect(config: &Config) -> anyhow::Result<(Client, JoinHandle<()>)> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .context("the analytics database cannot be reached")?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the analytics database ended");
        }
    });
    client.batch_execute(SETTINGS).await?;
    Ok((client, driver))
}

fn references(values: &Row) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(value) => value.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Nothing => Ok(IsNull::Yes),
        }
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INT8 || <String as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if *kind == Type::INT8 {
            return i64::from_sql(kind, raw).map(Self::Int);
        }
        String::from_sql(kind, raw).map(Self::Text)
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Nothing)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INT8 || <String as FromSql>::accepts(kind)
    }
}

/// In a schema of its own.
const SETTINGS: &str = "
    set client_min_messages = warning;
    create schema if not exists spillway_analytics;
    set search_path = spillway_analytics;
    set statement_timeout = '30s';
    set tcp_user_timeout = 6000;
";

const BEGIN: &str = "begin; select pg_advisory_xact_lock(hashtext('spillway analytics'))";

const CONNECT: Duration = Duration::from_secs(3);

const QUIET: Duration = Duration::from_secs(6);
