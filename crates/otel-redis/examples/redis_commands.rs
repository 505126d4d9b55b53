//! Commands, a pipeline, a transaction and a script, with templates of keys:
//! `cargo run -p otel-redis --features aio --example redis_commands -- redis://localhost:6379`.

mod common;

use std::error::Error;

use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};
use opentelemetry::{Context, global};
use redis::{AsyncCommands, Script};

async fn visit(client: &otel_redis::Client) -> redis::RedisResult<u64> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    let () = connection.hset("user:4711", "name", "Maria").await?;
    let mut pipeline = redis::pipe();
    let (name, visits): (Option<String>, u64) = pipeline
        .atomic()
        .hget("user:4711", "name")
        .incr("visits:4711", 1)
        .query_async(&mut connection)
        .await?;
    assert!(name.is_some(), "it was just set");
    // The first call loads the script, because the server does not know it.
    let limit = Script::new("return redis.call('EXPIRE', KEYS[1], ARGV[1])");
    let () = limit.key("visits:4711").arg(3600).invoke_async(&mut connection).await?;
    // Recorded as `WRONGTYPE`.
    let _ = connection.incr("user:4711", 1).await.map(|_: u64| ());
    Ok(visits)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = common::telemetry();
    let client = otel_redis::Client::open(common::address())?.with_key_template(|_command, key| {
        let (kind, _) = std::str::from_utf8(key).ok()?.split_once(':')?;
        Some(format!("{kind}:{{id}}"))
    });
    let span = global::tracer("example").start("visit");
    let context = Context::current_with_span(span);
    let visited = visit(&client).with_context(context.clone()).await;
    context.span().end();
    drop(context);
    telemetry.shutdown()?;
    visited?;
    Ok(())
}
