//! A record between its start and its delivery report, and the opaque that librdkafka keeps for it.
//!
//! Follows the [messaging semantic
//! conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), "Producer spans".

use std::sync::{Arc, Mutex, PoisonError};

use otel_messaging::MessagingOperation;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::BaseRecord;

use crate::carrier::OriginalHeaders;

/// A record as it is passed to librdkafka.
pub(crate) type TracedRecord<'a, O> = BaseRecord<'a, [u8], [u8], Arc<InFlightRecord<O>>>;

/// The parts of a record that are `Copy`: all except headers and opaque.
#[derive(Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) timestamp: Option<i64>,
}

/// A record whose operation has started, with its injected headers, and which librdkafka does not have yet.
pub(crate) struct StartedRecord<'a, O> {
    pub(crate) parts: RecordParts<'a>,
    pub(crate) headers: Option<OwnedHeaders>,
    /// Reported in every case: [`Opaques`] replaces it if success is not reported.
    pub(crate) in_flight: Arc<InFlightRecord<O>>,
}

/// The operation of a record, and the values that its delivery report does not contain.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) operation: MessagingOperation,
    /// The original headers; `None` if the record is sent without injected headers.
    pub(crate) own: Option<OriginalHeaders>,
    /// The timestamp of the record, which a delivery report does not always contain.
    pub(crate) timestamp: Option<i64>,
    /// True if the caller chose the partition, which is then recorded at the start.
    pub(crate) has_partition: bool,
    /// True if the record is sent without its context because of its size.
    pub(crate) is_context_dropped: bool,
}

/// The opaque that librdkafka keeps with a record until its delivery report. It is created with the operation and ended in
/// place, because moving its state costs more than ending it.
#[derive(Debug)]
pub struct InFlightRecord<O>(Kind<O>);

#[derive(Debug)]
enum Kind<O> {
    /// The report ends the operation, and takes the user's opaque.
    Reported(Sending, Option<O>),
    /// Only a failure is reported, so that nothing of ours may depend on the report.
    FailureReported(Mutex<Vec<O>>),
}

/// Creates the opaques of a producer's records.
pub(crate) struct Opaques<O> {
    /// The only opaque of a producer that reports failures alone and whose user's opaque has no size: librdkafka never
    /// returns the opaques of delivered records. A vector of values without a size allocates nothing.
    shared: Option<Arc<InFlightRecord<O>>>,
    reports_success: bool,
}

impl<O> Opaques<O> {
    pub(crate) fn new(reports_success: bool) -> Self {
        let is_shared = !reports_success && size_of::<O>() == 0;
        Self { shared: is_shared.then(|| Arc::new(failure_reported(Vec::new()))), reports_success }
    }

    /// Returns the opaque of a record. The operation is returned if no report will end it.
    pub(crate) fn opaque(
        &self,
        in_flight: Arc<InFlightRecord<O>>,
    ) -> (Arc<InFlightRecord<O>>, Option<Sending>) {
        if self.reports_success {
            return (in_flight, None);
        }
        let (sending, opaque) = match Arc::try_unwrap(in_flight) {
            Ok(InFlightRecord(Kind::Reported(sending, Some(opaque)))) => (sending, opaque),
            // Never occurs, because the record has not been sent yet.
            Ok(other) => return (Arc::new(other), None),
            Err(in_flight) => return (in_flight, None),
        };
        let Some(shared) = &self.shared else {
            return (Arc::new(failure_reported(vec![opaque])), Some(sending));
        };
        if let Kind::FailureReported(opaques) = &shared.0 {
            opaques.lock().unwrap_or_else(PoisonError::into_inner).push(opaque);
        }
        (Arc::clone(shared), Some(sending))
    }
}

fn failure_reported<O>(opaques: Vec<O>) -> InFlightRecord<O> {
    InFlightRecord(Kind::FailureReported(Mutex::new(opaques)))
}

impl<O> InFlightRecord<O> {
    pub(crate) fn new(sending: Sending, opaque: O) -> Arc<Self> {
        Arc::new(Self(Kind::Reported(sending, Some(opaque))))
    }

    /// Returns the operation, if the record has one that has not ended.
    pub(crate) fn sending(self: &mut Arc<Self>) -> Option<&mut Sending> {
        match &mut Arc::get_mut(self)?.0 {
            Kind::Reported(sending, _) => Some(sending),
            Kind::FailureReported(_) => None,
        }
    }

    /// Returns the user's opaque. `None` never occurs, because librdkafka returns an opaque once.
    pub(crate) fn take_opaque(self: &mut Arc<Self>) -> Option<O> {
        if let Kind::FailureReported(opaques) = &self.0 {
            return opaques.lock().unwrap_or_else(PoisonError::into_inner).pop();
        }
        match &mut Arc::get_mut(self)?.0 {
            Kind::Reported(_, opaque) => opaque.take(),
            Kind::FailureReported(_) => None,
        }
    }

    /// Returns true if the record is sent without its context because of its size.
    pub(crate) fn is_context_dropped(&self) -> bool {
        matches!(&self.0, Kind::Reported(Sending { is_context_dropped: true, .. }, _))
    }
}
