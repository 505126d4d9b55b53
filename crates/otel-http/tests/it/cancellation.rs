//! Abnormal ends: dropped futures and bodies, panics, clients that disconnect, bodies that fail.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Channel, Empty, StreamBody};
use opentelemetry::Context;
use opentelemetry::trace::{Status, TraceContextExt};
use otel_http::{EndOn, LayerOptions};
use otel_testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tower::{Layer, Service as _, ServiceExt};

use crate::support::{self, call, client_layer, serve, server_layer};

fn request() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

/// Asserts one span, ended once, one duration with the same `error.type`, and no active request.
pub(crate) fn assert_one(recorder: &Recorder, error: Option<&str>) {
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 1, "{}", recorder.tree());
    let recorded = spans[0].attributes.iter().find(|kv| kv.key.as_str() == "error.type");
    assert_eq!(recorded.map(|kv| kv.value.to_string()).as_deref(), error, "{}", recorder.tree());
    let side = if spans[0].span_kind == opentelemetry::trace::SpanKind::Server { "server" } else { "client" };
    let durations = recorder.metric(&format!("http.{side}.request.duration"));
    assert_eq!(durations.count(), 1);
    let agreeing = match error {
        Some(error) => durations.with("error.type", error.to_owned()),
        None => durations.without("error.type"),
    };
    assert_eq!(agreeing.count(), 1, "{}", recorder.metrics());
}

#[tokio::test]
async fn a_server_future_that_is_dropped_was_cancelled() {
    for polls in 0..3 {
        let recorder = Recorder::new();
        {
            let future = call(&server_layer(&recorder), request(), |_| async {
                tokio::task::yield_now().await;
                std::future::pending::<()>().await;
                Response::new(Body::empty())
            });
            let mut future = pin!(future);
            let mut cx = TaskContext::from_waker(Waker::noop());
            for _ in 0..=polls {
                assert!(future.as_mut().poll(&mut cx).is_pending());
            }
        }
        assert_one(&recorder, Some("cancelled"));
    }
}

#[tokio::test]
async fn a_service_future_that_is_never_polled_was_cancelled() {
    let recorder = Recorder::new();
    let mut service = server_layer(&recorder).layer(tower::service_fn(|_: Request<Empty<Bytes>>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, std::io::Error>>()
    }));
    drop(tower::Service::call(&mut service, request()));
    assert_one(&recorder, Some("cancelled"));
}

#[tokio::test]
async fn a_client_call_that_is_dropped_was_cancelled() {
    for is_error in [true, false] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_cancellation_as_error(is_error);
        let client = layer.layer(tower::service_fn(|_: Request<Empty<Bytes>>| {
            std::future::pending::<Result<Response<Empty<Bytes>>, std::io::Error>>()
        }));
        let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
        assert!(client.oneshot(request).now_or_never().is_none());
        // Also for hedged calls: a call without a response is no success.
        assert_one(&recorder, Some("cancelled"));
        let is_marked = matches!(recorder.spans()[0].status, Status::Error { .. });
        assert_eq!(is_marked, is_error);
    }
}

#[tokio::test]
async fn a_client_that_reads_no_body_ends_by_the_status() {
    for (status, error) in [(200, None), (503, Some("503"))] {
        let recorder = Recorder::new();
        let layer = client_layer(&recorder).with_end_on(EndOn::Body);
        let client = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
            let response = Response::builder().status(status).body(Body::from("unread"));
            Ok::<_, std::io::Error>(response.unwrap())
        }));
        let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
        drop(client.oneshot(request).await.unwrap());
        assert_one(&recorder, error);
    }
}

/// Records on drop if a span is current, like a rollback that starts a span.
struct Rollback(Arc<Mutex<Vec<bool>>>);

impl Drop for Rollback {
    fn drop(&mut self) {
        let is_inside = Context::current().span().span_context().is_valid();
        self.0.lock().unwrap().push(is_inside);
    }
}

