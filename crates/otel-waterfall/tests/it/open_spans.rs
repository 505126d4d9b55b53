//! `OpenSpans`: the end of a span wakes the tasks that wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_waterfall::OpenSpans;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_last_end_wakes_whoever_waits() {
    let open_spans = OpenSpans::new();
    let providers = [(); 2].map(|()| {
        let counting = open_spans.clone();
        SdkTracerProvider::builder().with_span_processor(counting).build()
    });
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut cx = Context::from_waker(&waker);
    let mut none = pin!(open_spans.none());
    assert_eq!(none.as_mut().poll(&mut cx), Poll::Ready(()), "nothing has begun");

    let [mut first, second] = providers.each_ref().map(|provider| provider.tracer("test").start("span"));
    let mut one = pin!(open_spans.at_most(1));
    let mut none = pin!(open_spans.none());
    assert_eq!(one.as_mut().poll(&mut cx), Poll::Pending);
    assert_eq!(none.as_mut().poll(&mut cx), Poll::Pending);
    first.end();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "one task, woken once");
    assert_eq!(one.as_mut().poll(&mut cx), Poll::Ready(()));
    assert_eq!(none.as_mut().poll(&mut cx), Poll::Pending);
    // Dropping a span ends it.
    drop(second);
    assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    assert_eq!(none.as_mut().poll(&mut cx), Poll::Ready(()));
}
