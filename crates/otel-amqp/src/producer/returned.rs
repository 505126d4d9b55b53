//! Attribution of returned messages: the broker returns a message that is mandatory and that it cannot route.
//!
//! The broker sends such a message back before it acknowledges it, without the number of the publish
//! (<https://www.rabbitmq.com/docs/publishers#unroutable>), and lapin delivers it with the next confirmation that it
//! completes. That can be the one of another message: of one that is acknowledged earlier, or of any that a `multiple`
//! acknowledgement includes, because lapin completes these in the order of a hash table. A returned message has the headers
//! with which it was sent, so the span whose context they carry is the one that failed.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use lapin::message::BasicReturnMessage;
use lapin::{BasicProperties, Confirmation, Result};
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _};
use otel_messaging::{MessagingInstrumentation, MessagingOperation};

use crate::carrier::HeaderExtractor;

/// The messages of a channel that the broker can return, until they are confirmed.
#[derive(Debug)]
pub(crate) struct Returnable {
    messaging: MessagingInstrumentation,
    /// True from the first mandatory message on; without one the broker returns nothing.
    expected: AtomicBool,
    /// Those that carry the context of their span.
    open: Mutex<HashMap<SpanId, Arc<Message>>>,
    /// Those whose confirmation lapin has completed, in that order.
    completed: Mutex<Vec<Arc<Message>>>,
    /// Held until all that were completed are read.
    reading: Mutex<()>,
}

