//! What the toy does beside recording: layers around one operation, operations that are left out, and panics of others.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use opentelemetry::{Context, metrics::MeterProvider, propagation::TextMapPropagator, trace::FutureExt};
use otel_testing::conformance::{PanickingPropagator, Role};

use super::{
    fault::Fault,
    headers::{self, Headers},
    toy::{Body, Reply, Request, Toy},
};

/// Marks a context as that of an operation with this `traceparent`: layers inside that have the same one join it.
#[derive(PartialEq)]
pub(super) struct Carrier(Option<Vec<u8>>);

impl Carrier {
    pub(super) fn new(headers: &Headers) -> Self {
        let parent = headers.iter().find(|(name, _)| name == "traceparent");
        Self(parent.map(|(_, value)| value.clone()))
    }
}

impl Toy {
    /// An operation that is not recorded passes the context on.
    pub(super) fn leave_out(
        &self,
        mut request: Request,
        handler: impl FnOnce(Request) -> Reply<Box<dyn Body>>,
    ) -> Reply<Box<dyn Body>> {
        if self.has(Fault::FilteredIsMeasured) {
            self.recorder.meter_provider().meter("toy").u64_counter("toy.calls").build().add(1, &[]);
        }
        let cx = match self.role {
            Role::Outbound => Context::current(),
            Role::Inbound if self.public_endpoint && self.has(Fault::JoinsAmbient) => Context::current(),
            Role::Inbound if self.public_endpoint && !self.has(Fault::FilterTrustsPublic) => Context::new(),
            Role::Inbound if self.has(Fault::FilterEndsTrace) => Context::new(),
            Role::Inbound => self.extract(&request.headers),
        };
        if self.role == Role::Outbound && !self.has(Fault::FilterEndsTrace) {
            self.inject(&cx, &mut request.headers);
        }
        let reply = {
            let _attached = cx.clone().attach();
            handler(request)
        };
        if self.has(Fault::NotAttachedInBody) {
            return Box::pin(reply.with_context(cx));
        }
        Box::pin(async move {
            let inner = reply.with_context(cx.clone()).await?;
            Ok(Box::new(BodyInContext { inner, cx }) as Box<dyn Body>)
        })
    }

    /// Returns false if the hook panicked.
    pub(super) fn run_hook(&self) -> bool {
        self.guarded(Fault::HookReachesCaller, || {
            assert!(!self.hook_panics, "the hook panics");
            true
        })
    }

    pub(super) fn extract(&self, headers: &Headers) -> Context {
        self.guarded(Fault::PropagatorReachesCaller, || {
            if self.propagator_panics {
                return PanickingPropagator.extract(&HashMap::new());
            }
            headers::extract(headers, self.fault)
        })
    }

    pub(super) fn inject(&self, cx: &Context, headers: &mut Headers) {
        self.guarded(Fault::PropagatorReachesCaller, || {
            if self.propagator_panics {
                PanickingPropagator.inject_context(cx, &mut HashMap::new());
            }
            headers::inject(cx, headers, self.fault);
        });
    }

    /// Runs code that may panic; the default takes the place of its result.
    pub(super) fn guarded<T: Default>(&self, fault: Fault, code: impl FnOnce() -> T) -> T {
        if self.has(fault) { code() } else { catch_unwind(AssertUnwindSafe(code)).unwrap_or_default() }
    }

    /// The context of the layer around this one, if both are around the same operation.
    pub(super) fn operation_around(&self, request: &Request) -> Option<Context> {
        let cx = request.around.clone().unwrap_or_else(Context::current);
        let same = match cx.get::<Carrier>() {
            Some(carrier) => *carrier == Carrier::new(&request.headers) || self.has(Fault::JoinsAlways),
            None => false,
        };
        (same && !self.has(Fault::StacksTwice)).then_some(cx)
    }
}

/// The body of an operation that is not recorded.
struct BodyInContext {
    inner: Box<dyn Body>,
    cx: Context,
}

impl Body for BodyInContext {
    fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        let _attached = self.cx.clone().attach();
        self.inner.next()
    }
}
