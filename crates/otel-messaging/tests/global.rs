//! A client that is created before the global providers and propagator are set. A separate process, because the test
//! sets globals.

use opentelemetry::{Context, InstrumentationScope, global};
use otel_messaging::{DestinationDescription, MessagingInstrumentation, Options};
use otel_operation::Outcome;
use otel_testing::Recorder;

#[test]
fn a_client_that_was_made_before_the_sdk_records_after_it() {
    let scope = InstrumentationScope::builder("test").build();
    let messaging = MessagingInstrumentation::builder("parrot", scope).build(Options::new());
    let orders = messaging.destination(&["orders"], || DestinationDescription::new().with_name("orders"));
    let received = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let forward = || {
        let carried = messaging.extract(&received);
        let process = orders.process("process").with_message(&carried);
        let process = process.start(&Context::current(), |_| {});
        let attached = process.attach();
        let mut headers: Vec<(String, String)> = Vec::new();
        let send = orders.send("send").start(&Context::current(), |_| {});
        send.inject(&mut headers);
        send.finish(&Outcome::ok());
        drop(attached);
        process.finish(&Outcome::ok());
        headers.into_iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value)
    };

    assert_eq!(forward(), None, "without a propagator nothing is read or written");
    assert!(messaging.is_idle());
    let idle = messaging.idle_operation();
    let mut idle = idle.unwrap_or_else(|| panic!("nothing is installed"));
    let current = Context::new().with_value(7_u32).attach();
    let seen = || Context::map_current(|context| context.get::<u32>().copied());
    assert_eq!(idle.inside(seen), Some(7), "the current context stays as it is");
    let attached = idle.attach();
    assert_eq!(seen(), Some(7));
    drop((attached, current));
    idle.finish(&Outcome::ok());

    otel_propagation::set_global(otel_propagation::CompositePropagator::default());
    assert_eq!(forward().as_deref(), Some(received[0].1), "without an SDK the context is handed through");

    assert!(!messaging.is_idle() && messaging.idle_operation().is_none());
    let recorder = Recorder::new();
    global::set_tracer_provider(recorder.tracer_provider().clone());
    global::set_meter_provider(recorder.meter_provider().clone());
    for _ in 0..2 {
        let sent = forward().unwrap_or_default();
        assert!(sent.starts_with(&received[0].1[..36]) && sent != received[0].1, "{sent}");
    }
    assert_eq!(recorder.spans().len(), 4, "{}", recorder.tree());
    assert_eq!(recorder.metric("messaging.client.operation.duration").count(), 2);
    assert_eq!(recorder.metric("messaging.process.duration").count(), 2);
    recorder.assert_clean();
}
