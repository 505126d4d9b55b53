//! The client side of a membership.

use std::collections::HashMap;

use otel_grpc::{MessageSpans, StreamSlot};
use otel_telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Status, Streaming};
use tower::Layer;

use crate::pb::client_message::Kind;
use crate::pb::left::Reason;
use crate::pb::room_client::RoomClient;
use crate::pb::{ClientMessage, Join, Say, ServerMessage, TALK, server_message};
use crate::telemetry::client_layer;

/// The number of outgoing messages that may be queued.
const QUEUE: usize = 16;

pub(crate) struct Member {
    /// `None` after [`leave`](Self::leave).
    outgoing: Option<mpsc::Sender<ClientMessage>>,
    incoming: Streaming<ServerMessage>,
    spans: MessageSpans,
}

impl Member {
    /// Joins the room under this name. The first message from the server is the response.
    pub(crate) async fn join(
        channel: Channel,
        target: &Uri,
        name: &str,
        telemetry: &Telemetry,
    ) -> Result<Self, Status> {
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(messages));
        // The layer stores the call's span in this slot, and each message's span is linked to it.
        let stream = StreamSlot::default();
        request.extensions_mut().insert(stream.clone());
        let mut client = RoomClient::new(client_layer(telemetry, target).layer(channel));
        let incoming = client.talk(request).await?.into_inner();
        let spans = MessageSpans::new(TALK, &stream).with_tracer_provider(telemetry.tracer_provider());
        let member = Self { outgoing: Some(outgoing), incoming, spans };
        member.send(Kind::Join(Join { name: name.to_owned() })).await;
        Ok(member)
    }

    /// Sends text to the room. If the stream has ended, [`receive`](Self::receive) returns the reason.
    pub(crate) async fn say(&self, text: &str) {
        self.send(Kind::Say(Say { text: text.to_owned() })).await;
    }

    async fn send(&self, kind: Kind) {
        let Some(outgoing) = &self.outgoing else { return };
        let mut context = HashMap::new();
        let sending = self.spans.send(&mut context);
        if outgoing.send(ClientMessage { kind: Some(kind), context }).await.is_err() {
            sending.fail("stream_ended");
        }
    }

    /// Waits for the next message and passes it to `show`, within the message's trace. Returns `false` at the end of
    /// the stream. Cancel safe: a message is not lost if the future is dropped while it waits.
    pub(crate) async fn receive(&mut self, show: impl FnOnce(&str)) -> Result<bool, Status> {
        let Some(message) = self.incoming.message().await? else { return Ok(false) };
        let handling = async {
            if let Some(kind) = message.kind {
                show(&line(kind));
            }
        };
        self.spans.receive(&message.context, handling).await;
        Ok(true)
    }

    /// Ends the request stream. Queued messages from the server still arrive, followed by the end of the stream.
    pub(crate) fn leave(&mut self) {
        self.outgoing = None;
    }
}

/// Formats a message as a line for the terminal.
fn line(kind: server_message::Kind) -> String {
    use server_message::Kind;
    let line = match kind {
        Kind::Welcome(welcome) if welcome.present.is_empty() => "* joined; the room is empty".to_owned(),
        Kind::Welcome(welcome) => format!("* joined; members: {}", welcome.present.join(", ")),
        Kind::Joined(joined) => format!("* {} joined", joined.name),
        Kind::Said(said) => format!("{}: {}", said.name, said.text),
        Kind::Left(left) => {
            let how = match left.reason() {
                Reason::Disconnected => "lost the connection",
                Reason::TooSlow => "was removed for reading too slowly",
                Reason::Left | Reason::Unspecified => "left",
            };
            format!("* {} {how}", left.name)
        }
    };
    // Control characters from untrusted peers could control the terminal.
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::pb::left::Reason;
    use crate::pb::server_message::Kind;
    use crate::pb::{Left, Said, Welcome};

    #[test]
    fn messages_are_formatted_as_lines() {
        let present = vec!["ada".to_owned(), "grace".to_owned()];
        assert_eq!(line(Kind::Welcome(Welcome { present })), "* joined; members: ada, grace");
        let left = |reason: i32| line(Kind::Left(Left { name: "ada".to_owned(), reason }));
        assert_eq!(left(Reason::Disconnected.into()), "* ada lost the connection");
        assert_eq!(left(99), "* ada left");
    }

    #[test]
    fn control_characters_are_replaced() {
        let said = Said { name: "ada".to_owned(), text: "\u{1b}[2Jbye\nada: hello".to_owned() };
        assert_eq!(line(Kind::Said(said)), "ada: \u{fffd}[2Jbye\u{fffd}ada: hello");
    }
}