#[tokio::test]
async fn the_context_is_current_while_a_cancelled_handler_or_body_is_dropped() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for in_body in [false, true] {
        let recorder = Recorder::new();
        let guard = Rollback(Arc::clone(&seen));
        let service = server_layer(&recorder).layer(tower::service_fn(move |_: Request<Empty<Bytes>>| {
            let guard = Rollback(Arc::clone(&guard.0));
            async move {
                if !in_body {
                    std::future::pending::<()>().await;
                }
                let frames = futures_util::stream::poll_fn(move |_| {
                    let _ = &guard;
                    Poll::<Option<Result<Frame<Bytes>, std::io::Error>>>::Pending
                });
                Ok::<_, std::io::Error>(Response::new(StreamBody::new(frames)))
            }
        }));
        let mut call = Box::pin(service.oneshot(request()));
        let response = (&mut call).now_or_never();
        assert_eq!(response.is_some(), in_body);
        seen.lock().unwrap().clear();
        drop((call, response));
        assert_eq!(*seen.lock().unwrap(), [true]);
        seen.lock().unwrap().clear();
        assert_one(&recorder, Some("cancelled"));
    }
}

#[tokio::test]
async fn a_panic_elsewhere_does_not_blame_a_call_that_is_dropped_beside_it() {
    for has_response in [false, true] {
        let recorder = Recorder::new();
        let client = client_layer(&recorder).with_end_on(EndOn::Body).layer(tower::service_fn(
            move |_: Request<Empty<Bytes>>| async move {
                if !has_response {
                    std::future::pending::<()>().await;
                }
                let frames = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
                Ok::<_, std::io::Error>(Response::new(StreamBody::new(frames)))
            },
        ));
        let both = tokio::spawn(async move {
            let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
            let call = async { client.oneshot(request).await.unwrap().into_body().collect().await };
            let bug = async {
                tokio::task::yield_now().await;
                panic!("a bug beside the call")
            };
            tokio::join!(call, bug).0.unwrap();
        });
        assert!(both.await.unwrap_err().is_panic());
        assert_one(&recorder, if has_response { None } else { Some("cancelled") });
    }
}

#[tokio::test]
async fn a_panic_is_told_also_where_it_is_caught_further_out() {
    for (in_call, held) in [(true, false), (false, false), (false, true)] {
        let recorder = Recorder::new();
        let mut service =
            server_layer(&recorder).layer(tower::service_fn(move |_: Request<Empty<Bytes>>| {
                assert!(!in_call, "in the call itself");
                async move {
                    tokio::task::yield_now().await;
                    assert!(in_call, "in the future");
                    Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
                }
            }));
        if held {
            // Like a layer that catches panics: the future outlives the panic and is dropped later.
            let mut future = Box::pin(tower::Service::call(&mut service, request()));
            let caught = std::panic::AssertUnwindSafe(&mut future).catch_unwind().await;
            assert!(caught.is_err());
            assert_one(&recorder, Some("panic"));
            drop(future);
        } else {
            let recorded = tokio::spawn(async move { service.ready().await.unwrap().call(request()).await });
            assert!(recorded.await.unwrap_err().is_panic());
        }
        assert_one(&recorder, Some("panic"));
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_midway_was_cancelled() {
    let recorder = Recorder::new();
    let response = call(&server_layer(&recorder), request(), |_| async {
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
        sender.send_data("first".into()).await.unwrap();
        // The sender is still alive, so the body has not ended.
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(sender);
        });
        Response::new(Body::new(body))
    });
    let mut body = response.await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    assert!(recorder.spans().is_empty(), "the span lasts as long as the body");
    drop(body);
    assert_one(&recorder, Some("cancelled"));
}

#[tokio::test]
async fn a_body_that_fails_is_classified() {
    let recorder = Recorder::new();
    let response = call(&server_layer(&recorder), request(), |_| async {
        let frames = [
            Ok(Frame::data(Bytes::from("first"))),
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        ];
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    });
    let error = response.await.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), std::io::Error::from(std::io::ErrorKind::ConnectionReset).to_string());
    // axum's error is unwrapped only with the feature.
    assert_one(
        &recorder,
        Some(if cfg!(feature = "axum") { "connection_reset" } else { "axum_core::error::Error" }),
    );
}

