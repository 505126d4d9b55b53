//! Deliveries to a delegate, which lapin calls in tasks of its own.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use lapin::Result;

use crate::consumer::{CONSUME, Delivery, Source};

/// The result of a delivery: `None` if the consumer was cancelled. An error is followed by `None`.
pub type DeliveryResult = Result<Option<Delivery>>;

type DelegateFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// lapin's `ConsumerDelegate` for deliveries that record. Closures that return a future implement it.
///
/// ```
/// use lapin::options::BasicAckOptions;
/// use otel_amqp::{Consumer, DeliveryResult};
///
/// fn start(consumer: &Consumer) {
///     consumer.set_delegate(|delivery: DeliveryResult| async move {
///         let Ok(Some(delivery)) = delivery else { return };
///         delivery.process(async |delivery| println!("{:?}", delivery.data)).await;
///         let _ = delivery.ack(BasicAckOptions::default()).await;
///     });
/// }
/// ```
pub trait ConsumerDelegate: Send + Sync {
    /// Returns the handling of a delivery, of the cancellation, or of an error.
    fn on_new_delivery(&self, delivery: DeliveryResult) -> DelegateFuture;

    /// Drops messages that the delegate has kept, because the channel is closed. Default: there are none.
    fn drop_prefetched_messages(&self) -> DelegateFuture {
        Box::pin(ready(()))
    }
}

impl<F, D> ConsumerDelegate for D
where
    F: Future<Output = ()> + Send + 'static,
    D: Fn(DeliveryResult) -> F + Send + Sync + 'static,
{
    fn on_new_delivery(&self, delivery: DeliveryResult) -> DelegateFuture {
        Box::pin(self(delivery))
    }
}

/// A delegate of lapin that calls one of ours.
pub(super) struct Adapter<D> {
    delegate: Arc<D>,
    source: Source,
}

impl<D> Adapter<D> {
    pub(super) fn new(delegate: D, source: Source) -> Self {
        Self { delegate: Arc::new(delegate), source }
    }
}

impl<D: ConsumerDelegate + 'static> lapin::ConsumerDelegate for Adapter<D> {
    fn on_new_delivery(&self, delivery: lapin::message::DeliveryResult) -> DelegateFuture {
        let (delegate, source) = (Arc::clone(&self.delegate), self.source.clone());
        // Recorded in the task: lapin calls this method inside of its locks.
        Box::pin(async move {
            let received = |inner| Delivery::received(inner, &source, CONSUME, None);
            delegate.on_new_delivery(delivery.map(|delivery| delivery.map(received))).await;
        })
    }

    fn drop_prefetched_messages(&self) -> DelegateFuture {
        self.delegate.drop_prefetched_messages()
    }
}
