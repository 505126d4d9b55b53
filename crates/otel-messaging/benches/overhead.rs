//! The cost of sending and processing a message under a sampled and an unsampled parent, of the same with a failure, and
//! without an SDK. The baseline writes one `traceparent` by hand.
//!
//! `cargo bench -p otel-messaging --features bound-metrics --bench overhead -- --instructions` counts instructions and needs
//! valgrind.

use std::convert::Infallible;
use std::hint::black_box;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_messaging::{
    Destination, DestinationDescription, HandlerOutcome, MessagingInstrumentation, MessagingOperation,
    Options,
};
use otel_operation::Outcome;
use otel_propagation::{CompositePropagator, TraceContextPropagator};
use otel_testing::bench::{self, Bench};

type Headers = Vec<(String, String)>;

fn propagator() -> CompositePropagator {
    CompositePropagator::empty().with_trace_context(TraceContextPropagator::new())
}

fn client(options: Options) -> MessagingInstrumentation {
    MessagingInstrumentation::builder("bench", InstrumentationScope::builder("bench").build()).build(options)
}

fn orders(client: &MessagingInstrumentation) -> Destination {
    client.destination(&["orders"], || DestinationDescription::new().with_name("orders"))
}

fn traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags())
}

/// A broker's refusal, whose error class is the name of the variant.
#[derive(Debug)]
struct QueueFull;

fn send(client: &MessagingInstrumentation, current: &Context, outcome: impl FnOnce() -> Outcome) -> Headers {
    let mut headers = Headers::new();
    let sent = orders(client).send("send").start(black_box(current), |message| {
        message.partition_id(3);
    });
    sent.inject(&mut headers);
    sent.finish(&outcome());
    headers
}

fn process(client: &MessagingInstrumentation, received: &Headers) -> MessagingOperation {
    let carried = client.extract(black_box(received));
    orders(client).process("process").with_message(&carried).start(&Context::new(), |message| {
        message.partition_id(3);
    })
}

fn overhead(bench: &mut Bench) {
    #[cfg(feature = "bound-metrics")]
    otel_operation::declare_bound_metrics();
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    let options = Options::new().with_propagator(propagator());
    let no_sdk = client(options.clone());
    let messaging = client(options.with_tracer_provider(&tracers).with_meter_provider(&meters));
    for sampled in [true, false] {
        let flags = TraceFlags::default().with_sampled(sampled);
        let span = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::NONE);
        let current = Context::new().with_remote_span_context(span.clone());
        let received: Headers = vec![("traceparent".into(), traceparent(&span))];
        let which = if sampled { "sampled" } else { "unsampled" };

        bench.measure(
            &format!("send/bare/{which}"),
            || (),
            |()| {
                let mut headers = Headers::new();
                let span = black_box(&current).span();
                headers.push(("traceparent".into(), traceparent(span.span_context())));
                black_box(headers);
            },
        );
        let ok = Outcome::ok;
        bench.measure(
            &format!("send/{which}"),
            || (),
            |()| {
                black_box(send(&messaging, &current, ok));
            },
        );
        bench.measure(
            &format!("send/refused/{which}"),
            || (),
            |()| {
                black_box(send(&messaging, &current, || Outcome::from_variant(&QueueFull)));
            },
        );
        let handle = |client, fails: bool| {
            let handler = process(client, &received);
            handler.run(async move { if fails { Err(QueueFull) } else { Ok(()) } })
        };
        bench.measure_future(&format!("process/{which}"), || (), |()| handle(&messaging, false));
        bench.measure_future(&format!("process/failed/{which}"), || (), |()| handle(&messaging, true));
        if !sampled {
            bench.measure(
                "send/no SDK",
                || (),
                |()| {
                    black_box(send(&no_sdk, &current, ok));
                },
            );
            bench.measure_future("process/no SDK", || (), |()| handle(&no_sdk, false));
        }
    }
    // The classification alone.
    let failed: Result<Infallible, QueueFull> = Err(QueueFull);
    bench.measure("outcome/handler", || (), |()| drop(black_box(failed.outcome())));
    bench.measure("outcome/variant", || (), |()| drop(black_box(Outcome::from_variant(&QueueFull))));
}

fn main() -> std::io::Result<()> {
    bench::main(overhead)
}
