//! A member of the room.

use std::collections::HashMap;

use otel_grpc::{MessageSpans, StreamSlot};
use otel_telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Status, Streaming};
use tower::Layer;

use crate::pb::client_message::What;
use crate::pb::left::Reason;
use crate::pb::room_client::RoomClient;
use crate::pb::{ClientMessage, Join, Say, ServerMessage, TALK, server_message};
use crate::telemetry::client_layer;

/// How much may be said that has not been sent.
const QUEUE: usize = 16;

pub(crate) struct Member {
    /// There is none once the member has left.
    outgoing: Option<mpsc::Sender<ClientMessage>>,
    incoming: Streaming<ServerMessage>,
    spans: MessageSpans,
}

impl Member {
    /// Joins under this name; what is heard first is the answer.
    pub(crate) async fn join(
        channel: Channel,
        target: &Uri,
        name: &str,
        telemetry: &Telemetry,
    ) -> Result<Self, Status> {
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(messages));
        // The layer tells us here which span the call has: it is what each message's span is linked to.
        let stream = StreamSlot::default();
        request.extensions_mut().insert(stream.clone());
        let mut client = RoomClient::new(client_layer(telemetry, target).layer(channel));
        let incoming = client.talk(request).await?.into_inner();
        let spans = MessageSpans::of(TALK, &stream).with_tracer_provider(telemetry.tracer_provider());
        let member = Self { outgoing: Some(outgoing), incoming, spans };
        member.send(What::Join(Join { name: name.to_owned() })).await;
        Ok(member)
    }

    /// Says something. If the stream has ended, [`hear`](Self::hear) tells why.
    pub(crate) async fn say(&self, text: &str) {
        self.send(What::Say(Say { text: text.to_owned() })).await;
    }

    async fn send(&self, what: What) {
        let Some(outgoing) = &self.outgoing else { return };
        let mut context = HashMap::new();
        let sending = self.spans.send(&mut context);
        if outgoing.send(ClientMessage { what: Some(what), context }).await.is_err() {
            sending.fail("stream_ended");
        }
    }

    /// Waits for the next message and shows it, as a part of the trace that it carries. Returns whether there was one.
    /// Nothing is lost if the future is dropped while it waits.
    pub(crate) async fn hear(&mut self, show: impl FnOnce(&str)) -> Result<bool, Status> {
        let Some(message) = self.incoming.message().await? else { return Ok(false) };
        let handling = async {
            if let Some(what) = message.what {
                show(&line(what));
            }
        };
        self.spans.receive(&message.context, handling).await;
        Ok(true)
    }

    /// Says that nothing more will be said. What is still to be heard comes, and then the end.
    pub(crate) fn leave(&mut self) {
        self.outgoing = None;
    }
}

/// A message as a line for people.
fn line(what: server_message::What) -> String {
    use server_message::What;
    let line = match what {
        What::Welcome(welcome) if welcome.present.is_empty() => "* you are in, and nobody else".to_owned(),
        What::Welcome(welcome) => format!("* you are in, and so are: {}", welcome.present.join(", ")),
        What::Joined(joined) => format!("* {} joined", joined.name),
        What::Said(said) => format!("{}: {}", said.name, said.text),
        What::Left(left) => {
            let how = match left.reason() {
                Reason::CutOff => "was cut off",
                Reason::TooSlow => "did not listen and is out",
                Reason::Left | Reason::Unspecified => "left",
            };
            format!("* {} {how}", left.name)
        }
    };
    // A terminal obeys control characters, and these come from strangers.
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::pb::left::Reason;
    use crate::pb::server_message::What;
    use crate::pb::{Left, Said, Welcome};

    #[test]
    fn messages_read_as_lines() {
        let present = vec!["ada".to_owned(), "grace".to_owned()];
        assert_eq!(line(What::Welcome(Welcome { present })), "* you are in, and so are: ada, grace");
        let left = |reason: i32| line(What::Left(Left { name: "ada".to_owned(), reason }));
        assert_eq!(left(Reason::CutOff.into()), "* ada was cut off");
        assert_eq!(left(99), "* ada left");
    }

    #[test]
    fn a_terminal_is_given_no_orders() {
        let said = Said { name: "ada".to_owned(), text: "\u{1b}[2Jbye\nada: hello".to_owned() };
        assert_eq!(line(What::Said(said)), "ada: \u{fffd}[2Jbye\u{fffd}ada: hello");
    }
}
