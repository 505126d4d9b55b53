//! The cost of sending and processing a message, compared with sending it without instrumentation, under a sampled
//! and an unsampled parent. The baseline writes one `traceparent` by hand.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel_messaging::{DestinationDescription, MessagingInstrumentation, Options};
use otel_operation::Outcome;
use otel_propagation::{CompositePropagator, TraceContextPropagator};

type Headers = Vec<(String, String)>;

fn traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags())
}

fn overhead(c: &mut Criterion) {
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let tracers = SdkTracerProvider::builder().with_sampler(sampler).build();
    let meters = SdkMeterProvider::builder().build();
    let options = Options::new()
        .with_tracer_provider(&tracers)
        .with_meter_provider(&meters)
        .with_propagator(CompositePropagator::empty().with_trace_context(TraceContextPropagator::new()));
    let messaging =
        MessagingInstrumentation::builder("bench", InstrumentationScope::builder("bench").build())
            .build(options);
    for sampled in [true, false] {
        let flags = TraceFlags::default().with_sampled(sampled);
        let span = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::NONE);
        let current = Context::new().with_remote_span_context(span.clone());
        let received: Headers = vec![("traceparent".into(), traceparent(&span))];
        let which = if sampled { "sampled" } else { "unsampled" };

        c.bench_function(&format!("send/bare/{which}"), |b| {
            b.iter(|| {
                let mut headers = Headers::new();
                let span = black_box(&current).span();
                headers.push(("traceparent".into(), traceparent(span.span_context())));
                black_box(headers)
            });
        });
        c.bench_function(&format!("send/{which}"), |b| {
            b.iter(|| {
                let mut headers = Headers::new();
                let orders =
                    messaging.destination(&["orders"], || DestinationDescription::new().with_name("orders"));
                let sent = orders.send("send").start(black_box(&current), |message| {
                    message.partition_id(3);
                });
                sent.inject(&mut headers);
                sent.finish(&Outcome::ok());
                black_box(headers)
            });
        });
        c.bench_function(&format!("process/{which}"), |b| {
            b.iter(|| {
                let orders =
                    messaging.destination(&["orders"], || DestinationDescription::new().with_name("orders"));
                let carried = messaging.extract(black_box(&received));
                let processed =
                    orders.process("process").with_message(&carried).start(&Context::new(), |message| {
                        message.partition_id(3);
                    });
                drop(black_box(processed.attach()));
                processed.finish(&Outcome::ok());
            });
        });
    }
}

criterion_group!(benches, overhead);
criterion_main!(benches);