impl Returnable {
    pub(crate) fn new(messaging: MessagingInstrumentation) -> Self {
        Self {
            messaging,
            expected: AtomicBool::new(false),
            open: Mutex::default(),
            completed: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// Registers a message before it is published, if the broker can return one: this one if it is mandatory, or an earlier
    /// one, whose return lapin may deliver with this confirmation.
    pub(super) fn register(
        self: &Arc<Self>,
        is_mandatory: bool,
        operation: &MessagingOperation,
        properties: &BasicProperties,
    ) -> Option<Watched> {
        if is_mandatory {
            self.expected.store(true, Ordering::Relaxed);
        }
        if !self.expected.load(Ordering::Relaxed) || self.messaging.is_idle() {
            return None;
        }
        let span = match operation.recording() {
            Some(span) => span.span_context().span_id(),
            None => self.span_in(properties),
        };
        // Without an SDK it is the current span, which several messages can carry.
        let is_own = span != SpanId::INVALID && span != Context::current().span().span_context().span_id();
        let message = Arc::new(Message {
            span: Some(span).filter(|_| is_own && operation.injects() && !operation.is_context_dropped()),
            channel: Arc::downgrade(self),
            confirm: Mutex::new(Progress::Idle),
            reply_code: AtomicU16::new(0),
            waker: AtomicWaker::new(),
        });
        if let Some(span) = message.span {
            lock(&self.open).insert(span, Arc::clone(&message));
        }
        Some(Watched { message, channel: Arc::clone(self) })
    }

    /// Reads all confirmations that lapin has completed. lapin has delivered a returned message with one of them before it
    /// completes the confirmation of that message itself, so that its span still exists.
    fn read_completed(&self) {
        let mut read = Vec::new();
        {
            let _alone = lock(&self.reading);
            loop {
                let completed = std::mem::take(&mut *lock(&self.completed));
                if completed.is_empty() {
                    break;
                }
                read.extend(completed.into_iter().filter(|message| message.read(self)));
            }
        }
        // Outside of the locks, because wakers are code of the application.
        for message in read {
            message.waker.wake();
        }
    }

    /// Attributes a returned message that lapin delivers with the confirmation of `recipient`.
    fn attribute(&self, returned: &BasicReturnMessage, recipient: &Message) {
        let span = self.span_in(&returned.properties);
        match lock(&self.open).get(&span) {
            Some(owner) => owner.return_with(returned.reply_code),
            // It is a message that is not registered, as one whose publishing was given up.
            None if recipient.span.is_some() && span != SpanId::INVALID => {}
            // Without the context of a span lapin's attribution is the only one.
            None => recipient.return_with(returned.reply_code),
        }
    }

    /// Returns the reply code, if the message whose confirmation is not watched was returned.
    fn reply_code(&self, answer: &Result<Confirmation>) -> Option<u16> {
        let returned = returned_message(answer)?;
        match lock(&self.open).get(&self.span_in(&returned.properties)) {
            Some(owner) => {
                owner.return_with(returned.reply_code);
                None
            }
            None => Some(returned.reply_code),
        }
    }

    fn span_in(&self, properties: &BasicProperties) -> SpanId {
        let headers = HeaderExtractor::new(properties.headers().as_ref());
        self.messaging.extract_without_baggage(&headers).span().span_context().span_id()
    }
}

/// A message of a channel, from the time when it is published.
struct Message {
    /// The span whose context the message carries.
    span: Option<SpanId>,
    channel: Weak<Returnable>,
    confirm: Mutex<Progress>,
    /// The broker's reply code if the message was returned, else 0.
    reply_code: AtomicU16,
    /// The task that awaits the confirmation.
    waker: AtomicWaker,
}

enum Progress {
    /// Not handed over yet, or the confirmation was taken.
    Idle,
    Waiting(lapin::PublisherConfirm),
    Answered(Box<Result<Confirmation>>),
}

impl Message {
    /// Reads the confirmation, and returns true if it is complete.
    fn read(self: &Arc<Self>, channel: &Returnable) -> bool {
        let mut progress = lock(&self.confirm);
        let Progress::Waiting(confirm) = &mut *progress else { return false };
        let waker = Waker::from(Arc::clone(self));
        let Poll::Ready(answer) = Pin::new(confirm).poll(&mut TaskContext::from_waker(&waker)) else {
            return false;
        };
        if let Some(returned) = returned_message(&answer) {
            channel.attribute(returned, self);
        }
        *progress = Progress::Answered(Box::new(answer));
        true
    }

    fn return_with(&self, reply_code: u16) {
        self.reply_code.store(reply_code, Ordering::Release);
    }
}

impl Wake for Message {
    fn wake(self: Arc<Self>) {
        // lapin calls this inside of its locks: the confirmation is read later.
        if let Some(channel) = self.channel.upgrade() {
            lock(&channel.completed).push(Arc::clone(&self));
        }
        self.waker.wake();
    }
}

/// The confirmation of a message. It is lapin's, also where that delivers a returned message of another span.
#[derive(Debug)]
pub(crate) enum Confirm {
    Plain(lapin::PublisherConfirm),
    Watched(Watched),
}

/// A registered message. Dropping it ends the registration.
pub(crate) struct Watched {
    message: Arc<Message>,
    channel: Arc<Returnable>,
}

impl Watched {
    /// Watches the confirmation, when the message was handed over.
    pub(super) fn confirm(self, confirm: lapin::PublisherConfirm) -> Confirm {
        *lock(&self.message.confirm) = Progress::Waiting(confirm);
        // Reading it for the first time registers it with lapin.
        lock(&self.channel.completed).push(Arc::clone(&self.message));
        self.channel.read_completed();
        Confirm::Watched(self)
    }
}

impl Confirm {
    /// Returns the reply code of the broker, if it returned the message to which this is the answer.
    pub(super) fn reply_code(&self, channel: &Returnable, answer: &Result<Confirmation>) -> Option<u16> {
        match self {
            Self::Plain(_) => channel.reply_code(answer),
            Self::Watched(watched) => match watched.message.reply_code.load(Ordering::Acquire) {
                0 => None,
                code => Some(code),
            },
        }
    }
}

impl Future for Confirm {
    type Output = Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Plain(confirm) => Pin::new(confirm).poll(cx),
            Self::Watched(Watched { message, channel }) => {
                message.waker.register(cx.waker());
                channel.read_completed();
                let mut progress = lock(&message.confirm);
                match std::mem::replace(&mut *progress, Progress::Idle) {
                    Progress::Answered(answer) => Poll::Ready(*answer),
                    waiting => {
                        *progress = waiting;
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(span) = &self.message.span {
            lock(&self.channel.open).remove(span);
        }
        // Dropped here, and not by the list in which the message may be: lapin keeps a confirmation that is dropped.
        let progress = std::mem::replace(&mut *lock(&self.message.confirm), Progress::Idle);
        drop(progress);
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("span", &self.span).finish_non_exhaustive()
    }
}

fn returned_message(answer: &Result<Confirmation>) -> Option<&BasicReturnMessage> {
    match answer {
        Ok(Confirmation::Ack(returned) | Confirmation::Nack(returned)) => returned.as_ref(),
        Ok(Confirmation::NotRequested) | Err(_) => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
