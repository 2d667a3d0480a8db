//! The contract of the hub's stores, on PostgreSQL.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::{connect, fresh_store};
use holdfast_domain::event::Event;
use holdfast_store_postgres::PostgresStore;
use holdfast_testkit::contract::store::{Fixture, Store, Uncommitted};
use jiff_sqlx::ToSqlx;
use sqlx::{Connection, PgConnection, Row};

struct Postgres {
    url: String,
    first: Arc<PostgresStore>,
    second: Arc<PostgresStore>,
}

async fn open() -> Postgres {
    let (url, first) = fresh_store().await;
    let second = connect(&url).await;
    Postgres {
        url,
        first: Arc::new(first),
        second: Arc::new(second),
    }
}

#[async_trait]
impl Fixture for Postgres {
    fn store(&self) -> Arc<dyn Store> {
        self.first.clone()
    }

    fn other(&self) -> Arc<dyn Store> {
        self.second.clone()
    }

    async fn append_uncommitted(&self, event: &Event) -> Option<Box<dyn Uncommitted>> {
        let mut connection = PgConnection::connect(&self.url)
            .await
            .expect("the server is there");
        sqlx::raw_sql("BEGIN")
            .execute(&mut connection)
            .await
            .expect("works");
        let written = sqlx::query(
            "INSERT INTO events (device_uuid, sequence, type, at, actor, correlation_id, causation, payload)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING position",
        )
        .bind(event.device.uuid())
        .bind(event.sequence as i64)
        .bind(event.kind.as_str())
        .bind(event.at.to_sqlx())
        .bind(event.actor.as_str())
        .bind(&event.correlation)
        .bind(event.causation.map(|sequence| sequence as i64))
        .bind(&event.payload)
        .fetch_one(&mut connection)
        .await
        .expect("it can be written");
        assert!(written.get::<i64, _>("position") > 0);
        Some(Box::new(Open(connection)))
    }
}

struct Open(PgConnection);

#[async_trait]
impl Uncommitted for Open {
    async fn commit(mut self: Box<Self>) {
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.0)
            .await
            .expect("works");
    }
}

holdfast_testkit::store_contract!(open);
