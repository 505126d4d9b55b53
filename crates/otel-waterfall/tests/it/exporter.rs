//! The exporter behind the SDK's processors: the time at which traces are drawn, and the end of the thread.

use std::{
    io::Write,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{SdkTracerProvider, SpanExporter},
};
use otel_waterfall::Waterfall;

use crate::limits::Paper;

/// Limit for a test that would hang; no successful test waits for it.
const TOO_LONG: Duration = Duration::from_secs(30);
/// Longer than any test, so that the elapsed time never causes drawing.
const NEVER: Duration = Duration::from_secs(100_000);

/// A writer that sends each text to the test; dropping it closes the channel.
struct Post(Sender<String>);

impl Write for Post {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn posted() -> (Waterfall, Receiver<String>) {
    let (sender, receiver) = channel();
    (Waterfall::to(Post(sender)), receiver)
}

fn provider(waterfall: &Waterfall, service: &'static str) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name(service).build())
        .with_simple_exporter(waterfall.exporter())
        .build()
}

/// Makes a call from one service to another; all spans have ended on return.
fn call(from: &SdkTracerProvider, to: &SdkTracerProvider) {
    let (from, to) = (from.tracer("test"), to.tracer("test"));
    let client =
        from.span_builder("GET").with_kind(SpanKind::Client).start_with_context(&from, &Context::new());
    let received = Context::new().with_remote_span_context(client.span_context().clone());
    let mut server = to.span_builder("GET /").with_kind(SpanKind::Server).start_with_context(&to, &received);
    server.end();
    drop(server);
    let mut client = client;
    client.end();
}

/// Returns the rows of a picture without ids, times and bars.
fn names(picture: &str) -> Vec<String> {
    let row = |line: &str| {
        line.split_whitespace().take_while(|word| !word.starts_with('+')).collect::<Vec<_>>().join(" ")
    };
    picture.lines().skip(2).filter(|line| !line.is_empty()).map(row).collect()
}

#[test]
fn a_finished_trace_of_two_services_is_drawn_by_itself_in_one_piece() {
    let (waterfall, pictures) = posted();
    let waterfall = waterfall.with_quiet(Duration::from_secs(5));
    let (shop, stock) = (provider(&waterfall, "shop"), provider(&waterfall, "stock"));
    call(&shop, &stock);
    let picture = pictures.recv_timeout(TOO_LONG).expect("drawn");
    assert_eq!(names(&picture), ["GET shop client", "└─ GET / stock server"], "{picture}");
    drop((shop, stock, waterfall));
    assert_eq!(pictures.recv_timeout(TOO_LONG), Err(RecvTimeoutError::Disconnected), "drawn once");
}

#[test]
fn a_trace_that_is_not_finished_waits_while_another_is_drawn() {
    let (waterfall, pictures) = posted();
    let provider = provider(&waterfall.with_quiet(Duration::from_secs(5)), "shop");
    let tracer = provider.tracer("test");
    let open = Context::new().with_span(tracer.start_with_context("open", &Context::new()));
    tracer.start_with_context("child of open", &open).end();
    tracer.start_with_context("finished", &Context::new()).end();
    let picture = pictures.recv_timeout(TOO_LONG).expect("drawn");
    assert_eq!(names(&picture), ["finished internal"], "{picture}");
    open.span().end();
    provider.shutdown().expect("shuts down");
    let picture = pictures.recv_timeout(TOO_LONG).expect("drawn");
    assert_eq!(names(&picture), ["open internal", "└─ child of open internal"], "{picture}");
}

#[test]
fn flush_draws_what_is_there_and_later_spans_say_so() {
    let (waterfall, pictures) = posted();
    let provider = provider(&waterfall.clone().with_quiet(NEVER), "shop");
    let tracer = provider.tracer("test");
    let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
    tracer.start_with_context("child", &root).end();
    waterfall.flush();
    let first = pictures.try_recv().expect("drawn before flush returned");
    assert!(first.contains("(missing parent ") && first.contains("└─ child"), "{first}");
    root.span().end();
    waterfall.flush();
    let second = pictures.try_recv().expect("drawn before flush returned");
    assert!(second.contains("more of a trace drawn before") && second.contains("\nroot"), "{second}");
    waterfall.flush();
    assert!(pictures.try_recv().is_err(), "nothing is left");
}

#[test]
fn the_last_exporter_to_shut_down_draws_the_rest() {
    let paper = Paper::default();
    let waterfall = Waterfall::to(paper.clone()).with_quiet(NEVER);
    let (shop, stock) = (provider(&waterfall, "shop"), provider(&waterfall, "stock"));
    call(&shop, &stock);
    shop.shutdown().expect("shuts down");
    assert_eq!(paper.text(), "", "the other service may have more");
    stock.shutdown().expect("shuts down");
    assert_eq!(names(&paper.text()).len(), 2, "{}", paper.text());
}

#[test]
fn the_last_handle_draws_the_rest_and_ends_the_thread() {
    let (waterfall, pictures) = posted();
    let provider = provider(&waterfall.with_quiet(NEVER), "shop");
    provider.tracer("test").start_with_context("root", &Context::new()).end();
    drop(provider);
    assert!(pictures.recv_timeout(TOO_LONG).expect("drawn").contains("root"));
    // The thread shares the writer, so that the channel is closed only after the thread has ended.
    assert_eq!(pictures.recv_timeout(TOO_LONG), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn batches() {
    let paper = Paper::default();
    let waterfall = Waterfall::to(paper.clone()).with_quiet(NEVER);
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("batched").build())
        .with_batch_exporter(waterfall.exporter())
        .build();
    call(&provider, &provider);
    provider.force_flush().expect("flushes");
    waterfall.flush();
    assert_eq!(names(&paper.text()), ["GET client", "└─ GET / server"], "{}", paper.text());
    assert!(paper.text().contains("· batched\n"));
}

#[test]
fn an_exporter_that_was_shut_down_takes_nothing() {
    let paper = Paper::default();
    let exporter = Waterfall::to(paper.clone()).exporter();
    exporter.shutdown().expect("shuts down");
    exporter.shutdown().expect("may be repeated");
    let export = std::pin::pin!(exporter.export(Vec::new()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let result = std::future::Future::poll(export, &mut cx);
    assert!(matches!(result, std::task::Poll::Ready(Err(OTelSdkError::AlreadyShutdown))), "{result:?}");
}

#[test]
fn a_writer_that_fails_changes_nothing() {
    let (waterfall, pictures) = posted();
    drop(pictures);
    let provider = provider(&waterfall, "shop");
    provider.tracer("test").start_with_context("root", &Context::new()).end();
    waterfall.flush();
    provider.shutdown().expect("shuts down");
}

#[test]
fn settings_hold_for_all_handles() {
    let paper = Paper::default();
    let waterfall = Waterfall::to(paper.clone()).with_quiet(NEVER);
    let provider = provider(&waterfall, "shop");
    let waterfall = waterfall.with_width(60).with_attributes(["k*"]).with_events().with_max_rows(3);
    let mut span = provider.tracer("test").start_with_context("root", &Context::new());
    span.set_attribute(opentelemetry::KeyValue::new("key", "value"));
    span.add_event("happened", Vec::new());
    span.end();
    waterfall.flush();
    let text = paper.text();
    assert!(text.contains("key=value\n") && text.contains(" happened\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    assert_eq!(
        format!("{waterfall:?} {:?}", waterfall.exporter()),
        "Waterfall { .. } Exporter { service: \"\", .. }"
    );
}
