//! Environment variables: as a carrier for child processes, and `OTEL_PROPAGATORS`. Variables of this process cannot be
//! changed safely, so that the tests run themselves once more as a child.

use std::process::Command;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use otel_propagation::{
    B3Propagator, CompositePropagator, EnvCarrier, HeaderWriter, PassThroughPropagator, PropagatorHandle,
};

use crate::support::{PARENT, TRACE_ID, span_context};

const CHILD: &str = "OTEL_PROPAGATION_TEST_CHILD";

/// This test binary, to run one test of it as a child.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, "1");
    command
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn variables(command: &Command) -> Vec<(String, Option<String>)> {
    let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
    command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
}

#[test]
fn a_child_process_continues_the_trace() {
    let propagation = PropagatorHandle::new(CompositePropagator::default().with_b3(B3Propagator::multi()));
    if std::env::var_os(CHILD).is_some() {
        let cx = propagation.extract(&EnvCarrier::from_current_process());
        assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID);
        assert_eq!(span_context(&cx).trace_state().header(), "foo=1");
        assert_eq!(otel_propagation::baggage::get(&cx, "a"), Some("x y"));
        assert_eq!(std::env::var("X_B3_TRACEID").unwrap(), TRACE_ID);
        return;
    }
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1"), ("baggage", "a=x%20y")];
    let mut command = child("environment::a_child_process_continues_the_trace");
    // A removed variable must not be inherited.
    command.env("X_B3_FLAGS", "stale");
    propagation.inject(&propagation.extract(&headers), &mut command);
    succeeds(command);
}

#[test]
fn a_command_gets_variables_and_loses_stale_ones() {
    let propagation = PropagatorHandle::new(CompositePropagator::default());
    let mut command = Command::new("job");
    command.env("TRACESTATE", "stale=1");
    propagation.inject(&propagation.extract(&[("traceparent", PARENT)]), &mut command);
    let expected = [("TRACEPARENT", Some(PARENT)), ("TRACESTATE", None)];
    assert_eq!(
        variables(&command),
        expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
    );

    assert!(HeaderWriter::contains(&command, "traceparent") && !HeaderWriter::contains(&command, "baggage"));
    HeaderWriter::set(&mut command, "x-a", "nul\0");
    assert!(!HeaderWriter::contains(&command, "x-a"));
}

#[test]
fn what_the_caller_set_for_a_command_is_kept() {
    let propagation = PropagatorHandle::new(PassThroughPropagator::new(["x-request-id"]).unwrap());
    let cx = propagation.extract(&[("x-request-id", "received")]);
    let mut command = Command::new("job");
    command.env("X_REQUEST_ID", "set");
    propagation.inject(&cx, &mut command);
    assert_eq!(variables(&command), [("X_REQUEST_ID".to_owned(), Some("set".to_owned()))]);
}

#[test]
fn variables_are_read_and_written_as_pairs() {
    let propagation = PropagatorHandle::new(B3Propagator::multi());
    let from = EnvCarrier::from_iter([
        ("X_B3_TRACEID", TRACE_ID),
        ("x_b3_spanid", "1234567890123456"),
        ("PATH", "/bin"),
    ]);
    let cx = propagation.extract(&from);
    assert_eq!(span_context(&cx).trace_id().to_string(), TRACE_ID);
    let mut to = EnvCarrier::new();
    HeaderWriter::set(&mut to, "x-b3-flags", "stale");
    assert!(HeaderWriter::contains(&to, "X-B3-Flags"));
    propagation.inject(&cx, &mut to);
    let expected = [("X_B3_TRACEID", TRACE_ID), ("X_B3_SPANID", "1234567890123456")];
    assert_eq!(to.into_pairs(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut none = EnvCarrier::new();
    propagation.inject(&Context::new(), &mut none);
    assert_eq!(none.into_pairs(), []);
}

#[test]
fn otel_propagators_names_the_formats() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(
            CompositePropagator::from_env_strict().unwrap().fields().collect::<Vec<_>>(),
            ["b3", "baggage"]
        );
        assert_eq!(CompositePropagator::from_env().fields().collect::<Vec<_>>(), ["b3", "baggage"]);
        return;
    }
    let mut command = child("environment::otel_propagators_names_the_formats");
    command.env("OTEL_PROPAGATORS", "b3, baggage");
    succeeds(command);
}

#[test]
fn unknown_names_in_otel_propagators_are_left_out() {
    if std::env::var_os(CHILD).is_some() {
        let unknown = CompositePropagator::from_env_strict().unwrap_err();
        assert_eq!(unknown.names().collect::<Vec<_>>(), ["jaeger"]);
        assert_eq!(CompositePropagator::from_env().fields().collect::<Vec<_>>(), ["b3"]);
        return;
    }
    let mut command = child("environment::unknown_names_in_otel_propagators_are_left_out");
    command.env("OTEL_PROPAGATORS", "jaeger,b3");
    succeeds(command);
}

#[test]
fn without_otel_propagators_the_default_counts() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(
            CompositePropagator::from_env().fields().collect::<Vec<_>>(),
            ["traceparent", "tracestate", "baggage"]
        );
        return;
    }
    let mut command = child("environment::without_otel_propagators_the_default_counts");
    command.env_remove("OTEL_PROPAGATORS");
    succeeds(command);
}

#[cfg(feature = "tracing")]
#[test]
fn unknown_names_are_warned_about() {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, span};

    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<(Level, String)>>>);

    struct Message<'a>(&'a mut String);

    impl Visit for Message<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                *self.0 = format!("{value:?}");
            }
        }
    }

    impl tracing::Subscriber for Events {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut message = String::new();
            event.record(&mut Message(&mut message));
            self.0.lock().unwrap().push((*event.metadata().level(), message));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    if std::env::var_os(CHILD).is_some() {
        let events = Events::default();
        tracing::subscriber::with_default(events.clone(), CompositePropagator::from_env);
        let expected = "OTEL_PROPAGATORS read in part: propagator list has unknown names: jaeger; \
             known: tracecontext, baggage, b3, b3multi, none";
        assert_eq!(*events.0.lock().unwrap(), [(Level::WARN, expected.to_owned())]);
        return;
    }
    let mut command = child("environment::unknown_names_are_warned_about");
    command.env("OTEL_PROPAGATORS", "jaeger,b3");
    succeeds(command);
}
