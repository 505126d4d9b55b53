//! A transport in memory and its instrumentation, which is right unless it is given a fault.

use std::{
    pin::Pin,
    thread,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    metrics::{Counter, Histogram, MeterProvider, UpDownCounter},
    trace::{FutureExt, Link, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use otel_testing::{Recorder, conformance::Role};

use super::{fault::Fault, headers::Headers, layers::Carrier};

pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: String,
    pub(crate) host: String,
    pub(crate) headers: Headers,
    /// The context of the layer around, for one that runs on another task.
    pub(crate) around: Option<Context>,
}

/// A stream of chunks, each made when it is asked for.
pub(crate) trait Body: Send {
    fn next(&mut self) -> Option<Result<Vec<u8>, String>>;

    /// The format of the response, as the peer names it.
    fn format(&self) -> Option<&'static [u8]> {
        None
    }
}

/// The instrumentation of one side.
#[derive(Clone)]
pub(crate) struct Toy {
    pub(crate) recorder: Recorder,
    pub(crate) role: Role,
    pub(crate) public_endpoint: bool,
    /// Leaves every operation out.
    pub(crate) filtered: bool,
    pub(crate) hook_panics: bool,
    pub(crate) propagator_panics: bool,
    /// Writes the operation's context into the request.
    pub(crate) keeps_together: bool,
    pub(crate) fault: Option<Fault>,
}

impl Toy {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Puts instrumentation around a handler (inbound) or a way to the peer (outbound).
    pub(crate) fn call(
        self,
        mut request: Request,
        handler: impl FnOnce(Request) -> Reply<Box<dyn Body>>,
    ) -> Reply<Box<dyn Body>> {
        if self.has(Fault::FormatDecides) && header(&request, "content-type").is_some_and(is_foreign) {
            return handler(request);
        }
        if self.filtered && !self.has(Fault::FilteredIsRecorded) {
            return self.leave_out(request, handler);
        }
        if !self.run_hook() && self.has(Fault::HookCostsRecord) {
            return handler(request);
        }
        if let Some(cx) = self.operation_around(&request) {
            if self.has(Fault::MeasuresEachLayer) {
                let meter = self.recorder.meter_provider().meter("toy");
                meter.u64_counter("toy.calls").build().add(1, &[]);
            }
            let _attached = cx.clone().attach();
            return Box::pin(handler(request).with_context(cx));
        }
        let operation = Operation::start(self.clone(), &request);
        let mut cx = operation.cx.clone();
        if self.role == Role::Outbound {
            let injected = if self.has(Fault::InjectsParent) { Context::current() } else { cx.clone() };
            let id = |cx: &Context| cx.span().span_context().span_id();
            let owns_span = id(&cx) != id(&Context::current());
            if owns_span || request.headers.is_empty() || self.has(Fault::ReplacesWithoutSpan) {
                self.inject(&injected, &mut request.headers);
            }
        }
        cx = cx.with_value(Carrier::new(&request.headers));
        request.around = (self.keeps_together && !self.has(Fault::ForgetsTask)).then(|| cx.clone());
        let reply = {
            let _attached = (!self.has(Fault::NotAttachedAtCall)).then(|| cx.clone().attach());
            handler(request)
        };
        Box::pin(async move {
            let around = if self.has(Fault::NotAttachedAfterAwait) { Context::new() } else { cx };
            let mut operation = operation;
            match reply.with_context(around).await {
                Ok(body) if self.has(Fault::EndsAtHead) => {
                    operation.finish(None);
                    Ok(body)
                }
                Ok(inner) if self.has(Fault::FormatDecides) && inner.format().is_some_and(is_foreign) => {
                    operation.finished = true;
                    operation.measure_in_flight(true, false);
                    operation.cx.span().end();
                    Ok(inner)
                }
                Ok(inner) => Ok(Box::new(TracedBody { inner, operation }) as Box<dyn Body>),
                Err(text) => {
                    let error = if self.has(Fault::ErrorTextAsType) { &text } else { "handler" };
                    operation.finish(Some(error));
                    if self.has(Fault::SwallowsError) { Err(String::new()) } else { Err(text) }
                }
            }
        })
    }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

fn is_foreign(format: &[u8]) -> bool {
    format != b"application/grpc"
}

struct TracedBody {
    inner: Box<dyn Body>,
    operation: Operation,
}

impl Body for TracedBody {
    fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        let attached = !self.operation.toy.has(Fault::NotAttachedInBody);
        let _attached = attached.then(|| self.operation.cx.clone().attach());
        let mut chunk = self.inner.next();
        match &mut chunk {
            None => self.operation.finish(None),
            Some(Err(_)) => self.operation.finish(Some("body")),
            Some(Ok(bytes)) if self.operation.toy.has(Fault::ChangesPayload) => bytes.push(b'!'),
            Some(Ok(_)) => {}
        }
        chunk
    }
}

