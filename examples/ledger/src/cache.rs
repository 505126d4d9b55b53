//! Balances and the keys of requests in Redis, through a connection of otel-redis.

use otel_redis::{Client, Connection, Options};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, ExistenceCheck, RedisResult, SetExpiry, SetOptions};

use crate::PATIENCE;

/// The seconds after which a balance is read from the store again, and a request may be repeated.
const SECONDS: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) struct Cache {
    connection: Connection<ConnectionManager>,
    prefix: String,
}

impl Cache {
    /// Connects. The keys of this run have a prefix, because the server may have other data.
    pub(crate) async fn connect(server: &str, prefix: &str) -> RedisResult<Self> {
        let start = format!("{prefix}:");
        // Spans show `balance:{id}` for `ledger4711:balance:7`: the template, and never the key. Without one they show the
        // address of the server, whose port differs from run to run.
        let client = Client::open(server)?
            .with_options(Options::new().with_server("cache", None))
            .with_key_template(move |_command, key| {
                let key = std::str::from_utf8(key).ok()?.strip_prefix(&start)?;
                let (kind, _) = key.split_once(':')?;
                Some(format!("{kind}:{{id}}"))
            });
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client.get_connection_manager_with_config(config).await?;
        Ok(Self { connection, prefix: prefix.to_owned() })
    }

    fn key(&self, kind: &str, id: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{id}", self.prefix)
    }

    /// Takes the key of a request. Returns false if another request has it.
    pub(crate) async fn begin(&mut self, request: &str) -> RedisResult<bool> {
        let once =
            SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(SetExpiry::EX(SECONDS));
        let key = self.key("request", request);
        let taken: Option<String> = self.connection.set_options(key, 1, once).await?;
        Ok(taken.is_some())
    }

    pub(crate) async fn balance(&mut self, account: i64) -> RedisResult<Option<i64>> {
        self.connection.get(self.key("balance", account)).await
    }

    pub(crate) async fn keep_balance(&mut self, account: i64, balance: i64) -> RedisResult<()> {
        self.connection.set_ex(self.key("balance", account), balance, SECONDS).await
    }

    /// Removes the balances of both accounts, in one round trip.
    pub(crate) async fn forget_balances(&mut self, from: i64, to: i64) -> RedisResult<()> {
        let mut pipeline = redis::pipe();
        pipeline.del(self.key("balance", from)).ignore().del(self.key("balance", to)).ignore();
        pipeline.exec_async(&mut self.connection).await
    }
}
