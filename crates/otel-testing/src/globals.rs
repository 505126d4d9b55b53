//! The global providers, which a test binary sets once.

use opentelemetry::global;

use crate::recorder::Recorder;

/// Asserts that instrumentation that was built before the globals follows them.
///
/// `call` sends one request through a server that calls a client, and returns the `traceparent` that was sent.
/// `traceparent` is the header of its request, and `set_propagator` sets the global propagator.
///
/// # Panics
/// If the instrumentation does not follow the globals.
pub async fn assert_follows_globals(
    traceparent: &str,
    set_propagator: impl FnOnce(),
    mut call: impl AsyncFnMut() -> String,
) -> Recorder {
    assert_eq!(call().await, "", "without a propagator nothing is read or written");

    set_propagator();
    assert_eq!(call().await, traceparent, "without an SDK the context is handed through");

    let recorder = Recorder::new();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    for _ in 0..2 {
        let sent = call().await;
        assert!(sent.starts_with(&traceparent[..36]) && sent != traceparent, "{sent}");
    }
    assert_eq!(recorder.spans().len(), 4, "{}", recorder.tree());
    recorder.assert_clean();
    recorder
}
