//! Connections that are replaced when they are lost. lapin's own recovery is not used: with it, an I/O loop was seen to wait for
//! socket events after the broker was killed, and not to connect to the restarted broker.

use std::sync::Arc;
use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use otel_amqp::Options;
use tokio::sync::RwLock;
use tokio::time::timeout;

use crate::consume::PREFETCH;
use crate::send::Channel;

/// The pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// The timeout of an attempt. Without one, attempts were seen to stay pending while the broker was starting.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);

/// Opens channels, each on a connection of its own.
pub(crate) trait Opener: Clone + Send + Sync + 'static {
    type Channel: Channel;

    fn open(&self) -> impl Future<Output = lapin::Result<Self::Channel>> + Send;

    /// Opens a channel as soon as the broker answers, with publisher confirms and a limit to the messages that the broker
    /// sends ahead.
    fn channel(&self) -> impl Future<Output = Self::Channel> + Send {
        async {
            loop {
                if let Ok(Ok(channel)) = timeout(ATTEMPT, self.open()).await
                    && prepare(channel.inner()).await.is_ok()
                {
                    return channel;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn prepare(channel: &lapin::Channel) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await
}

/// Opens channels of lapin.
#[derive(Clone)]
pub(crate) struct Bare(pub(crate) String);

impl Opener for Bare {
    type Channel = lapin::Channel;

    async fn open(&self) -> lapin::Result<lapin::Channel> {
        let connection = lapin::Connection::connect(&self.0, ConnectionProperties::default()).await?;
        connection.create_channel().await
    }
}

/// Opens channels of otel-amqp.
#[derive(Clone)]
pub(crate) struct Ours(pub(crate) String, pub(crate) Options);

impl Opener for Ours {
    type Channel = otel_amqp::Channel;

    async fn open(&self) -> lapin::Result<otel_amqp::Channel> {
        let connection = otel_amqp::Connection::connect(&self.0, ConnectionProperties::default()).await?;
        connection.with_options(self.1.clone()).create_channel().await
    }
}

/// A channel that several workers share.
pub(crate) struct Link<O: Opener> {
    opener: O,
    /// The channel, and the number of those before it.
    current: RwLock<(u64, O::Channel)>,
}

impl<O: Opener> Link<O> {
    pub(crate) async fn new(opener: O) -> Arc<Self> {
        let channel = opener.channel().await;
        Arc::new(Self { opener, current: RwLock::new((0, channel)) })
    }

    pub(crate) async fn get(&self) -> (u64, O::Channel) {
        self.current.read().await.clone()
    }

    /// Replaces the channel with this number, unless another worker has done so.
    pub(crate) async fn replace(&self, number: u64) {
        let mut current = self.current.write().await;
        if current.0 == number {
            *current = (number + 1, self.opener.channel().await);
        }
    }
}
