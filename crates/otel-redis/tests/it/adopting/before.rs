//! The program before it is instrumented.

use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, RedisResult, Script};

struct Sessions {
    connection: ConnectionManager,
    refresh: Script,
}

impl Sessions {
    async fn new(url: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let connection = client.get_connection_manager().await?;
        let refresh = Script::new("return redis.call('EXPIRE', KEYS[1], ARGV[1])");
        Ok(Self { connection, refresh })
    }

    async fn open(&mut self, user: u64, token: &str) -> RedisResult<()> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().set_ex(format!("session:{token}"), user, 900).ignore().incr("opened", 1).ignore();
        pipeline.query_async(&mut self.connection).await
    }

    async fn user(&mut self, token: &str) -> RedisResult<Option<u64>> {
        let key = format!("session:{token}");
        let () = self.refresh.key(&key).arg(900).invoke_async(&mut self.connection).await?;
        self.connection.get(key).await
    }
}
