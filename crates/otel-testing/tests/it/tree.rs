//! The rendered forest, as a whole.

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, Span, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::Sampler;
use otel_testing::Recorder;

fn remote() -> SpanContext {
    SpanContext::new(
        TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        SpanId::from(0xb7ad_6b71_6920_3331),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("vendor", "value")]).unwrap_or_default(),
    )
}

#[test]
fn a_forest_with_everything() {
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("test");

    let server = Context::new().with_remote_span_context(remote()).with_span(
        tracer
            .span_builder("GET /users/{id}")
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("url.path", "/users/1"),
                KeyValue::new("http.request.method", "GET"),
                KeyValue::new("network.peer.port", 54_321),
            ])
            .start_with_context(&tracer, &Context::new().with_remote_span_context(remote())),
    );
    let mut first =
        tracer.span_builder("GET").with_kind(SpanKind::Client).start_with_context(&tracer, &server);
    let mut second = tracer
        .span_builder("GET")
        .with_kind(SpanKind::Client)
        .with_links(vec![
            Link::new(first.span_context().clone(), vec![KeyValue::new("why", "retry")], 0),
            Link::with_context(remote()),
        ])
        .start_with_context(&tracer, &server);
    second.add_event("attempt", vec![KeyValue::new("number", 2)]);
    second.set_status(Status::error("connect 127.0.0.1:40001"));
    // The order of ends is not the order of starts, and does not show.
    second.end();
    first.set_status(Status::Ok);
    first.end();
    server.span().set_attribute(KeyValue::new("error.type", "500"));
    server.span().set_status(Status::error(""));
    server.span().end();
    let mut other = tracer.start_with_context("other", &Context::new());
    let _open = tracer.start_with_context("open", &Context::new().with_span(tracer.start("held")));
    other.end();

    assert_eq!(
        recorder.tree(),
        "\
SERVER GET /users/{id}  error  ⇠ remote 0af7…319c/b7ad…3331
│   error.type: \"500\"
│   http.request.method: GET
│   network.peer.port: PORT
│   url.path: /users/1
│   tracestate: vendor=value
├── CLIENT GET  ok  #1
│       tracestate: vendor=value
└── CLIENT GET  error: connect 127.0.0.1:PORT
        tracestate: vendor=value
        event attempt
            number: 2
        link → #1
            why: retry
        link → remote 0af7…319c/b7ad…3331
INTERNAL other
INTERNAL held
not finished: INTERNAL open
"
    );
}

#[test]
fn a_remote_parent_in_the_same_recorder_nests() {
    let recorder = Recorder::new();
    let tracer = recorder.tracer_provider().tracer("test");
    let mut client = tracer.span_builder("GET").with_kind(SpanKind::Client).start(&tracer);
    let sent = client.span_context();
    let received =
        SpanContext::new(sent.trace_id(), sent.span_id(), sent.trace_flags(), true, TraceState::default());
    tracer
        .span_builder("GET /")
        .with_kind(SpanKind::Server)
        .start_with_context(&tracer, &Context::new().with_remote_span_context(received))
        .end();
    client.end();
    assert_eq!(recorder.tree(), "CLIENT GET\n└── SERVER GET /  ⇠ remote\n");
}

#[test]
fn a_parent_in_another_recorder_is_rendered_alike_in_each_run() {
    let client = Recorder::new();
    let tracer = client.tracer_provider().tracer("client");
    tracer.start("before").end();
    let span = tracer.start("client");
    let sent = span.span_context().clone();
    let received =
        SpanContext::new(sent.trace_id(), sent.span_id(), sent.trace_flags(), true, TraceState::default());

    let server = Recorder::new();
    let tracer = server.tracer_provider().tracer("server");
    let remote = Context::new().with_remote_span_context(received);
    let cx = remote.with_span(tracer.start_with_context("server", &remote));
    // The second id of both recorders: it must not be taken for the parent of the first.
    tracer.start_with_context("inner", &cx).end();
    cx.span().end();
    assert_eq!(server.tree(), "INTERNAL server  ⇠ remote 7e57…0002/7e57…0002\n└── INTERNAL inner\n");
}

#[test]
fn a_local_parent_that_was_not_recorded_shows() {
    let off = Recorder::builder().with_sampler(Sampler::AlwaysOff).build();
    let cx = Context::new().with_span(off.tracer_provider().tracer("test").start("unsampled"));
    let recorder = Recorder::new();
    recorder.tracer_provider().tracer("test").start_with_context("child", &cx).end();
    assert_eq!(recorder.tree(), "INTERNAL child  ⇠ not recorded\n");
}

#[test]
fn spans_of_several_threads_are_all_there() {
    let recorder = Recorder::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let tracer = recorder.tracer_provider().tracer("test");
                for _ in 0..100 {
                    tracer.start("one").end();
                }
            });
        }
    });
    assert_eq!(recorder.tree(), "INTERNAL one\n".repeat(400));
    recorder.assert_clean();
}
