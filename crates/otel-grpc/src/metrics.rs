//! The metrics of calls.
//!
//! Follows the [RPC semantic conventions](https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/) 1.44,
//! `rpc.{client,server}.call.duration`. The sizes and numbers of messages are opt-in, with the names of versions
//! before 1.38. So are the numbers of active calls and of open streams, with names of ours (docs/conventions.md).

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, UpDownCounter};
use otel_operation::{
    AttributedHistogram, AttributedUpDownCounter, DURATION_BOUNDARIES, ERROR_TYPE, Outcome,
};
use tonic::Code;

use crate::attributes::{OTHER, STATUS_CODE};
use crate::messages::Totals;
use crate::method::Method;
use crate::outcome;

/// The instruments of a server or of a client.
#[derive(Debug)]
pub struct GrpcInstruments {
    duration: Histogram<f64>,
    active_calls: UpDownCounter<i64>,
    open_streams: UpDownCounter<i64>,
    /// In the order of [`Totals`].
    messages: [Histogram<u64>; 4],
}

impl GrpcInstruments {
    pub(crate) fn client(meter: &Meter) -> Self {
        let messages = [
            "rpc.client.request.size",
            "rpc.client.response.size",
            "rpc.client.requests_per_rpc",
            "rpc.client.responses_per_rpc",
        ];
        let description = "Measures the duration of an outgoing Remote Procedure Call (RPC).";
        let in_flight = ["rpc.client.active_calls", "rpc.client.open_streams"];
        Self::new(meter, ("rpc.client.call.duration", description), in_flight, messages)
    }

    pub(crate) fn server(meter: &Meter) -> Self {
        let messages = [
            "rpc.server.request.size",
            "rpc.server.response.size",
            "rpc.server.requests_per_rpc",
            "rpc.server.responses_per_rpc",
        ];
        let description = "Measures the duration of an incoming Remote Procedure Call (RPC).";
        let in_flight = ["rpc.server.active_calls", "rpc.server.open_streams"];
        Self::new(meter, ("rpc.server.call.duration", description), in_flight, messages)
    }

    /// The descriptions are the registry's, to the letter.
    fn new(
        meter: &Meter,
        (duration, description): (&'static str, &'static str),
        [active_calls, open_streams]: [&'static str; 2],
        messages: [&'static str; 4],
    ) -> Self {
        let histogram = |(index, name): (usize, &'static str)| {
            let (unit, description) = match index {
                0 => ("By", "Measures the size of RPC request messages (uncompressed)."),
                1 => ("By", "Measures the size of RPC response messages (uncompressed)."),
                2 => ("{count}", "Measures the number of messages received per RPC."),
                _ => ("{count}", "Measures the number of messages sent per RPC."),
            };
            meter.u64_histogram(name).with_unit(unit).with_description(description).build()
        };
        let up_down = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.i64_up_down_counter(name).with_unit(unit).with_description(description).build()
        };
        let [a, b, c, d] = messages;
        Self {
            duration: meter
                .f64_histogram(duration)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(DURATION_BOUNDARIES.to_vec())
                .build(),
            active_calls: up_down(active_calls, "{call}", "Number of calls that have started and not ended."),
            open_streams: up_down(
                open_streams,
                "{stream}",
                "Number of calls whose response has started and not ended.",
            ),
            messages: [(0, a), (1, b), (2, c), (3, d)].map(histogram),
        }
    }
}

/// The key of a series within one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    code: Code,
    error: Option<&'static str>,
}

impl Key {
    #[inline]
    fn new(code: Code, outcome: &Outcome) -> Self {
        let error = outcome.error_type().map(|error| match error {
            Cow::Borrowed(error) => *error,
            // Classes, statuses and the values of hooks are constants.
            Cow::Owned(_) => OTHER,
        });
        Self { code, error }
    }
}

impl Method {
    pub(crate) fn add_active_calls(&self, instruments: &GrpcInstruments, delta: i64) {
        let series = || AttributedUpDownCounter::new(&instruments.active_calls, self.names().to_vec());
        self.active_calls.get_or_init(series).add(delta);
    }

    pub(crate) fn add_open_streams(&self, instruments: &GrpcInstruments, delta: i64) {
        let series = || AttributedUpDownCounter::new(&instruments.open_streams, self.names().to_vec());
        self.open_streams.get_or_init(series).add(delta);
    }

    pub(crate) fn measure(
        &self,
        instruments: &GrpcInstruments,
        code: Code,
        outcome: &Outcome,
        elapsed: Duration,
        totals: Option<&Totals>,
    ) {
        let key = Key::new(code, outcome);
        let attributes = || self.attributes(key);
        self.durations.get_or_init_with(
            key,
            || {
                self.count_series();
                AttributedHistogram::new(&instruments.duration, attributes())
            },
            |series| series.record(elapsed.as_secs_f64()),
        );
        let Some(totals) = totals else { return };
        self.sizes.get_or_init_with(
            key,
            || {
                instruments
                    .messages
                    .each_ref()
                    .map(|histogram| AttributedHistogram::new(histogram, attributes()))
            },
            |series| {
                for (series, value) in series.iter().zip(totals.values) {
                    series.record(value);
                }
            },
        );
    }

    fn attributes(&self, key: Key) -> Vec<KeyValue> {
        let mut attributes = self.common.clone();
        attributes.push(KeyValue::new(STATUS_CODE, outcome::name(key.code)));
        attributes.extend(key.error.map(|error| KeyValue::new(ERROR_TYPE, error)));
        attributes
    }
}
