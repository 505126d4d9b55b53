//! The classes of failures of tonic's channel, as a client of HTTP.

use std::time::Duration;

use http::Request;
use otel_testing::Recorder;
use tonic::transport::Endpoint;
use tower::{Layer, ServiceExt};

use super::{Peer, UNKNOWN_HOST};
use crate::failures::assert_class;
use crate::support::client_layer;

async fn fail(recorder: &Recorder, endpoint: Endpoint) {
    let client = client_layer(recorder).layer(endpoint.connect_lazy());
    let request = Request::post("/a.B/C").body(tonic::body::Body::empty()).unwrap();
    client.oneshot(request).await.map(drop).unwrap_err();
}

#[tokio::test]
async fn each_failure_has_its_class() {
    let refused = format!("http://{}", Peer::Absent.start().await);
    for (url, class) in [(&*refused, "connection_refused"), (UNKNOWN_HOST, "dns")] {
        let recorder = Recorder::new();
        fail(&recorder, Endpoint::from_shared(url.to_owned()).unwrap()).await;
        assert_class(&recorder, class);
    }
}

#[tokio::test]
async fn a_time_out_of_the_channel_is_a_timeout() {
    let recorder = Recorder::new();
    let url = format!("http://{}", Peer::Silent.start().await);
    fail(&recorder, Endpoint::from_shared(url).unwrap().timeout(Duration::from_millis(50))).await;
    assert_class(&recorder, "timeout");
}
