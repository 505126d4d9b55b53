//! Spans of `tracing` and ours in one service nest in both directions, by the context activation of
//! tracing-opentelemetry.

use opentelemetry::trace::TracerProvider as _;
use otel_testing::Recorder;
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::options;

/// A connection that has spans of `tracing`.
struct Traced;

impl redis::aio::ConnectionLike for Traced {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        let reply = async {
            tokio::task::yield_now().await;
            Ok(Value::Okay)
        };
        Box::pin(reply.instrument(tracing::info_span!("socket")))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

#[tokio::test]
async fn spans_of_tracing_nest_inside_and_around_ours() {
    let recorder = Recorder::new();
    let bridge = tracing_opentelemetry::layer().with_tracer(recorder.tracer_provider().tracer("app"));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));
    let mut connection = otel_redis::Connection::new(Traced).with_options(options(&recorder));
    let command = redis::cmd("PING");
    command.exec_async(&mut connection).instrument(tracing::info_span!("work")).await.unwrap();
    let [work, ping, socket] = ["work", "PING", "socket"].map(|name| recorder.span(name));
    assert_eq!(ping.parent_span_id, work.span_context.span_id(), "{}", recorder.tree());
    assert_eq!(socket.parent_span_id, ping.span_context.span_id(), "{}", recorder.tree());
    recorder.assert_clean();
}
