//! The client layer as a `reqwest-middleware` middleware, alone and inside a retry middleware.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanId, Status, TraceContextExt, Tracer, TracerProvider};
use otel_http::{EndOn, LayerOptions as _, UrlTemplate};
use otel_testing::Recorder;
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{client_layer, serve};

#[tokio::test]
async fn a_call_is_a_span_and_carries_it_on() {
    let recorder = Recorder::new();
    let echo = |headers: HeaderMap| async move { headers["traceparent"].to_str().unwrap().to_owned() };
    let address = serve(Router::new().route("/users/{id}", get(echo))).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    let root = recorder.tracer_provider().tracer("test").start("root");
    let cx = opentelemetry::Context::new().with_span(root);
    let call = client
        .get(format!("http://user:secret@{address}/users/7"))
        .with_extension(UrlTemplate("/users/{id}".into()))
        .send();
    let sent = call.with_context(cx.clone()).await.unwrap().text().await.unwrap();
    cx.span().end();
    let span = recorder.span("GET /users/{id}");
    assert_eq!(span.parent_span_id, cx.span().span_context().span_id());
    assert!(sent.contains(&span.span_context.span_id().to_string()), "{sent}");
    let tree = recorder.tree();
    assert!(tree.contains("http.response.status_code: 200"), "{tree}");
    assert!(!tree.contains("secret"), "{tree}");
    recorder.assert_clean();
}

#[derive(Clone)]
struct Unrecorded;

