//! The operations of asynchronous connections.
//!
//! Follows the OpenTelemetry specification, "Context interaction"
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/#context-interaction>): a span is current while its future is polled,
//! and not across an await.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, ToRedisArgs, Value};

use crate::command::arguments;
use crate::connection::Connection;
use crate::instrumentation::BatchKind;
use crate::outcome;

impl<C: ConnectionLike> ConnectionLike for Connection<C> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let Some(mut operation) = self.instrumentation.start(&arguments(cmd)) else {
            return self.inner.req_packed_command(cmd);
        };
        let reply = operation.inside(|| self.inner.req_packed_command(cmd));
        Box::pin(operation.run_with(reply, |_, reply| outcome::of_reply(reply)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let kind = if pipeline.is_transaction() { BatchKind::Transaction } else { BatchKind::Pipeline };
        let commands = || pipeline.cmd_iter().map(arguments);
        let Some(mut operation) = self.instrumentation.start_batch(kind, commands) else {
            return self.inner.req_packed_commands(pipeline, offset, count);
        };
        let replies = operation.inside(|| self.inner.req_packed_commands(pipeline, offset, count));
        Box::pin(operation.run_with(replies, move |operation, replies| {
            outcome::mark_aborted(kind, operation, replies);
            outcome::of_replies(replies)
        }))
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

impl<C> Connection<C> {
    /// Runs a method of the connection inside the operation of its command.
    async fn run<T>(
        &mut self,
        name: &'static str,
        method: impl AsyncFnOnce(&mut C) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let operation = self.instrumentation.start_named(name);
        let reply = method(&mut self.inner);
        match operation {
            Some(operation) => operation.run_with(reply, |_, reply| outcome::of_result(reply)).await,
            None => reply.await,
        }
    }
}

/// Implements the methods of a connection for subscriptions, which bypass its trait.
macro_rules! subscriptions {
    ($connection:ty: $($method:ident $name:literal)*) => {
        impl Connection<$connection> {
            $(
                #[doc = concat!(
                    "redis' `", stringify!($method), "`, inside a span `", $name, "`. It needs a connection with RESP3."
                )]
                ///
                /// # Errors
                /// Returns the error of redis.
                pub async fn $method(&mut self, channels: impl ToRedisArgs) -> RedisResult<()> {
                    self.run($name, async |connection| connection.$method(channels).await).await
                }
            )*
        }
    };
}

subscriptions!(
    MultiplexedConnection:
    subscribe "SUBSCRIBE"
    unsubscribe "UNSUBSCRIBE"
    psubscribe "PSUBSCRIBE"
    punsubscribe "PUNSUBSCRIBE"
);

#[cfg(feature = "connection-manager")]
subscriptions!(
    redis::aio::ConnectionManager:
    subscribe "SUBSCRIBE"
    unsubscribe "UNSUBSCRIBE"
    psubscribe "PSUBSCRIBE"
    punsubscribe "PUNSUBSCRIBE"
);

#[cfg(feature = "cluster-async")]
subscriptions!(
    redis::cluster_async::ClusterConnection:
    subscribe "SUBSCRIBE"
    unsubscribe "UNSUBSCRIBE"
    psubscribe "PSUBSCRIBE"
    punsubscribe "PUNSUBSCRIBE"
    ssubscribe "SSUBSCRIBE"
    sunsubscribe "SUNSUBSCRIBE"
);

#[cfg(feature = "cluster-async")]
impl Connection<redis::cluster_async::ClusterConnection> {
    /// redis' `route_command`: sends a command to the given nodes, inside its span.
    ///
    /// # Errors
    /// Returns the error of redis.
    pub async fn route_command(
        &mut self,
        command: Cmd,
        routing: redis::cluster_routing::RoutingInfo,
    ) -> RedisResult<Value> {
        let operation = self.instrumentation.start(&arguments(&command));
        let reply = self.inner.route_command(command, routing);
        match operation {
            Some(operation) => operation.run_with(reply, |_, reply| outcome::of_reply(reply)).await,
            None => reply.await,
        }
    }
}
