//! A cluster of three servers that loses the leader of a stream.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, StorageType};
use async_nats::{ConnectOptions, ServerAddr};
use otel_nats::jetstream::{self, Context, JetStreamMessage, PullConsumer};
use otel_nats::{Acknowledgement, connect_with_options};
use otel_testing::Recorder;
use tokio::sync::Notify;

use super::{Server, free_port};
use crate::jetstream::{durable, stream_config};
use crate::support::{LONG, attribute, error_type, options};

const MESSAGES: usize = 300;

/// The message before which the leader is killed.
const LOSS: usize = 100;

async fn cluster() -> Vec<Server> {
    let ports = [0; 3].map(|_| free_port());
    let routes: Vec<_> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let routes = routes.join(", ");
    let launch = |(index, port)| {
        Server::launch_with_jetstream(&format!(
            "server_name: n{index}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
        ))
    };
    let servers: Vec<_> = ports.into_iter().enumerate().map(launch).collect();
    for server in &servers {
        server.ready().await;
    }
    servers
}

/// Creates the stream when the cluster has elected a leader, for which no event exists.
async fn replicated(context: &Context) -> jetstream::Stream {
    let begun = Instant::now();
    loop {
        let config = stream_config("ORDERS", "orders");
        let config = stream::Config { storage: StorageType::File, num_replicas: 3, ..config };
        match context.create_stream(config).await {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes a message until it is acknowledged. The server stores an id once.
async fn publish(context: &Context, number: usize) {
    let begun = Instant::now();
    loop {
        let publish = PublishMessage::build().payload("p".into()).message_id(number.to_string());
        let published = match context.send_publish("orders", publish).await {
            Ok(ack) => ack.await,
            Err(error) => Err(error),
        };
        match published {
            Ok(_) => return,
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_and_no_span_is_lost_with_the_leader() {
    let recorder = Recorder::new();
    let mut servers = cluster().await;
    let addresses: Vec<ServerAddr> = servers.iter().map(|server| server.url.parse().unwrap()).collect();
    let client = connect_with_options(&addresses[..], ConnectOptions::new()).await.unwrap();
    let client = client.with_options(options(&recorder).with_acknowledgement(Acknowledgement::OnSuccess));
    let context = jetstream::new(client);
    let mut stream = replicated(&context).await;
    let till = pull::Config { ack_wait: Duration::from_secs(5), ..durable("till") };
    let consumer: PullConsumer = stream.create_consumer(till).await.unwrap();

    let (stop, seen) = (Notify::new(), Mutex::new(HashSet::new()));
    let handler = async |message: JetStreamMessage| {
        let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap().to_string();
        let mut seen = seen.lock().unwrap();
        seen.insert(id);
        if seen.len() == MESSAGES {
            stop.notify_one();
        }
    };
    let consuming = async {
        let mut messages = consumer.messages().await.unwrap();
        // The stream returns errors of the outage, and continues.
        while messages.process_each(stop.notified(), handler).await.is_err() {}
    };
    let producing = async {
        for number in 0..MESSAGES {
            if number == LOSS {
                let cluster = stream.info().await.unwrap().cluster.as_ref().unwrap();
                let leader = cluster.leader.clone().unwrap();
                let index: usize = leader.strip_prefix('n').unwrap().parse().unwrap();
                servers[index].stop();
            }
            publish(&context, number).await;
        }
    };
    let both = async { tokio::join!(consuming, producing) };
    tokio::time::timeout(2 * LONG, both).await.unwrap();

    let spans = recorder.spans();
    let of = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    let confirmed = of("publish orders").filter(|span| error_type(span).is_none());
    assert_eq!(confirmed.count(), MESSAGES);
    let published: HashSet<_> = of("publish orders").map(|span| span.span_context.span_id()).collect();
    assert!(of("process ORDERS").all(|span| published.contains(&span.parent_span_id)));
    let processed: HashSet<_> =
        of("process ORDERS").filter_map(|span| attribute(span, "messaging.nats.stream.sequence")).collect();
    assert_eq!(processed.len(), MESSAGES);
    recorder.assert_clean();
}