struct Operation {
    toy: Toy,
    cx: Context,
    clock: Instant,
    started: SystemTime,
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    calls: Counter<u64>,
    attributes: Vec<KeyValue>,
    finished: bool,
}

impl Operation {
    fn start(toy: Toy, request: &Request) -> Self {
        let started = SystemTime::now();
        let mut parent = match toy.role {
            Role::Inbound => toy.extract(&request.headers),
            Role::Outbound if toy.has(Fault::IgnoresCaller) => Context::new(),
            Role::Outbound => Context::current(),
        };
        let mut links = Vec::new();
        if toy.public_endpoint && !toy.has(Fault::TrustsPublic) {
            if !toy.has(Fault::NoPublicLink) {
                links.push(Link::with_context(parent.span().span_context().clone()));
            }
            let untrusted = std::mem::take(&mut parent);
            if toy.has(Fault::KeepsPublicBaggage) {
                let members = untrusted.baggage().iter();
                let members: Vec<_> =
                    members.map(|(k, (v, _))| KeyValue::new(k.clone(), v.clone())).collect();
                parent = parent.with_baggage(members);
            }
        }
        if toy.has(Fault::SamplesAnew) && !parent.span().span_context().is_sampled() {
            parent = Context::new();
        }
        let known = request.operation == "greet";
        let name = if known { "toy greet" } else { "toy" };
        let name = if toy.has(Fault::OperationAsName) {
            format!("toy {}", request.operation)
        } else {
            name.to_owned()
        };
        let mut attributes = vec![KeyValue::new("toy.operation", if known { "greet" } else { "_OTHER" })];
        let text = |name: &str| {
            header(request, name).map_or(String::new(), |value| String::from_utf8_lossy(value).into_owned())
        };
        let name = match header(request, "content-type") {
            Some(b"application/grpc") if toy.has(Fault::FormatAsName) => "toy rpc".to_owned(),
            _ => name,
        };
        match toy.fault {
            Some(Fault::OperationOnMetric) => {
                attributes.push(KeyValue::new("toy.raw", request.operation.clone()));
            }
            Some(Fault::OperationHashOnMetric) => {
                let hash =
                    request.operation.bytes().fold(0_i64, |hash, byte| hash * 31 % 10_007 + i64::from(byte));
                attributes.push(KeyValue::new("toy.hash", hash));
            }
            Some(Fault::HostOnMetric) => {
                attributes.push(KeyValue::new("server.address", request.host.clone()))
            }
            Some(Fault::SecretOnMetric) => attributes.push(KeyValue::new("toy.cookie", text("cookie"))),
            _ => {}
        }
        let kind = match toy.role {
            Role::Inbound => SpanKind::Server,
            Role::Outbound => SpanKind::Client,
        };
        let tracer = toy.recorder.tracer_provider().tracer("toy");
        let mut on_span = vec![KeyValue::new("server.address", request.host.clone())];
        if toy.has(Fault::SecretOnSpan) {
            on_span.push(KeyValue::new("toy.authorization", text("authorization")));
        }
        let builder = tracer
            .span_builder(name.clone())
            .with_kind(kind)
            .with_start_time(started)
            .with_links(links)
            .with_attributes(on_span);
        if toy.has(Fault::TwoSpans) {
            let cx = parent.with_span(builder.clone().start_with_context(&tracer, &parent));
            cx.span().end();
        }
        let mut cx = if toy.has(Fault::NoSpan) {
            parent.clone()
        } else {
            parent.with_span(builder.start_with_context(&tracer, &parent))
        };
        if !cx.span().span_context().is_valid() && !toy.has(Fault::InvalidWhenShutDown) {
            cx = parent;
        }
        let meter = toy.recorder.meter_provider().meter("toy");
        let active = meter.i64_up_down_counter("toy.active").build();
        let sampled = cx.span().is_recording();
        if toy.counts_at_start(sampled) {
            active.add(1, &[]);
        }
        let calls = meter.u64_counter("toy.calls").build();
        if toy.has(Fault::OtherMetric) {
            meter.u64_counter("toy.other").build().add(1, &[]);
        }
        let duration = meter.f64_histogram("toy.duration").with_unit("s").build();
        let clock = Instant::now();
        Self { toy, cx, clock, started, duration, active, calls, attributes, finished: false }
    }

