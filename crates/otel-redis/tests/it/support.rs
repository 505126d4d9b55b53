//! The server's address, options that record into one recorder, and connections without instrumentation.

use std::time::Duration;

use otel_redis::{Client, Connection, Options};
use otel_testing::{Recorder, service};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

pub(crate) use otel_testing::service::unique_name as unique;

pub(crate) const START: &str = "start the server: `cargo xtask services up redis`";

/// A timeout that is sufficient on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn setting(name: &str) -> String {
    service::setting(name, START)
}

/// Returns a client of redis for the shared server.
pub(crate) fn bare_client() -> redis::Client {
    redis::Client::open(setting("REDIS_URL")).unwrap()
}

pub(crate) fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(LONG)).set_connection_timeout(Some(LONG))
}

/// Connects without instrumentation. A busy machine may need more time than the client's limits.
pub(crate) async fn bare() -> MultiplexedConnection {
    let connected = bare_client().get_multiplexed_async_connection_with_config(&patient()).await;
    connected.unwrap_or_else(|error| panic!("{error}: {START}"))
}

pub(crate) fn options(recorder: &Recorder) -> Options {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    Options::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
}

/// Returns a client that records into the recorder. The server's address, which differs from run to run, is replaced.
pub(crate) fn client(recorder: &Recorder) -> Client {
    Client::from(bare_client()).with_options(options(recorder).with_server("cache", None))
}

/// Connects with instrumentation.
pub(crate) async fn connect(recorder: &Recorder) -> Connection<MultiplexedConnection> {
    client(recorder).get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
}
