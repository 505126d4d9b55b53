//! Tests of the server with misbehaving clients, over real connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use otel_waterfall::Waterfall;
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http;
use tonic::{Code, Status, Streaming};

use super::serve;
use crate::pb::client_message::Kind;
use crate::pb::left::Reason;
use crate::pb::room_client::RoomClient;
use crate::pb::{ClientMessage, Join, Joined, Left, Say, ServerMessage, TALK, Welcome, server_message};
use crate::telemetry::telemetry;

/// Timeout, long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server that runs until the test's runtime is dropped.
async fn room() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let telemetry = telemetry("chat", &Waterfall::to(std::io::sink()), |traces| traces).unwrap();
        serve(listener, &telemetry, std::future::pending()).await.unwrap();
    });
    address
}

struct Member {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

impl Member {
    async fn connect(room: SocketAddr) -> Self {
        let (outgoing, messages) = mpsc::channel(1);
        let mut client = RoomClient::connect(format!("http://{room}")).await.unwrap();
        let incoming = client.talk(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { outgoing, incoming }
    }

    async fn join(room: SocketAddr, name: &str) -> Self {
        let mut member = Self::connect(room).await;
        member.send(Some(Kind::Join(Join { name: name.to_owned() }))).await;
        assert!(matches!(member.next().await, server_message::Kind::Welcome(Welcome { .. })));
        member
    }

    async fn send(&self, kind: Option<Kind>) {
        self.outgoing.send(ClientMessage { kind, ..ClientMessage::default() }).await.unwrap();
    }

    async fn next(&mut self) -> server_message::Kind {
        let message = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        message.unwrap().unwrap().unwrap().kind.unwrap()
    }

    /// Reads to the end of the stream.
    async fn end(mut self) -> Result<(), Status> {
        while self.incoming.message().await?.is_some() {}
        Ok(())
    }
}

fn joined(name: &str) -> server_message::Kind {
    server_message::Kind::Joined(Joined { name: name.to_owned() })
}

fn left(name: &str, reason: Reason) -> server_message::Kind {
    server_message::Kind::Left(Left { name: name.to_owned(), reason: reason.into() })
}

fn say(text: &str) -> Option<Kind> {
    Some(Kind::Say(Say { text: text.to_owned() }))
}

/// Joins with a raw HTTP/2 client, because tonic's client keeps a call open until its request stream ends.
async fn join_raw(room: SocketAddr, name: &str) -> h2::SendStream<Bytes> {
    let socket = TcpStream::connect(room).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{room}/{TALK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut client = client.ready().await.unwrap();
    let (_, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let join = Some(Kind::Join(Join { name: name.to_owned() }));
    let message = ClientMessage { kind: join, ..ClientMessage::default() }.encode_to_vec();
    // The gRPC frame header: not compressed, length of the message.
    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    frame.extend(message);
    stream.send_data(frame.into(), false).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_call_is_disconnected_and_an_ended_one_has_left() {
    let room = room().await;
    let mut ada = Member::join(room, "ada").await;
    // Repeated, because the result depends on the order in which tonic and hyper observe the reset.
    for _ in 0..50 {
        let mut grace = join_raw(room, "grace").await;
        assert_eq!(ada.next().await, joined("grace"));
        grace.send_reset(h2::Reason::CANCEL);
        assert_eq!(ada.next().await, left("grace", Reason::Disconnected));
    }
    let mut grace = join_raw(room, "grace").await;
    assert_eq!(ada.next().await, joined("grace"));
    grace.send_data(Bytes::new(), true).unwrap();
    assert_eq!(ada.next().await, left("grace", Reason::Left));
}

#[tokio::test]
async fn protocol_violations_return_a_status() {
    let room = room().await;
    let member = Member::connect(room).await;
    member.send(say("hello")).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::FailedPrecondition);

    let member = Member::join(room, "ada").await;
    member.send(Some(Kind::Join(Join { name: "grace".to_owned() }))).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::FailedPrecondition);

    let member = Member::connect(room).await;
    member.send(None).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::InvalidArgument);

    // Ending the stream without a message is not an error.
    let Member { outgoing, mut incoming } = Member::connect(room).await;
    drop(outgoing);
    assert_eq!(incoming.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_member_that_does_not_read_does_not_block_others() {
    let room = room().await;
    let mut ada = Member::join(room, "ada").await;
    let slow = Member::join(room, "slow").await;
    assert_eq!(ada.next().await, joined("slow"));
    // The HTTP/2 flow-control windows fill first, several megabytes, and then the queue.
    let message = ClientMessage { kind: say(&"a".repeat(15 * 1024)), ..ClientMessage::default() };
    let notified = loop {
        tokio::select! {
            message = ada.incoming.message() => break message.unwrap().unwrap().kind.unwrap(),
            sent = ada.outgoing.send(message.clone()) => sent.unwrap(),
        }
    };
    assert_eq!(notified, left("slow", Reason::TooSlow));
    assert_eq!(slow.end().await.unwrap_err().code(), Code::ResourceExhausted);
}
