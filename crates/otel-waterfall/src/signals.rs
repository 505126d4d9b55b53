//! Log records and metrics, which only the page shows, and the bounded series of metric points.

use std::{collections::HashMap, sync::Arc};

use opentelemetry::trace::{SpanId, TraceId};

use crate::model::Span;

/// The records of all signals that were read from a document.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) points: Vec<MetricPoint>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogRecord {
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: u64,
    /// The severity number, from 1 (trace) to 24 (fatal); 0 if unknown.
    pub(crate) severity: u8,
    pub(crate) level: String,
    pub(crate) body: String,
    pub(crate) service: Arc<str>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
}

impl LogRecord {
    /// Returns the text of a severity number, for records without one.
    pub(crate) fn level_of(severity: u8) -> &'static str {
        match severity {
            1..=4 => "TRACE",
            5..=8 => "DEBUG",
            9..=12 => "INFO",
            13..=16 => "WARN",
            17..=20 => "ERROR",
            21..=24 => "FATAL",
            _ => "",
        }
    }
}

/// One value of a metric; of a histogram the mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricPoint {
    pub(crate) instrument: Arc<Instrument>,
    pub(crate) attributes: Vec<(String, String)>,
    /// Nanoseconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) value: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instrument {
    pub(crate) service: Arc<str>,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) description: String,
    pub(crate) kind: &'static str,
}

/// Maximum number of series and of points of each; further series are counted, and the oldest points are dropped.
pub(crate) const MAX_SERIES: usize = 2_000;
pub(crate) const MAX_POINTS: usize = 240;

/// All instruments with their series, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct MetricStore {
    pub(crate) instruments: Vec<(Arc<Instrument>, Vec<Series>)>,
    places: HashMap<Arc<Instrument>, usize>,
    series: usize,
    pub(crate) dropped: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) attributes: Vec<(String, String)>,
    /// Times in nanoseconds since the Unix epoch, and values.
    pub(crate) points: Vec<(u64, f64)>,
}

impl MetricStore {
    pub(crate) fn add(&mut self, point: MetricPoint) {
        let sample = (point.time, point.value);
        let place = self.places.get(&point.instrument).copied();
        if let Some(place) = place
            && let Some(series) =
                self.instruments[place].1.iter_mut().find(|series| series.attributes == point.attributes)
        {
            if series.points.len() == MAX_POINTS {
                series.points.remove(0);
            }
            series.points.push(sample);
            return;
        }
        if self.series == MAX_SERIES {
            self.dropped += 1;
            return;
        }
        self.series += 1;
        let place = place.unwrap_or_else(|| {
            self.instruments.push((Arc::clone(&point.instrument), Vec::new()));
            self.places.insert(point.instrument, self.instruments.len() - 1);
            self.instruments.len() - 1
        });
        self.instruments[place].1.push(Series { attributes: point.attributes, points: vec![sample] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, attribute: u64, time: u64) -> MetricPoint {
        let instrument = Instrument {
            service: "shop".into(),
            name: name.to_owned(),
            unit: "1".to_owned(),
            description: String::new(),
            kind: "sum",
        };
        let attributes = vec![("number".to_owned(), attribute.to_string())];
        MetricPoint { instrument: instrument.into(), attributes, time, value: 1.0 }
    }

    #[test]
    fn series_and_points_are_bounded() {
        let mut store = MetricStore::default();
        for number in 0..MAX_SERIES as u64 + 5 {
            store.add(point("a", number, 0));
        }
        for time in 1..1_000 {
            store.add(point("a", 0, time));
        }
        let series = &store.instruments[0].1;
        assert_eq!((series.len(), store.dropped), (MAX_SERIES, 5));
        assert_eq!(
            (series[0].points.len(), series[0].points.last().map(|point| point.0)),
            (MAX_POINTS, Some(999))
        );
    }

    #[test]
    fn equal_instruments_share_a_card() {
        let mut store = MetricStore::default();
        store.add(point("a", 1, 0));
        store.add(point("b", 1, 0));
        store.add(point("a", 2, 0));
        assert_eq!(store.instruments.iter().map(|(_, series)| series.len()).collect::<Vec<_>>(), [2, 1]);
    }
}
