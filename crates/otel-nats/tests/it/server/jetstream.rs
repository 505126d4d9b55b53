//! JetStream on a server of the test's own: it is stopped and started again, and it refuses subjects.

use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, PublishErrorKind};
use async_nats::jetstream::stream;
use opentelemetry::trace::SpanId;
use otel_nats::jetstream::{Context, PullConsumer};
use otel_nats::{Acknowledgement, Client, connect_with_options};
use otel_testing::Recorder;
use tokio::sync::Notify;

use super::{Server, event, with_events};
use crate::jetstream::{durable, message, stream_config};
use crate::support::{LONG, attribute, error_type, options};

impl Server {
    /// Starts a server that has a store for streams, which survives a restart.
    pub(crate) async fn with_jetstream(settings: &str) -> Self {
        let server = Self::launch_with_jetstream(settings);
        server.ready().await;
        server
    }

    pub(crate) fn launch_with_jetstream(settings: &str) -> Self {
        let folder = super::folder();
        let store = folder.join("store");
        Self::launch(folder, &format!("jetstream {{ store_dir: {store:?} }}\n{settings}"))
    }
}

/// Creates a context whose acknowledgements have this timeout.
fn context(client: &Client, timeout: Duration) -> Context {
    Context::new(client.clone(), ContextBuilder::new().timeout(timeout).build(client.inner().clone()))
}

async fn stored(context: &Context) -> PullConsumer {
    let config = stream_config("ORDERS", "orders");
    let config = stream::Config { storage: stream::StorageType::File, ..config };
    context.create_stream(config).await.unwrap().create_consumer(durable("till")).await.unwrap()
}

#[tokio::test]
async fn a_stream_goes_on_after_an_outage_of_its_server() {
    let recorder = Recorder::new();
    let mut server = Server::with_jetstream("").await;
    let (bare, mut events) = with_events();
    let client = connect_with_options(&server.url, bare).await.unwrap();
    let client = client.with_options(options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess));
    let (patient, impatient) = (context(&client, LONG), context(&client, Duration::from_millis(100)));
    let mut messages = stored(&patient).await.messages().await.unwrap();
    patient.publish("orders", "a".into()).await.unwrap().await.unwrap();
    let before = message(&mut messages).await;
    before.process(async |_| ()).await;
    before.double_ack().await.unwrap();

    server.stop();
    event(&mut events, "disconnected").await;
    let late = impatient.publish("orders", "b".into()).await.unwrap().await.unwrap_err();
    assert_eq!(late.kind(), PublishErrorKind::TimedOut);
    let waiting = patient.publish("orders", "c".into()).await.unwrap();
    server.restart().await;
    // Its time begins when it is awaited.
    let ack = waiting.await.unwrap();
    assert_eq!(ack.sequence, 3, "the message that was not confirmed in time is stored too");
    let (stop, mut seen) = (Notify::new(), Vec::new());
    while seen.len() < 2 {
        let handler = |message: otel_nats::jetstream::JetStreamMessage| {
            seen.push(message.payload.clone());
            if seen.len() == 2 {
                stop.notify_one();
            }
            std::future::ready(())
        };
        // The stream returns errors of the outage, and continues.
        let running = messages.process_each(stop.notified(), handler);
        let _ = tokio::time::timeout(LONG, running).await.unwrap();
    }
    assert_eq!(seen, ["b", "c"]);

    let spans = recorder.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == *name).collect::<Vec<_>>();
    let (published, processed) = (named("publish orders"), named("process ORDERS"));
    let errors: Vec<_> = published.iter().map(|span| error_type(span)).collect();
    assert_eq!(errors, [None, Some("TimedOut".to_owned()), None]);
    let ids: Vec<SpanId> = published.iter().map(|span| span.span_context.span_id()).collect();
    let parents: Vec<SpanId> = processed.iter().map(|span| span.parent_span_id).collect();
    assert_eq!(parents, ids, "{}", recorder.tree());
    assert_eq!(named("ack ORDERS").len(), 3);
    recorder.assert_clean();
}

#[tokio::test]
async fn what_the_server_refuses_is_a_timeout_or_an_event() {
    let recorder = Recorder::new();
    let denied = r#"["orders.secret", "$JS.ACK.>"]"#;
    let user = format!("{{ user: u, password: p, permissions: {{ publish: {{ deny: {denied} }} }} }}");
    let guest = "{ user: g, password: g }";
    let settings = format!("no_auth_user: g\nauthorization {{ users: [{user}, {guest}] }}\n");
    let server = Server::with_jetstream(&settings).await;
    let (bare, mut events) = with_events();
    let bare = bare.user_and_password("u".to_owned(), "p".to_owned());
    let client = connect_with_options(&server.url, bare).await.unwrap().with_options(options(&recorder));
    let (patient, impatient) = (context(&client, LONG), context(&client, Duration::from_secs(2)));
    let stream = stored(&patient).await.cached_info().stream_name.clone();
    let consumer: PullConsumer = impatient.get_consumer_from_stream("till", stream).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();

    let error = impatient.publish("orders.secret", "p".into()).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::TimedOut);
    event(&mut events, "Permissions Violation").await;
    assert_eq!(error_type(&recorder.span("publish orders.secret")).as_deref(), Some("TimedOut"));

    patient.publish("orders.created", "p".into()).await.unwrap().await.unwrap();
    let message = message(&mut messages).await;
    message.ack().await.unwrap();
    event(&mut events, "Permissions Violation").await;
    message.double_ack().await.unwrap_err();
    let spans = recorder.spans();
    let acks: Vec<_> = spans.iter().filter(|span| span.name == "ack ORDERS").collect();
    let errors: Vec<_> = acks.iter().map(|span| error_type(span)).collect();
    assert_eq!(
        errors,
        [None, Some("_OTHER".to_owned())],
        "only a double acknowledgement waits for the server"
    );
    assert_eq!(attribute(acks[1], "messaging.nats.stream.sequence").as_deref(), Some("1"));
    recorder.assert_clean();
}