#[tokio::test]
async fn a_filter_sees_the_extensions_of_the_request() {
    let recorder = Recorder::new();
    let address = serve(Router::new().route("/", get(|| async {}))).await;
    let layer = client_layer(&recorder);
    let layer = layer.with_filter(|head| head.extensions.get::<Unrecorded>().is_none());
    let client = ClientBuilder::new(reqwest::Client::new()).with(layer).build();
    client.get(format!("http://{address}/")).with_extension(Unrecorded).send().await.unwrap();
    assert_eq!(recorder.spans().len(), 0);
    client.get(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(recorder.spans().len(), 1);
    recorder.assert_clean();
}

type Attempts = Arc<Mutex<Vec<usize>>>;

/// A handler that fails twice, and the numbers of `traceparent` headers that it saw.
fn flaky() -> (Attempts, impl Fn(HeaderMap) -> std::future::Ready<StatusCode> + Clone + Send + Sync + 'static)
{
    let attempts = Attempts::default();
    let answer = {
        let attempts = Arc::clone(&attempts);
        move |headers: HeaderMap| {
            let mut attempts = attempts.lock().unwrap();
            attempts.push(headers.get_all("traceparent").iter().count());
            let failed = attempts.len() < 3;
            std::future::ready(if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
        }
    };
    (attempts, answer)
}

fn retries() -> ExponentialBackoff {
    ExponentialBackoff::builder()
        .retry_bounds(std::time::Duration::from_millis(1), std::time::Duration::from_millis(2))
        .build_with_max_retries(3)
}

#[tokio::test]
async fn each_attempt_inside_a_retry_is_a_span_with_its_number() {
    let recorder = Recorder::new();
    let (parents, answer) = flaky();
    let address = serve(Router::new().route("/", get(answer))).await;
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(retries()))
        .with(client_layer(&recorder))
        .build();
    assert_eq!(client.get(format!("http://{address}/")).send().await.unwrap().status(), 200);
    let seen: Vec<_> = recorder
        .spans()
        .iter()
        .map(|span| {
            let get = |key: &str| {
                span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
            };
            (get("http.request.resend_count"), get("error.type"))
        })
        .collect();
    let error = || Some("503".to_owned());
    assert_eq!(seen, [(None, error()), (Some("1".into()), error()), (Some("2".into()), None)]);
    assert_eq!(*parents.lock().unwrap(), [1, 1, 1], "each attempt has one `traceparent`");
    recorder.assert_clean();
}

#[tokio::test]
async fn redirects_underneath_belong_to_the_one_span() {
    let recorder = Recorder::new();
    let app = Router::new()
        .route("/old", get(|| async { Redirect::temporary("/new") }))
        .route("/new", get(|| async { "here" }));
    let address = serve(app).await;
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    assert_eq!(
        client.get(format!("http://{address}/old")).send().await.unwrap().text().await.unwrap(),
        "here"
    );
    let tree = recorder.tree();
    assert!(recorder.spans().len() == 1 && tree.contains("/old") && !tree.contains("/new"), "{tree}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_classified() {
    let recorder = Recorder::new();
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = ClientBuilder::new(reqwest::Client::new()).with(client_layer(&recorder)).build();
    client.get(format!("http://{address}/")).send().await.unwrap_err();
    let tree = recorder.tree();
    assert!(tree.contains("error.type: connection_refused"), "{tree}");
    recorder.assert_clean();
}

/// Returns a client with this layer, and no retries.
fn client(layer: otel_http::ClientLayer) -> reqwest_middleware::ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(layer).build()
}

#[tokio::test]
async fn the_end_of_the_body_is_seen_where_the_options_need_it() {
    for end_on in [EndOn::Auto, EndOn::Body, EndOn::Head] {
        let recorder = Recorder::new();
        let address = serve(Router::new().route("/a", get(|| async { "12345" }))).await;
        let layer = client_layer(&recorder).with_body_sizes(true).with_end_on(end_on);
        let url = format!("http://{address}/a");
        let response = client(layer).get(&url).send().await.unwrap();
        assert_eq!(recorder.spans().len(), usize::from(end_on == EndOn::Head), "{end_on:?}");
        // All that the caller reads of the response is as without the layer.
        assert_eq!((response.url().as_str(), response.content_length()), (url.as_str(), Some(5)));
        assert_eq!(response.remote_addr(), Some(address));
        assert_eq!(response.text().await.unwrap(), "12345");
        assert_eq!(recorder.spans().len(), 1);
        assert_eq!(recorder.metric("http.client.response.body.size").sum(), 5.0);
        recorder.assert_clean();
    }
}

#[tokio::test]
async fn the_end_is_chosen_by_the_response() {
    let recorder = Recorder::new();
    let app = Router::new().route(
        "/{status}",
        get(|axum::extract::Path(status): axum::extract::Path<u16>| async move {
            (StatusCode::from_u16(status).unwrap(), "x")
        }),
    );
    let address = serve(app).await;
    let layer =
        client_layer(&recorder).with_end_on_by_response(|head| (head.status == 203).then_some(EndOn::Body));
    let client = client(layer);
    for (status, open) in [(200, 0), (203, 1)] {
        let before = recorder.spans().len();
        let response = client.get(format!("http://{address}/{status}")).send().await.unwrap();
        assert_eq!(recorder.spans().len(), before + 1 - open);
        response.bytes().await.unwrap();
        assert_eq!(recorder.spans().len(), before + 1);
    }
    recorder.assert_clean();
}

#[tokio::test]
async fn a_response_that_breaks_off_midway_is_an_error() {
    let recorder = Recorder::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let client = client(client_layer(&recorder).with_end_on(EndOn::Body));
    let response = client.get(format!("http://{address}/")).send().await.unwrap();
    assert!(response.bytes().await.unwrap_err().is_decode());
    let span = &recorder.spans()[0];
    assert!(matches!(span.status, Status::Error { .. }), "{}", recorder.tree());
    recorder.assert_clean();
}

#[tokio::test]
async fn a_caller_that_gives_up_has_cancelled_the_call() {
    let recorder = Recorder::new();
    let (entered, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let wait = move || {
        entered.send(()).unwrap();
        std::future::pending::<()>()
    };
    let address = serve(Router::new().route("/", get(wait))).await;
    let client = client(client_layer(&recorder));
    let call = client.get(format!("http://{address}/")).send();
    tokio::select! {
        response = call => panic!("{response:?}"),
        arrival = arrivals.recv() => arrival.unwrap(),
    }
    let span = &recorder.spans()[0];
    let error = span.attributes.iter().find(|kv| kv.key.as_str() == "error.type").unwrap();
    assert_eq!(error.value.as_str(), "cancelled");
    assert!(matches!(span.status, Status::Error { .. }));
    recorder.assert_clean();
}

/// Records on drop the span that is current.
struct OnDrop(Arc<Mutex<Option<SpanId>>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(Context::current().span().span_context().span_id());
    }
}

#[async_trait::async_trait]
impl reqwest_middleware::Middleware for OnDrop {
    async fn handle(
        &self,
        _: reqwest::Request,
        _: &mut http::Extensions,
        _: reqwest_middleware::Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let guard = OnDrop(Arc::clone(&self.0));
        std::future::pending::<()>().await;
        drop(guard);
        Err(reqwest_middleware::Error::Middleware(std::fmt::Error.into()))
    }
}

#[tokio::test]
async fn the_context_is_current_while_a_cancelled_call_is_dropped() {
    let (recorder, seen) = (Recorder::new(), Arc::new(Mutex::new(None)));
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(client_layer(&recorder))
        .with(OnDrop(Arc::clone(&seen)))
        .build();
    assert!(client.get("http://api.example/").send().now_or_never().is_none());
    // Not in the assertion: its failure would poison the mutex, which the middleware's own drop locks.
    let seen = *seen.lock().unwrap();
    assert_eq!(seen, Some(recorder.spans()[0].span_context.span_id()));
}

#[tokio::test]
async fn a_request_is_counted_in_memory_and_as_a_stream() {
    let recorder = Recorder::new();
    let length = |body: Bytes| async move { body.len().to_string() };
    let address = serve(Router::new().route("/", post(length))).await;
    let client = client(client_layer(&recorder).with_body_sizes(true));
    let frames = futures_util::stream::iter(["12", "345"]);
    let frames =
        futures_util::StreamExt::map(frames, |text| Ok::<_, std::io::Error>(Frame::data(Bytes::from(text))));
    let mut total = 0;
    // It declares no length.
    let streamed = reqwest::Body::wrap(StreamBody::new(frames));
    for (body, bytes) in [(reqwest::Body::from("1234567"), 7), (streamed, 5), (reqwest::Body::from(""), 0)] {
        let response = client.post(format!("http://{address}/")).body(body).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), bytes.to_string());
        total += bytes;
        let sizes = recorder.metric("http.client.request.body.size");
        assert_eq!(sizes.sum(), f64::from(total));
    }
    assert_eq!(recorder.metric("http.client.request.body.size").count(), 3);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_redirect_sends_the_counted_body_and_the_context_again() {
    let recorder = Recorder::new();
    let target = Router::new().route(
        "/new",
        post(|headers: HeaderMap, body: String| async move {
            format!("{body} {}", headers.get_all("traceparent").iter().count())
        }),
    );
    let target = serve(target).await;
    let redirect = move || async move { Redirect::temporary(&format!("http://{target}/new")) };
    let address = serve(Router::new().route("/old", post(redirect))).await;
    let client = client(client_layer(&recorder).with_body_sizes(true).with_end_on(EndOn::Body));
    let response = client.post(format!("http://{address}/old")).body("payload").send().await.unwrap();
    assert_eq!(response.url().as_str(), format!("http://{target}/new"));
    assert_eq!(response.text().await.unwrap(), "payload 1");
    assert_eq!(recorder.spans().len(), 1);
    assert_eq!(recorder.metric("http.client.request.body.size").sum(), 7.0);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_layer_outside_of_retries_records_once() {
    let recorder = Recorder::new();
    let address = serve(Router::new().route("/", get(flaky().1))).await;
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(client_layer(&recorder))
        .with(RetryTransientMiddleware::new_with_policy(retries()))
        .build();
    assert_eq!(client.get(format!("http://{address}/")).send().await.unwrap().status(), 200);
    assert_eq!(recorder.spans().len(), 1);
    assert!(!recorder.tree().contains("error.type"), "{}", recorder.tree());
    recorder.assert_clean();
}