    fn finish(&mut self, error: Option<&str>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.record(error, false);
    }

    fn record(&mut self, error: Option<&str>, dropped: bool) {
        let elapsed = self.clock.elapsed();
        let error = match self.toy.fault {
            Some(Fault::IgnoresErrors) => None,
            Some(Fault::SuccessIsError) => Some("always"),
            _ => error,
        };
        self.measure(elapsed, error, dropped);
        let span = self.cx.span();
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error.to_owned()));
            if !self.toy.has(Fault::ErrorWithoutStatus) {
                span.set_status(Status::error(""));
            }
        }
        if self.toy.has(Fault::NeverEnds) {
            // The span stays open for as long as its context is kept.
            std::mem::forget(self.cx.clone());
            return;
        }
        if dropped && self.toy.has(Fault::EndsByDrop) {
            return;
        }
        let end = || span.end_with_timestamp(self.started + elapsed);
        self.toy.guarded(Fault::ProcessorReachesCaller, end);
        if self.toy.has(Fault::EndsTwice) {
            span.end();
        }
    }

    fn measure(&mut self, elapsed: Duration, error: Option<&str>, dropped: bool) {
        let sampled = self.cx.span().is_recording();
        self.measure_in_flight(sampled, dropped);
        match self.toy.fault {
            Some(Fault::CounterNeedsSampling) if !sampled => {}
            Some(Fault::CounterOnlyOnSuccess) if error.is_some() => {}
            Some(Fault::CounterTwice) => [1, 1].iter().for_each(|step| self.calls.add(*step, &[])),
            Some(Fault::CounterByTwo) => self.calls.add(2, &[]),
            Some(Fault::OneCounterIsBound) => self.calls.bind(&[]).add(1),
            _ => self.calls.add(1, &[]),
        }
        if self.toy.has(Fault::NoMetric)
            || (dropped && self.toy.has(Fault::NoMetricWhenDropped))
            || (!sampled && self.toy.has(Fault::MetricNeedsSampling))
        {
            return;
        }
        if let Some(error) = error {
            let error = if self.toy.has(Fault::OtherErrorOnMetric) { "other" } else { error };
            self.attributes.push(KeyValue::new("error.type", error.to_owned()));
        }
        let extra = if self.toy.has(Fault::OtherDuration) { 0.001 } else { 0.0 };
        self.duration.record(elapsed.as_secs_f64() + extra, &self.attributes);
        if self.toy.has(Fault::MetricTwice) || (!sampled && self.toy.has(Fault::MetricTwiceWithoutSpan)) {
            self.duration.record(0.0, &self.attributes);
        }
    }
}

impl Toy {
    fn counts_at_start(&self, sampled: bool) -> bool {
        match self.fault {
            Some(Fault::InFlightNeedsSampling) => sampled,
            Some(Fault::InFlightAtEnd | Fault::InFlightEndsFirst) => false,
            _ => true,
        }
    }
}

impl Operation {
    fn measure_in_flight(&self, sampled: bool, dropped: bool) {
        let steps: &[i64] = match self.toy.fault {
            Some(Fault::LeaksInFlight) if dropped => &[],
            Some(Fault::InFlightNeedsSampling) if !sampled => &[],
            Some(Fault::InFlightEndsTwice) => &[-1, -1],
            Some(Fault::InFlightPairTwice) => &[-1, 1, -1],
            Some(Fault::InFlightAtEnd) => &[1, -1],
            Some(Fault::InFlightEndsFirst) => &[-1, 1],
            Some(Fault::InFlightByTwo) => &[1, -2],
            _ => &[-1],
        };
        steps.iter().for_each(|step| self.active.add(*step, &[]));
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.record(Some(if thread::panicking() { "panic" } else { "cancelled" }), true);
        }
    }
}
