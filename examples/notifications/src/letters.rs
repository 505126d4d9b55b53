//! JetStream: letters that are stored until they have been printed, and a printer that fails once.

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{self, StorageType};
use futures_util::StreamExt as _;
use otel_nats::jetstream::{Context, JetStreamMessage};
use otel_nats::{HandlerOutcome, Outcome};

use crate::Failure;
use crate::reports::Reporter;

/// The stream of letters.
#[derive(Clone, Debug)]
pub(crate) struct Letters {
    context: Context,
    stream: String,
    subject: String,
}

impl Letters {
    /// Creates the stream.
    pub(crate) async fn create(context: Context, prefix: &str) -> Result<Self, Failure> {
        let stream = format!("LETTERS_{}", prefix.trim_end_matches('.'));
        let subject = format!("{prefix}letters");
        let config = stream::Config {
            name: stream.clone(),
            subjects: vec![subject.clone()],
            storage: StorageType::Memory,
            ..stream::Config::default()
        };
        context.inner().create_stream(config).await?;
        Ok(Self { context, stream, subject })
    }

    /// Stores a letter. The span ends with the acknowledgement of the server.
    pub(crate) async fn post(&self, text: &'static str) -> Result<(), Failure> {
        self.context.publish(self.subject.clone(), text.into()).await?.await?;
        Ok(())
    }

    pub(crate) async fn delete(&self) -> Result<(), Failure> {
        self.context.inner().delete_stream(&self.stream).await?;
        Ok(())
    }
}

/// The outcome of printing.
enum Printed {
    Done,
    OutOfPaper,
}

impl HandlerOutcome for Printed {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Done => Outcome::ok(),
            Self::OutOfPaper => Outcome::error("out_of_paper"),
        }
    }
}

/// The printer, a consumer of the stream.
#[derive(Debug)]
pub(crate) struct Printer {
    context: Context,
    consumer: PullConsumer,
    reporter: Reporter,
}

impl Printer {
    pub(crate) async fn new(
        context: Context,
        letters: &Letters,
        reporter: Reporter,
    ) -> Result<Self, Failure> {
        let stream = context.inner().get_stream(&letters.stream).await?;
        let config = pull::Config { durable_name: Some("printer".to_owned()), ..pull::Config::default() };
        let consumer = stream.create_consumer(config).await?;
        Ok(Self { context, consumer, reporter })
    }

    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut letters = self.context.messages(self.consumer.messages().await?);
        while let Some(letter) = letters.next().await {
            let letter = letter?;
            // Settling inside of `process` has the settlement in the trace of the letter.
            letter
                .process(async |letter| {
                    let printed = self.print(letter);
                    let settlement = match printed {
                        Printed::Done => AckKind::Ack,
                        Printed::OutOfPaper => AckKind::Nak(None),
                    };
                    // A settlement that fails is an error of its span, and the server delivers the letter again.
                    let _ = letter.ack_with(settlement).await;
                    printed
                })
                .await;
        }
        Ok(())
    }

    /// Fails at the first delivery of each letter.
    fn print(&self, letter: &JetStreamMessage) -> Printed {
        let text = String::from_utf8_lossy(&letter.payload);
        match letter.info() {
            Ok(info) if info.delivered > 1 => {
                self.reporter.send(format_args!("prints {text:?}"));
                Printed::Done
            }
            _ => {
                self.reporter.send(format_args!("has no paper for {text:?}"));
                Printed::OutOfPaper
            }
        }
    }
}
