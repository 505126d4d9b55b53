//! Global state: OpenTelemetry's propagator and our typed view of it, and the declaration that trace ids are random. A
//! process of its own; its tests take turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::noop::NoopTextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, global};
use opentelemetry_sdk::propagation::TraceContextPropagator as SdkTraceContext;
use otel_propagation::{
    B3Propagator, CompositePropagator, PassThroughPropagator, PropagatorHandle, TraceContextPropagator,
    declare_random_trace_ids, extract, inject, set_global,
};

const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";
const HEADERS: [(&str, &str); 4] = [
    ("traceparent", PARENT),
    ("tracestate", "foo@@bar=1"),
    ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
    ("x-a", "1"),
];

fn turn() -> MutexGuard<'static, ()> {
    static TURNS: Mutex<()> = Mutex::new(());
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn names(propagation: &PropagatorHandle) -> Vec<String> {
    let mut out = Vec::new();
    propagation.inject(&propagation.extract(&HEADERS), &mut out);
    out.sort();
    out.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_global_is_looked_up_at_every_use() {
    let _turn = turn();
    let propagation = PropagatorHandle::global();
    global::set_text_map_propagator(NoopTextMapPropagator::new());
    assert!(propagation.is_noop());
    assert_eq!(names(&propagation), <[&str; 0]>::default());

    set_global(CompositePropagator::empty().with_trace_context(TraceContextPropagator::new()));
    assert!(!propagation.is_noop());
    assert_eq!(names(&propagation), ["traceparent", "tracestate"]);

    // Replaced behind our back, by one that shares its type with ours, by one of the SDK, and by ours again.
    global::set_text_map_propagator(CompositePropagator::empty().with_b3(B3Propagator::single()));
    assert_eq!(names(&propagation), ["b3"]);
    global::set_text_map_propagator(SdkTraceContext::new());
    assert!(!propagation.is_noop(), "it has no state, but fields");
    assert_eq!(names(&propagation), ["traceparent"]);
    global::set_text_map_propagator(NoopTextMapPropagator::new());
    assert_eq!(names(&propagation), <[&str; 0]>::default());
    set_global(CompositePropagator::empty().with_b3(B3Propagator::multi()));
    assert_eq!(names(&propagation), ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]);

    set_global(CompositePropagator::empty());
    assert_eq!(names(&propagation), <[&str; 0]>::default());
    assert_eq!(names(&PropagatorHandle::default()), <[&str; 0]>::default());
}

#[test]
fn opentelemetry_finds_what_was_installed() {
    let _turn = turn();
    set_global(CompositePropagator::default());
    let fields =
        global::get_text_map_propagator(|global| global.fields().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(fields, ["traceparent", "tracestate", "baggage"]);
}

#[test]
fn the_typed_way_is_taken_while_the_global_is_ours() {
    let _turn = turn();
    // Only the typed way can see that the caller has set a header: an `Injector` cannot tell, and overwrites it. And only
    // the typed way sees a value that is not text: an `Extractor` hides it, and with it that the header is there twice.
    let twice = [("traceparent", &b"\xff"[..]), ("traceparent", PARENT.as_bytes())];
    let propagator =
        CompositePropagator::default().with_pass_through(PassThroughPropagator::new(["x-a"]).unwrap());
    let sent = || {
        let mut out = vec![("x-a".to_owned(), "set".to_owned())];
        inject(&extract(&HEADERS), &mut out);
        out.iter().find(|(name, _)| name == "x-a").map(|(_, value)| value.clone())
    };
    set_global(propagator.clone());
    assert_eq!(sent().as_deref(), Some("set"));
    assert!(!extract(&twice).has_active_span());
    /// Ours, but not known to be.
    #[derive(Debug)]
    struct Wrapped(CompositePropagator);
    impl TextMapPropagator for Wrapped {
        fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
            self.0.inject_context(cx, injector);
        }
        fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
            self.0.extract_with_context(cx, extractor)
        }
        fn fields(&self) -> FieldIter<'_> {
            static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| ["traceparent".to_owned()]);
            FieldIter::new(&*FIELDS)
        }
    }
    global::set_text_map_propagator(Wrapped(propagator));
    assert_eq!(sent().as_deref(), Some("1"));
    assert!(extract(&twice).has_active_span());
}

