//! Routes that axum matches: templates, nested routers, fallbacks; the peer from `ConnectInfo`.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use http::{Request, Response};
use http_body_util::Empty;
use otel_http::LateRoute;
use otel_testing::Recorder;
use tower::{Layer, ServiceExt};

use crate::support::{self, serve, server_layer};

#[tokio::test]
async fn spans_and_metrics_are_called_after_the_route_and_never_after_the_path() {
    let recorder = Recorder::new();
    let users = Router::new().route("/{id}", get(|| async {})).route("/", get(|| async {}));
    let app = Router::new()
        .route("/files/{*rest}", any(|| async {}))
        .nest("/users", users)
        .nest_service("/service", Router::new().route("/inner", get(|| async {})))
        .fallback(|| async { http::StatusCode::NOT_FOUND });
    let address = serve(app.layer(server_layer(&recorder))).await;
    for (path, name) in [
        ("/users/7", "GET /users/{id}"),
        ("/files/a/b/c", "GET /files/{*rest}"),
        ("/nowhere", "GET"),
        ("/users/7/unknown", "GET"),
        ("/service/inner", "GET"),
    ] {
        let before = recorder.spans().len();
        support::send(support::get(address, path).body(Empty::new()).unwrap()).await;
        recorder.wait_for_spans(before + 1).await;
        let span = recorder.spans().pop().unwrap();
        assert_eq!(span.name, name, "{path}");
        let route = span.attributes.iter().find(|kv| kv.key.as_str() == "http.route");
        assert_eq!(
            route.map(|kv| kv.value.to_string()),
            name.strip_prefix("GET ").map(str::to_owned),
            "{path}"
        );
    }
    let durations = recorder.metric("http.server.request.duration");
    assert_eq!(durations.with("http.route", "/users/{id}").count(), 1);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_method_that_a_route_has_not_is_refused_under_the_route() {
    let recorder = Recorder::new();
    let app = Router::new().route("/users/{id}", get(|| async {})).layer(server_layer(&recorder));
    let address = serve(app).await;
    let request = Request::delete(format!("http://{address}/users/7")).body(Empty::new()).unwrap();
    assert_eq!(support::send(request).await.status(), 405);
    recorder.wait_for_spans(1).await;
    assert_eq!(recorder.span("DELETE /users/{id}").name, "DELETE /users/{id}");
}

#[tokio::test]
async fn the_peer_comes_out_of_connect_info() {
    let recorder = Recorder::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.port().to_string() }))
        .layer(server_layer(&recorder));
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
    let port = support::send(support::get(address, "/").body(Empty::new()).unwrap()).await.into_body();
    recorder.wait_for_spans(1).await;
    let span = recorder.span("GET /");
    let attribute =
        |key: &str| span.attributes.iter().find(|kv| kv.key.as_str() == key).unwrap().value.to_string();
    assert_eq!(attribute("network.peer.address"), "127.0.0.1");
    assert_eq!(attribute("client.address"), "127.0.0.1");
    assert_eq!(attribute("network.peer.port").as_bytes(), port);
}

#[tokio::test]
async fn a_layer_inside_of_a_nested_router_records_the_path_of_the_request() {
    let recorder = Recorder::new();
    let users = Router::new().route("/users/{id}", get(|| async {})).layer(server_layer(&recorder));
    let files = server_layer(&recorder).layer(tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from("file")))
    }));
    let files = files.map_response(|response| response.map(Body::new));
    let app = Router::new().nest("/api", users).nest_service("/static", files);
    let address = serve(app).await;
    for (path, route) in [("/api/users/7", Some("/api/users/{id}")), ("/static/a.css", None)] {
        let before = recorder.spans().len();
        let url = format!("{path}?q=1");
        support::send(support::get(address, &url).body(Empty::new()).unwrap()).await;
        recorder.wait_for_spans(before + 1).await;
        let span = recorder.spans().pop().unwrap();
        let attribute = |key: &str| {
            span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
        };
        assert_eq!(attribute("url.path").as_deref(), Some(path));
        assert_eq!(attribute("url.query").as_deref(), Some("q=1"));
        assert_eq!(attribute("http.route").as_deref(), route);
        assert_eq!(attribute("server.address").as_deref(), Some("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_route_that_is_matched_and_reported_late_is_one_attribute() {
    let recorder = Recorder::new();
    let app = Router::new().route(
        "/{*rest}",
        get(|request: axum::extract::Request| async move {
            request.extensions().get::<LateRoute>().unwrap().set("/inner/{id}");
        }),
    );
    let address = serve(app.layer(server_layer(&recorder).with_late_route(true))).await;
    support::send(support::get(address, "/inner/7").body(Empty::new()).unwrap()).await;
    recorder.wait_for_spans(1).await;
    let span = recorder.span("GET /{*rest}");
    let routes = span.attributes.iter().filter(|kv| kv.key.as_str() == "http.route");
    assert_eq!(routes.map(|kv| kv.value.to_string()).collect::<Vec<_>>(), ["/{*rest}"]);
    assert_eq!(recorder.metric("http.server.request.duration").with("http.route", "/{*rest}").count(), 1);
}
