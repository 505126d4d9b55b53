//! The operations of blocking connections.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/). A blocking connection
//! gets most commands encoded; their names are read from there.

use otel_database::DatabaseOperation;
use redis::{Cmd, ConnectionLike, RedisResult, Value};

use crate::command::packed::{PackedArguments, PackedCommands};
use crate::command::{Command, arguments};
use crate::connection::Connection;
use crate::instrumentation::BatchKind;
use crate::outcome;

/// Runs code inside an operation and ends that with the outcome of the reply.
fn run(
    operation: Option<DatabaseOperation>,
    command: impl FnOnce() -> RedisResult<Value>,
) -> RedisResult<Value> {
    let Some(mut operation) = operation else { return command() };
    let reply = operation.inside(command);
    operation.finish(&outcome::of_reply(&reply));
    reply
}

impl<C: ConnectionLike> ConnectionLike for Connection<C> {
    fn req_packed_command(&mut self, cmd: &[u8]) -> RedisResult<Value> {
        let operation = PackedCommands(cmd).next().and_then(|command| self.instrumentation.start(&command));
        run(operation, || self.inner.req_packed_command(cmd))
    }

    fn req_packed_commands(&mut self, cmd: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let (kind, commands) = batch(cmd, offset, count);
        let Some(mut operation) = self.instrumentation.start_batch(kind, || commands.clone()) else {
            return self.inner.req_packed_commands(cmd, offset, count);
        };
        let replies = operation.inside(|| self.inner.req_packed_commands(cmd, offset, count));
        outcome::mark_aborted(kind, &operation, &replies);
        operation.finish(&outcome::of_replies(&replies));
        replies
    }

    fn req_command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let operation = self.instrumentation.start(&arguments(cmd));
        run(operation, || self.inner.req_command(cmd))
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }

    fn supports_pipelining(&self) -> bool {
        self.inner.supports_pipelining()
    }

    fn check_connection(&mut self) -> bool {
        self.inner.check_connection()
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }
}

/// Returns the kind of a batch, and its commands. `Pipeline::query` encodes a transaction between `MULTI` and `EXEC`, and
/// asks for the reply of the latter alone.
fn batch(
    packed: &[u8],
    offset: usize,
    count: usize,
) -> (BatchKind, impl Iterator<Item = Command<PackedArguments<'_>>> + Clone) {
    let is_multi = PackedCommands(packed).next().is_some_and(|command| command.name().0 == "MULTI");
    let (kind, before, commands) = match is_multi && count == 1 && offset > 0 {
        true => (BatchKind::Transaction, 1, offset - 1),
        false => (BatchKind::Pipeline, 0, usize::MAX),
    };
    (kind, PackedCommands(packed).skip(before).take(commands))
}
