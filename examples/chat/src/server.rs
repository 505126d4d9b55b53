//! The server side of a membership: one call per member.
//!
//! The stream of responses also reads the requests, without a task. When the connection breaks, tonic drops this stream
//! and with it the membership.

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

use crate::pb::client_message::Kind;
use crate::pb::left::Reason;
use crate::pb::room_server::{Room as RoomService, RoomServer};
use crate::pb::{ClientMessage, ServerMessage, TALK};
use crate::room::{Membership, Post, Room};
use crate::telemetry::server_layer;

/// The maximum size of a message, in bytes.
const MESSAGE: usize = 16 * 1024;

/// Interval and timeout of HTTP/2 pings, because a member that has lost its network does not close the connection.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves a room until `stop` resolves, then ends all calls.
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
            // The call's span is current in a handler, and each message's span is linked to it.
            spans: MessageSpans::current(TALK).with_tracer_provider(&self.traces),
            sending: None,
        };
        Ok(Response::new(stream::unfold(Some(talk), Talk::step).boxed()))
    }
}

/// Maps an error of the request stream to the status of the call. A malformed or oversized message keeps its status;
/// other errors are broken connections.
fn call_status(status: Status) -> Status {
    match status.code() {
        Code::Unknown | Code::Unavailable => Status::cancelled("connection lost"),
        _ => status,
    }
}

/// The state of a call.
struct Talk {
    room: Room,
    /// `None` before the first message.
    membership: Option<Membership>,
    /// `None` after the member has left.
    requests: Option<Streaming<ClientMessage>>,
    spans: MessageSpans,
    /// The span of the last message that the stream returned. It ends at the next poll, because tonic has taken the
    /// message by then.
    sending: Option<MessageSpan>,
}

impl Talk {
    /// One step of the stream; the last item may be an error.
    async fn step(talk: Option<Self>) -> Option<(Result<ServerMessage, Status>, Option<Self>)> {
        let mut talk = talk?;
        talk.sending = None;
        match talk.next().await.transpose()? {
            Ok(post) => Some((Ok(talk.send(post)), Some(talk))),
            Err(status) => Some((Err(status), None)),
        }
    }

    /// Handles requests until a message is queued for the member.
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
            match request.map_err(call_status)? {
                Some(message) => self.receive(message).await?,
                None => {
                    self.requests = None;
                    // tonic also returns `None` if the client has reset the call. hyper then drops this stream before
                    // it polls it again, so yielding once distinguishes the two.
                    tokio::task::yield_now().await;
                    if let Some(membership) = &self.membership {
                        membership.leave(Reason::Left);
                    }
                }
            }
        }
    }

    /// Handles a request within the trace of its context.
    async fn receive(&mut self, message: ClientMessage) -> Result<(), Status> {
        let Self { room, membership, spans, .. } = self;
        let ClientMessage { kind, context } = message;
        let handling = async {
            match (kind, &membership) {
                (Some(Kind::Join(join)), None) => *membership = Some(room.join(&join.name)?),
                (Some(Kind::Say(say)), Some(membership)) => membership.say(say.text),
                (Some(Kind::Say(_)), None) => return Err(Status::failed_precondition("join first")),
                (Some(Kind::Join(_)), Some(_)) => return Err(Status::failed_precondition("already joined")),
                (None, _) => return Err(Status::invalid_argument("empty message")),
            }
            Ok(())
        };
        spans.receive(&context, handling).await
    }

    /// Converts a queued message to a response that carries its trace context.
    fn send(&mut self, post: Post) -> ServerMessage {
        let _attached = post.context.attach();
        let mut context = HashMap::new();
        self.sending = Some(self.spans.send(&mut context));
        ServerMessage { kind: Some(post.kind), context }
    }
}

#[cfg(test)]
mod tests;
