//! Panics of hooks, propagators and the SDK, which never reach the request.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, Span, SpanData, SpanProcessor,
};
use otel_http::{ClientLayer, LayerOptions, ServerLayer};
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{TRACEPARENT, client_layer, server_layer};

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://api.example/").header("traceparent", TRACEPARENT).body(Empty::new()).unwrap()
}

async fn ok(_: Request<Empty<Bytes>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

async fn serve(layer: ServerLayer) {
    let response = layer.layer(tower::service_fn(ok)).oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap();
}

async fn send(layer: ClientLayer) {
    let response = layer.layer(tower::service_fn(ok)).oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_hook_of_a_server_that_panics_leaves_the_request_recorded() {
    for hook in ["request", "response", "filter", "name", "public"] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder);
        serve(match hook {
            "request" => layer.with_request_attributes(|_, list| {
                list.push(KeyValue::new("before", 1));
                panic!("hook")
            }),
            "response" => layer.with_response_attributes(|_, _| panic!("hook")),
            "filter" => layer.with_filter(|_| panic!("hook")),
            "name" => layer.with_span_name(|_, _| panic!("hook")),
            _ => layer.with_public_endpoint_if(|_| panic!("hook")),
        })
        .await;
        let span = recorder.spans().pop().unwrap();
        assert_eq!(
            (&*span.name, recorder.metric("http.server.request.duration").count()),
            ("GET", 1),
            "{hook}"
        );
        assert_eq!(
            span.links.len(),
            usize::from(hook == "public"),
            "a caller that cannot be judged is untrusted"
        );
        assert_eq!(span.attributes.iter().any(|kv| kv.key.as_str() == "before"), hook == "request");
        assert!(span.attributes.iter().any(|kv| kv.key.as_str() == "url.path"), "{hook}");
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn a_hook_of_a_client_that_panics_leaves_the_call_recorded() {
    for hook in ["request", "response", "filter", "name"] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder);
        send(match hook {
            "request" => layer.with_request_attributes(|_, _| panic!("hook")),
            "response" => layer.with_response_attributes(|_, _| panic!("hook")),
            "filter" => layer.with_filter(|_| panic!("hook")),
            _ => layer.with_span_name(|_, _| panic!("hook")),
        })
        .await;
        let durations = recorder.metric("http.client.request.duration").count();
        assert_eq!((&*recorder.spans()[0].name, durations), ("GET", 1), "{hook}");
        recorder.assert_clean();
    }
}

#[derive(Debug)]
struct PanickingPropagator;

impl TextMapPropagator for PanickingPropagator {
    fn inject_context(&self, _: &Context, _: &mut dyn Injector) {
        panic!("propagator");
    }

    fn extract_with_context(&self, _: &Context, _: &dyn Extractor) -> Context {
        panic!("propagator");
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

#[tokio::test]
async fn a_propagator_that_panics_costs_the_context_alone() {
    let recorder = Recorder::new();
    serve(server_layer(&recorder).with_propagator(PanickingPropagator)).await;
    send(client_layer(&recorder).with_propagator(PanickingPropagator)).await;
    assert_eq!(recorder.spans().len(), 2);
    recorder.assert_clean();
}

#[derive(Debug)]
struct PanickingProcessor(&'static str);

impl SpanProcessor for PanickingProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {
        assert_ne!(self.0, "on_start");
    }

    fn on_end(&self, _: SpanData) {
        assert_ne!(self.0, "on_end");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct PanickingSampler(bool);

impl ShouldSample for PanickingSampler {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        assert!(!self.0, "sampler");
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: Default::default(),
        }
    }
}

/// Whatever the handler does, the request has its own end, one duration and nothing left in flight.
#[tokio::test]
async fn an_sdk_that_panics_changes_no_outcome_and_no_count() {
    for place in ["on_start", "on_end", "sampler"] {
        for handler in ["returns", "panics", "is dropped"] {
            let recorder = Recorder::new();
            let provider = SdkTracerProvider::builder()
                .with_sampler(PanickingSampler(place == "sampler"))
                .with_span_processor(PanickingProcessor(place))
                .build();
            let layer = server_layer(&recorder).with_tracer_provider(&provider);
            let service = layer.layer(tower::service_fn(move |request| async move {
                match handler {
                    "panics" => panic!("handler"),
                    "is dropped" => std::future::pending().await,
                    _ => ok(request).await,
                }
            }));
            let (dropped, is_dropped) = (handler == "is dropped", tokio::sync::Notify::new());
            let output = tokio::spawn(async move {
                let mut call = Box::pin(async move {
                    service.oneshot(request()).await.unwrap().into_body().collect().await.unwrap();
                });
                if dropped {
                    is_dropped.notify_one();
                    tokio::select! { biased; () = &mut call => true, () = is_dropped.notified() => false }
                } else {
                    call.await;
                    true
                }
            })
            .await;
            assert_eq!(
                output.ok(),
                [Some(true), None, Some(false)][match handler {
                    "returns" => 0,
                    "panics" => 1,
                    _ => 2,
                }],
                "{place} {handler}"
            );
            let durations = recorder.metric("http.server.request.duration");
            assert_eq!(durations.count(), 1, "{place} {handler}");
            let class = [None, Some("panic"), Some("cancelled")][match handler {
                "returns" => 0,
                "panics" => 1,
                _ => 2,
            }];
            if let Some(class) = class {
                assert_eq!(durations.with("error.type", class).count(), 1, "{place} {handler}");
            }
            recorder.assert_nothing_in_flight();
        }
    }
}

/// A sum of the declared sizes would overflow in the SDK while the handler's panic unwinds: a second panic there aborts.
#[tokio::test]
async fn a_handler_that_panics_under_a_hostile_content_length_does_not_abort_the_process() {
    let recorder = Recorder::new();
    let panics = tower::service_fn(|_: Request<Empty<Bytes>>| async {
        if true {
            panic!("handler")
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let service = server_layer(&recorder).with_body_sizes(true).layer(panics);
    for _ in 0..3 {
        let mut request = request();
        request.headers_mut().insert("content-length", "18446744073709551613".parse().unwrap());
        assert!(tokio::spawn(service.clone().oneshot(request)).await.unwrap_err().is_panic());
    }
    let durations = recorder.metric("http.server.request.duration").with("error.type", "panic");
    assert_eq!((durations.count(), recorder.spans().len()), (3, 3), "{}", recorder.metrics());
    assert_eq!(recorder.metric("http.server.request.body.size").sum(), 0.0, "{}", recorder.metrics());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_call_that_is_dropped_by_a_panic_next_to_it_has_not_panicked() {
    let recorder = Recorder::new();
    let client = client_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    }));
    let task = tokio::spawn(async move {
        let bug = async {
            tokio::task::yield_now().await;
            panic!("a bug beside the call")
        };
        let _ = tokio::join!(client.oneshot(request()), bug);
    });
    assert!(task.await.unwrap_err().is_panic());
    let tree = recorder.tree();
    assert!(tree.starts_with("CLIENT GET") && !tree.contains("error.type: panic"), "{tree}");
    recorder.assert_clean();
}
