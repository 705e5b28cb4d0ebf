//! The tables, and how those of an older release become these.
//!
//! Times are Unix time: visits in milliseconds, sums in seconds at the beginning of their minute or hour. Spans are milliseconds.

use anyhow::ensure;

use super::database::{Database, Value};

/// Makes what is not there yet. A database of a newer release is left alone.
pub(super) async fn prepare(database: &mut Database) -> anyhow::Result<()> {
    database
        .script("create table if not exists spillway_schema (version bigint not null)")
        .await?;
    database.begin().await?;
    let migrated = migrate(database).await;
    database.finish(migrated).await
}

async fn migrate(database: &mut Database) -> anyhow::Result<()> {
    let rows = database
        .rows("select max(version) from spillway_schema", Vec::new())
        .await?;
    let found = match rows.first().and_then(|row| row.first()) {
        Some(Value::Int(found)) => usize::try_from(*found).unwrap_or(0),
        _ => 0,
    };
    ensure!(
        found <= VERSIONS.len(),
        "the analytics database is of version {found}, this program knows {}; run the release that wrote it, or a newer one",
        VERSIONS.len()
    );
    for (version, script) in (1..).zip(VERSIONS).skip(found) {
        database.script(script).await?;
        let row = vec![Value::Int(version)];
        database
            .each(
                "insert into spillway_schema (version) values ($1)",
                vec![row],
            )
            .await?;
    }
    Ok(())
}

/// What brings a database from each version to the next. Both databases understand all of it.
const VERSIONS: [&str; 1] = ["
create table places (
    id bigint primary key,
    stream text not null,
    region text not null,
    node text not null,
    unique (stream, region, node)
);
create table visits (
    session bigint not null,
    place bigint not null,
    began bigint not null,
    seen bigint not null,
    watched bigint not null,
    stalls bigint not null,
    stalled bigint not null,
    starved bigint not null,
    octets bigint not null,
    rungs text not null,
    ended text,
    primary key (session, place, began)
);
create index visits_seen on visits (seen, session);
create index visits_open on visits (seen) where ended is null;
create table sums (
    span bigint not null,
    at bigint not null,
    place bigint not null,
    joins bigint not null,
    visits bigint not null,
    watched bigint not null,
    stalls bigint not null,
    stalled bigint not null,
    starved bigint not null,
    octets bigint not null,
    primary key (span, at, place)
);
create table rungs (
    span bigint not null,
    at bigint not null,
    place bigint not null,
    rung text not null,
    octets bigint not null,
    primary key (span, at, place, rung)
);
create table peaks (
    at bigint not null,
    stream text not null,
    watched bigint not null,
    primary key (at, stream)
);
create table runs (
    node text not null,
    instance bigint not null,
    seen bigint not null,
    sent bigint not null,
    seatless bigint not null,
    primary key (node, instance)
);
create table sent (
    span bigint not null,
    at bigint not null,
    node text not null,
    sent bigint not null,
    seatless bigint not null,
    primary key (span, at, node)
);
"];
