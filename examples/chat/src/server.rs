//! The server: one call is one membership of the room.
//!
//! A call is a single stream of replies that also reads the requests: no task and no lock outlives it, and when it is
//! dropped, because the member's connection is gone, the membership is dropped with it.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_grpc::{MessageSpan, MessageSpans};
use otel_telemetry::Telemetry;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::pb::client_message::What;
use crate::pb::left::Reason;
use crate::pb::room_server::{Room as RoomService, RoomServer};
use crate::pb::{ClientMessage, ServerMessage, TALK};
use crate::room::{Membership, Post, Room};
use crate::telemetry::server_layer;

/// How large a message may be, in bytes.
const MESSAGE: usize = 16 * 1024;

/// How often a silent connection is asked whether it is still there, and how long it may take to answer: a member whose
/// machine has lost its network closes nothing.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves a room until `stop` resolves; then everybody is sent home.
pub(crate) async fn serve(
    listener: TcpListener,
    telemetry: &Telemetry,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let room = Room::default();
    let chat = Chat { room: room.clone(), traces: telemetry.tracer_provider().clone() };
    let stopped = async {
        stop.await;
        room.close();
    };
    Server::builder()
        .layer(server_layer(telemetry)?)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(RoomServer::new(chat).max_decoding_message_size(MESSAGE))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopped)
        .await?;
    Ok(())
}

struct Chat {
    room: Room,
    traces: SdkTracerProvider,
}

#[tonic::async_trait]
impl RoomService for Chat {
    type TalkStream = BoxStream<'static, Result<ServerMessage, Status>>;

    async fn talk(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::TalkStream>, Status> {
        let talk = Talk {
            room: self.room.clone(),
            membership: None,
            requests: Some(request.into_inner()),
            // In a handler the span of the call is current: it is what each message's span is linked to.
            spans: MessageSpans::current(TALK).with_tracer_provider(&self.traces),
            sending: None,
        };
        Ok(Response::new(stream::unfold(Some(talk), Talk::step).boxed()))
    }
}

/// Why the requests ended badly: those that are malformed or too large say so; the rest is a connection that broke or did
/// not answer.
fn broken(status: Status) -> Status {
    match status.code() {
        Code::Unknown | Code::Unavailable => Status::cancelled("the member was cut off"),
        _ => status,
    }
}

/// A call.
struct Talk {
    room: Room,
    /// There is none before the first message.
    membership: Option<Membership>,
    /// There are none once the member has left.
    requests: Option<Streaming<ClientMessage>>,
    spans: MessageSpans,
    /// The span of the message that the stream was given last: when it asks for more, it has taken that one.
    sending: Option<MessageSpan>,
}

impl Talk {
    /// One step of the stream, which ends with nothing, or with a status.
    async fn step(talk: Option<Self>) -> Option<(Result<ServerMessage, Status>, Option<Self>)> {
        let mut talk = talk?;
        talk.sending = None;
        match talk.next().await.transpose()? {
            Ok(post) => Some((Ok(talk.send(post)), Some(talk))),
            Err(status) => Some((Err(status), None)),
        }
    }

    /// Listens to the member until there is something to be told.
    async fn next(&mut self) -> Result<Option<Post>, Status> {
        loop {
            let request = match (&mut self.membership, &mut self.requests) {
                (Some(membership), Some(requests)) => tokio::select! {
                    post = membership.next() => return post.transpose(),
                    request = requests.message() => request,
                },
                (Some(membership), None) => return membership.next().await.transpose(),
                (None, Some(requests)) => requests.message().await,
                (None, None) => return Ok(None),
            };
            match request.map_err(broken)? {
                Some(message) => self.receive(message).await?,
                None => {
                    self.requests = None;
                    // To tonic a call that the client has dropped looks the same. Hyper knows better: it drops this stream
                    // before it asks it again.
                    tokio::task::yield_now().await;
                    if let Some(membership) = &self.membership {
                        membership.leave(Reason::Left);
                    }
                }
            }
        }
    }

    /// Does what the member wants, as a part of the trace that the message carries.
    async fn receive(&mut self, message: ClientMessage) -> Result<(), Status> {
        let Self { room, membership, spans, .. } = self;
        let ClientMessage { what, context } = message;
        let handling = async {
            match (what, &membership) {
                (Some(What::Join(join)), None) => *membership = Some(room.join(&join.name)?),
                (Some(What::Say(say)), Some(membership)) => membership.say(say.text),
                (Some(What::Say(_)), None) => return Err(Status::failed_precondition("join first")),
                (Some(What::Join(_)), Some(_)) => return Err(Status::failed_precondition("joined already")),
                (None, _) => return Err(Status::invalid_argument("an empty message")),
            }
            Ok(())
        };
        spans.receive(&context, handling).await
    }

    /// Makes a message of a post, which carries on the trace that the post belongs to.
    fn send(&mut self, post: Post) -> ServerMessage {
        let _attached = post.context.attach();
        let mut context = HashMap::new();
        self.sending = Some(self.spans.send(&mut context));
        ServerMessage { what: Some(post.what), context }
    }
}

#[cfg(test)]
mod tests;