#[test]
fn nothing_installed_extracts_nothing_even_under_a_current_span() {
    let _turn = turn();
    global::set_text_map_propagator(NoopTextMapPropagator::new());
    let current = PropagatorHandle::new(TraceContextPropagator::new()).extract(&HEADERS);
    let _guard = current.attach();
    assert!(!extract(&HEADERS).has_active_span());
    set_global(CompositePropagator::default());
    assert!(!extract(&[("accept", "*/*")]).has_active_span());
}

#[test]
fn the_global_can_be_replaced_while_it_is_used() {
    let _turn = turn();
    set_global(CompositePropagator::default());
    let stop = AtomicBool::new(false);
    let used = std::thread::scope(|scope| {
        let using = scope.spawn(|| {
            let mut used = 0_u32;
            // At least once, also where this thread starts late.
            while used == 0 || !stop.load(Ordering::Relaxed) {
                let mut out = HashMap::new();
                inject(&extract(&HEADERS), &mut out);
                used += 1;
            }
            used
        });
        for index in 0..2000 {
            match index % 4 {
                0 => set_global(CompositePropagator::empty().with_b3(B3Propagator::multi())),
                1 => global::set_text_map_propagator(TraceContextPropagator::new()),
                2 => set_global(CompositePropagator::empty()),
                _ => set_global(CompositePropagator::default()),
            }
        }
        stop.store(true, Ordering::Relaxed);
        using.join().unwrap()
    });
    assert!(used > 0);
    global::set_text_map_propagator(SdkTraceContext::new());
    let cx = extract(&[HEADERS[0], ("baggage", "a=1")]);
    assert!(cx.span().span_context().is_valid() && cx.baggage().is_empty());
}

/// Resets the declaration also when an assertion fails.
struct Declared;

impl Declared {
    fn new() -> Self {
        declare_random_trace_ids(true);
        Self
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        declare_random_trace_ids(false);
    }
}

fn flags(cx: &Context) -> String {
    let mut out = Vec::new();
    PropagatorHandle::new(TraceContextPropagator::new()).inject(cx, &mut out);
    out[0].1[53..].to_owned()
}

fn local(cx: &Context, trace_id: TraceId, flags: u8) -> Context {
    let span = SpanContext::new(trace_id, SpanId::from(9), TraceFlags::new(flags), false, TraceState::NONE);
    cx.with_remote_span_context(span)
}

#[test]
fn roots_are_random_only_once_that_is_declared() {
    let _turn = turn();
    let root = local(&Context::new(), TraceId::from(7), 1);
    assert_eq!(flags(&root), "01");
    let _declared = Declared::new();
    assert_eq!(flags(&root), "03");
    assert_eq!(flags(&local(&Context::new(), TraceId::from(7), 0)), "02");
}

#[test]
fn what_was_received_is_not_made_random_by_the_declaration() {
    let _turn = turn();
    let _declared = Declared::new();
    for (sent, expected) in [("00", "01"), ("01", "01"), ("02", "03"), ("03", "03")] {
        let traceparent = format!("{}{sent}", &PARENT[..53]);
        let incoming =
            PropagatorHandle::new(TraceContextPropagator::new()).extract(&[("traceparent", traceparent)]);
        assert_eq!(flags(&incoming), sent);
        let trace_id = incoming.span().span_context().trace_id();
        assert_eq!(flags(&local(&incoming, trace_id, 1)), expected);
        // A trace that was begun here while serving it is ours.
        assert_eq!(flags(&local(&incoming, TraceId::from(7), 1)), "03");
    }
    let b3 = PropagatorHandle::new(B3Propagator::single()).extract(&[HEADERS[2]]);
    assert_eq!(flags(&local(&b3, b3.span().span_context().trace_id(), 1)), "01");
    let by_hand =
        SpanContext::new(TraceId::from(7), SpanId::from(7), TraceFlags::SAMPLED, true, TraceState::NONE);
    assert_eq!(flags(&Context::new().with_remote_span_context(by_hand)), "01");
}
