//! A connection that answers at once, from memory.

use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};

#[derive(Clone, Debug)]
pub(crate) struct Memory;

impl redis::aio::ConnectionLike for Memory {
    fn req_packed_command<'a>(&'a mut self, _command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async { Ok(Value::Okay) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _pipeline: &'a Pipeline,
        _offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { Ok(vec![Value::Okay; count]) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl redis::ConnectionLike for Memory {
    fn req_packed_command(&mut self, _command: &[u8]) -> RedisResult<Value> {
        Ok(Value::Okay)
    }

    fn req_packed_commands(
        &mut self,
        _commands: &[u8],
        _offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        Ok(vec![Value::Okay; count])
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}