#[tokio::test]
async fn a_body_that_panics_is_told() {
    let recorder = Recorder::new();
    let response = call(&server_layer(&recorder), request(), |_| async {
        let frames =
            futures_util::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
                panic!("in the body")
            });
        Response::new(Body::new(StreamBody::new(frames)))
    });
    let mut body = response.await.into_body();
    let caught = std::panic::AssertUnwindSafe(body.frame()).catch_unwind().await;
    assert!(caught.is_err());
    assert_one(&recorder, Some("panic"));
    drop(body);
    assert_one(&recorder, Some("panic"));
}

#[tokio::test]
async fn a_body_whose_last_byte_was_seen_has_ended() {
    for (length, error) in [(Some(5), None), (Some(6), Some("cancelled")), (None, Some("cancelled"))] {
        let recorder = Recorder::new();
        let response = call(&server_layer(&recorder), request(), move |_| async move {
            let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from("first")))];
            let endless = futures_util::stream::iter(frames);
            let endless = futures_util::StreamExt::chain(endless, futures_util::stream::pending());
            let response = Response::builder();
            let response = match length {
                Some(length) => response.header("content-length", length),
                None => response,
            };
            response.body(Body::new(StreamBody::new(endless))).unwrap()
        });
        let mut body = response.await.into_body();
        body.frame().await.unwrap().unwrap();
        // hyper does not poll a body to its end after Content-Length bytes.
        drop(body);
        assert_one(&recorder, error);
    }
}

#[tokio::test]
async fn no_body_is_awaited_after_head() {
    for end_on in [EndOn::Auto, EndOn::Body] {
        let recorder = Recorder::new();
        let layer = server_layer(&recorder).with_end_on(end_on);
        let request = Request::head("/").body(Empty::new()).unwrap();
        drop(call(&layer, request, |_| async { Response::new(Body::from("not sent")) }).await);
        assert_one(&recorder, None);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_the_handler() {
    let recorder = Recorder::new();
    let (entered, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let entered = Arc::clone(&entered);
        move || {
            let entered = Arc::clone(&entered);
            async move {
                entered.notify_one();
                std::future::pending::<()>().await;
            }
        }
    };
    let address = serve(Router::new().route("/", get(handler)).layer(server_layer(&recorder))).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    entered.notified().await;
    drop(socket);
    recorder.wait_for_spans(1).await;
    ended.notify_one();
    assert_one(&recorder, Some("cancelled"));
}

#[tokio::test]
async fn a_client_that_hangs_up_midway_cancels_the_body() {
    let recorder = Recorder::new();
    let app = Router::new().route(
        "/",
        get(|| async {
            let endless =
                futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 65536])));
            Body::from_stream(endless)
        }),
    );
    let address = serve(app.layer(server_layer(&recorder))).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    socket.read_exact(&mut [0; 1000]).await.unwrap();
    drop(socket);
    recorder.wait_for_spans(1).await;
    assert_one(&recorder, Some("cancelled"));
}

#[tokio::test]
async fn a_handler_that_panics_on_a_socket_leaves_nothing_behind() {
    let recorder = Recorder::new();
    let app = Router::new().route("/", get(|| async { panic!("handler") as () }));
    let address = serve(app.layer(server_layer(&recorder))).await;
    let client = support::client(http::Version::HTTP_11);
    client.request(support::get(address, "/").body(Empty::new()).unwrap()).await.unwrap_err();
    recorder.wait_for_spans(1).await;
    assert_one(&recorder, Some("panic"));
}

#[tokio::test]
async fn a_client_may_last_as_long_as_its_body() {
    for (end_on, read) in [(EndOn::Body, true), (EndOn::Body, false), (EndOn::Head, false)] {
        let recorder = Recorder::new();
        let client = client_layer(&recorder).with_end_on(end_on).layer(tower::service_fn(
            |_: Request<Empty<Bytes>>| async { Ok::<_, std::io::Error>(Response::new(Body::from("answer"))) },
        ));
        let request = Request::get("http://api.example/").body(Empty::new()).unwrap();
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(recorder.spans().len(), usize::from(end_on == EndOn::Head));
        if read {
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "answer");
        } else {
            drop(response);
        }
        assert_one(&recorder, None);
    }
}
