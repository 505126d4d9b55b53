//! Log records: kept in their order, with the span that was current, and rendered as text.

use opentelemetry::{
    Context,
    logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity},
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use otel_testing::Recorder;

#[test]
fn log_records_are_rendered_in_their_order_with_their_span() {
    let recorder = Recorder::new();
    let logger = recorder.logger_provider().logger("test");
    let tracer = recorder.tracer_provider().tracer("test");
    let mut first = logger.create_log_record();
    first.set_severity_number(Severity::Warn);
    first.set_body("retrying 127.0.0.1:54321".into());
    first.add_attribute("server.port", 54_321);
    first.add_attribute("attempt", 2);
    logger.emit(first);
    let span = tracer.span_builder("GET /users/{id}").with_kind(SpanKind::Server).start(&tracer);
    let context = Context::new().with_span(span);
    {
        let _attached = context.clone().attach();
        let mut second = logger.create_log_record();
        second.set_severity_text("INFO");
        second.set_event_name("user.read");
        second.add_attribute("ids", AnyValue::ListAny(Box::new(vec![AnyValue::Int(1), AnyValue::Int(2)])));
        second.add_attribute("ratio", 1.0);
        second.add_attribute("text", "200");
        logger.emit(second);
    }
    context.span().end();
    assert_eq!(
        recorder.logs(),
        "WARN retrying 127.0.0.1:PORT\n    attempt: 2\n    server.port: PORT\n\
         INFO  event user.read  in GET /users/{id}\n    ids: ListAny([Int(1), Int(2)])\n    ratio: 1.0\n    text: \"200\"\n"
    );
    recorder.shutdown();
    let records = recorder.log_records();
    assert_eq!(records.len(), 2, "also after a shutdown");
    let span = recorder.span("GET /users/{id}");
    let trace = records[1].trace_context().expect("it was emitted inside of a span");
    assert_eq!((trace.trace_id, trace.span_id), (span.span_context.trace_id(), span.span_context.span_id()));
    recorder.assert_clean();
}

#[test]
fn a_span_that_is_not_recorded_has_no_name() {
    let recorder = Recorder::builder().with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff).build();
    let logger = recorder.logger_provider().logger("test");
    let span = recorder.tracer_provider().tracer("test").start("span");
    let _attached = Context::new().with_span(span).attach();
    logger.emit(logger.create_log_record());
    assert_eq!(recorder.logs(), "UNSPECIFIED  in a span that is not recorded\n");
}
