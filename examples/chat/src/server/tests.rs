//! What the server does with members that the program's own client would not be: over real connections.

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
use crate::pb::client_message::What;
use crate::pb::left::Reason;
use crate::pb::room_client::RoomClient;
use crate::pb::{ClientMessage, Join, Joined, Left, Say, ServerMessage, TALK, Welcome, server_message};
use crate::telemetry::telemetry;

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A room that is served for as long as the test's runtime lives.
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
        member.send(Some(What::Join(Join { name: name.to_owned() }))).await;
        assert!(matches!(member.told().await, server_message::What::Welcome(Welcome { .. })));
        member
    }

    async fn send(&self, what: Option<What>) {
        self.outgoing.send(ClientMessage { what, ..ClientMessage::default() }).await.unwrap();
    }

    async fn told(&mut self) -> server_message::What {
        let told = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        told.unwrap().unwrap().unwrap().what.unwrap()
    }

    /// Reads to the end.
    async fn end(mut self) -> Result<(), Status> {
        while self.incoming.message().await?.is_some() {}
        Ok(())
    }
}

fn joined(name: &str) -> server_message::What {
    server_message::What::Joined(Joined { name: name.to_owned() })
}

fn left(name: &str, reason: Reason) -> server_message::What {
    server_message::What::Left(Left { name: name.to_owned(), reason: reason.into() })
}

fn say(text: &str) -> Option<What> {
    Some(What::Say(Say { text: text.to_owned() }))
}

/// A member whose client is HTTP/2 by hand, for tonic's keeps a call open until its stream of requests ends.
async fn join_by_hand(room: SocketAddr, name: &str) -> h2::SendStream<Bytes> {
    let socket = TcpStream::connect(room).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{room}/{TALK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut client = client.ready().await.unwrap();
    let (_, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let join = Some(What::Join(Join { name: name.to_owned() }));
    let message = ClientMessage { what: join, ..ClientMessage::default() }.encode_to_vec();
    // Not compressed, and so many bytes long.
    let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    frame.extend(message);
    stream.send_data(frame.into(), false).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drops_the_call_has_not_left_but_is_cut_off() {
    let room = room().await;
    let mut ada = Member::join(room, "ada").await;
    // To tonic the two look the same, and whether it gets to see it is a matter of order: so, often.
    for _ in 0..50 {
        let mut grace = join_by_hand(room, "grace").await;
        assert_eq!(ada.told().await, joined("grace"));
        grace.send_reset(h2::Reason::CANCEL);
        assert_eq!(ada.told().await, left("grace", Reason::CutOff));
    }
    let mut grace = join_by_hand(room, "grace").await;
    assert_eq!(ada.told().await, joined("grace"));
    grace.send_data(Bytes::new(), true).unwrap();
    assert_eq!(ada.told().await, left("grace", Reason::Left));
}

#[tokio::test]
async fn who_does_not_keep_to_the_protocol_is_told_so() {
    let room = room().await;
    let member = Member::connect(room).await;
    member.send(say("hello")).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::FailedPrecondition);

    let member = Member::join(room, "ada").await;
    member.send(Some(What::Join(Join { name: "grace".to_owned() }))).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::FailedPrecondition);

    let member = Member::connect(room).await;
    member.send(None).await;
    assert_eq!(member.end().await.unwrap_err().code(), Code::InvalidArgument);

    // Who goes without a word has done nothing wrong.
    let Member { outgoing, mut incoming } = Member::connect(room).await;
    drop(outgoing);
    assert_eq!(incoming.message().await.unwrap(), None);
}

#[tokio::test]
async fn who_does_not_read_holds_nobody_up() {
    let room = room().await;
    let mut ada = Member::join(room, "ada").await;
    let slow = Member::join(room, "slow").await;
    assert_eq!(ada.told().await, joined("slow"));
    // First the windows of HTTP/2 fill, which are megabytes, and then the queue.
    let message = ClientMessage { what: say(&"a".repeat(15 * 1024)), ..ClientMessage::default() };
    let told = loop {
        tokio::select! {
            told = ada.incoming.message() => break told.unwrap().unwrap().what.unwrap(),
            sent = ada.outgoing.send(message.clone()) => sent.unwrap(),
        }
    };
    assert_eq!(told, left("slow", Reason::TooSlow));
    assert_eq!(slow.end().await.unwrap_err().code(), Code::ResourceExhausted);
}
