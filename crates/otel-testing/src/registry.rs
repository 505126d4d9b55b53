//! Compares recorded telemetry with the registry of the semantic conventions: names, units, instruments, descriptions.
//!
//! The registry is a copy of <https://github.com/open-telemetry/semantic-conventions/tree/v1.44.0/model>; its source and
//! licence are in the folder `registry` of this crate. A crate runs representative traffic with all its options on, and
//! lists the names that the registry lacks in a Markdown document:
//!
//! ```
//! use opentelemetry::metrics::MeterProvider;
//! use otel_testing::Recorder;
//! use otel_testing::registry::{ConventionCheck, ProjectNames};
//!
//! let recorder = Recorder::new();
//! let meter = recorder.meter_provider().meter("parrot");
//! meter
//!     .f64_histogram("http.server.request.duration")
//!     .with_unit("s")
//!     .with_description("Duration of HTTP server requests.")
//!     .build()
//!     .record(0.1, &[]);
//! meter.u64_counter("parrot.talks").with_unit("{talk}").build().add(1, &[]);
//!
//! let document = "## parrot\n
//! | name | kind | unit | reason |
//! |---|---|---|---|
//! | `parrot.talks` | counter | `{talk}` | The registry has no birds. |
//! ";
//! let mut check = ConventionCheck::new(ProjectNames::parse(document, "parrot")?);
//! check.add(&recorder);
//! check.finish()?;
//! # Ok::<(), String>(())
//! ```

mod names;

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::{metrics::data::ResourceMetrics, trace::SpanData};

use crate::{Metric, MetricKind, Recorder, metrics};

pub use names::ProjectNames;
use names::{Kind, ListedName};

/// The version of the semantic conventions whose registry this is.
pub const VERSION: &str = "1.44.0";

const REGISTRY: &str = include_str!("../registry/semconv-1.44.json");

/// A comparison of recorded telemetry with the registry and a project's list of names.
#[derive(Debug)]
pub struct ConventionCheck {
    registry: Registry,
    names: ProjectNames,
    used: BTreeSet<String>,
    findings: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Registry {
    metrics: BTreeMap<String, RegisteredMetric>,
    attributes: BTreeMap<String, RegisteredAttribute>,
}

#[derive(Debug)]
struct RegisteredMetric {
    kind: Option<MetricKind>,
    unit: String,
    description: String,
    deprecated: bool,
    attributes: BTreeSet<String>,
}

#[derive(Debug)]
struct RegisteredAttribute {
    value_type: String,
    deprecated: bool,
}

impl ConventionCheck {
    /// A check without telemetry yet.
    #[must_use]
    pub fn new(names: ProjectNames) -> Self {
        let mut findings = BTreeSet::new();
        let registry = Registry::read().unwrap_or_else(|error| {
            findings.insert(format!("the copy of the registry cannot be read: {error}"));
            Registry::default()
        });
        let mut check = Self { registry, names, used: BTreeSet::new(), findings };
        let listed: Vec<String> = check.names.iter().map(|listed| listed.name.clone()).collect();
        for name in listed.iter().filter(|name| check.registry.is_current(name)) {
            check.findings.insert(format!("{name} is listed as the project's own, but is in the registry"));
        }
        check
    }

    /// Compares the metrics and the finished spans of a recorder.
    pub fn add(&mut self, recorder: &Recorder) {
        recorder.collect().values().for_each(|metric| self.metric(metric));
        self.add_spans(&recorder.spans());
    }

    /// Compares collected metrics.
    pub fn add_metrics(&mut self, metrics: &ResourceMetrics) {
        metrics::gather(metrics).values().for_each(|metric| self.metric(metric));
    }

    /// Compares spans, with their events and links.
    pub fn add_spans(&mut self, spans: &[SpanData]) {
        for span in spans {
            let place = format!("span `{}`", span.name);
            let schema = format!("https://opentelemetry.io/schemas/{VERSION}");
            if span.instrumentation_scope.schema_url().is_some_and(|url| url != schema) {
                self.find(&place, &format!("the schema URL is not {schema}"));
            }
            self.attributes(&place, &span.attributes, None);
            for link in span.links.iter() {
                self.attributes(&format!("link of {place}"), &link.attributes, None);
            }
            for event in span.events.iter() {
                let place = format!("event `{}` of {place}", event.name);
                if self.listed(&event.name, |kind| kind == Kind::Event).is_none() {
                    self.find(&place, "the event is not listed");
                }
                self.attributes(&place, &event.attributes, None);
            }
        }
    }

    /// The verdict over everything that was added.
    ///
    /// # Errors
    /// One line for each difference: a name that is neither in the registry nor listed, or is deprecated there and not
    /// listed; another unit, instrument, description or type of value; a listed name that was not recorded.
    pub fn finish(mut self) -> Result<(), String> {
        for listed in self.names.iter().filter(|listed| !self.used.contains(&listed.name)) {
            self.findings.insert(format!("{} is listed and was not recorded", listed.name));
        }
        if self.used.is_empty() {
            self.findings.insert("nothing was recorded".to_owned());
        }
        if self.findings.is_empty() {
            Ok(())
        } else {
            Err(self.findings.into_iter().collect::<Vec<_>>().join("\n"))
        }
    }

    fn find(&mut self, place: &str, finding: &str) {
        self.findings.insert(format!("{place}: {finding}"));
    }

    fn listed(&mut self, name: &str, is_kind: impl Fn(Kind) -> bool) -> Option<ListedName> {
        let listed = self.names.iter().find(|listed| listed.name == name && is_kind(listed.kind)).cloned()?;
        self.used.insert(name.to_owned());
        Some(listed)
    }

    fn metric(&mut self, metric: &Metric) {
        let (name, place) = (metric.name(), format!("metric {}", metric.name()));
        let listed = self.listed(name, |kind| matches!(kind, Kind::Metric(_)));
        self.used.insert(name.to_owned());
        let (kind, unit, description) = match (self.registry.metrics.get(name), listed) {
            (Some(registered), listed) => {
                if registered.deprecated && listed.is_none() {
                    self.findings.insert(format!("{place}: it is deprecated, and not listed"));
                }
                (registered.kind, registered.unit.clone(), Some(registered.description.clone()))
            }
            (None, Some(listed)) => (listed.metric_kind(), listed.unit, None),
            (None, None) => {
                self.find(&place, "it is not in the registry, and not listed");
                (metric.kind(), metric.unit().to_owned(), None)
            }
        };
        if metric.kind() != kind {
            self.find(&place, &format!("the instrument is {:?}, not {kind:?}", metric.kind()));
        }
        if metric.unit() != unit {
            self.find(&place, &format!("the unit is {:?}, not {unit:?}", metric.unit()));
        }
        if let Some(description) = description.filter(|description| metric.description() != description) {
            self.find(&place, &format!("the description is {:?}, not {description:?}", metric.description()));
        }
        for point in metric.points() {
            self.attributes(&place, point.attributes(), Some(name));
        }
    }

    fn attributes(&mut self, place: &str, attributes: &[KeyValue], metric: Option<&str>) {
        for attribute in attributes {
            let name = attribute.key.as_str();
            self.used.insert(name.to_owned());
            if self.listed(name, |kind| kind == Kind::Attribute).is_some() {
                continue;
            }
            let of_metric = metric.and_then(|metric| self.registry.metrics.get(metric));
            let finding = match self.registry.attribute(name) {
                Some(registered) if registered.deprecated => "it is deprecated, and not listed".to_owned(),
                Some(registered) if !registered.allows(&attribute.value) => {
                    format!("the value {:?} is not of the type {}", attribute.value, registered.value_type)
                }
                Some(_) => continue,
                None if of_metric.is_some_and(|metric| metric.attributes.contains(name)) => continue,
                None => "it is not in the registry, and not listed".to_owned(),
            };
            self.find(&format!("attribute {name} of {place}"), &finding);
        }
    }
}

/// Asserts that all that was recorded is in the registry or listed for this crate in a document, and that the trees of
/// spans have these names.
///
/// # Panics
/// If not.
#[track_caller]
pub fn assert_conventions(recorder: &Recorder, document: &str, krate: &str, names: &[&str]) {
    recorder.assert_clean();
    let tree = recorder.tree();
    for name in names {
        assert!(tree.contains(name), "{name} is not recorded:\n{tree}");
    }
    let verdict = ProjectNames::parse(document, krate).and_then(|names| {
        let mut check = ConventionCheck::new(names);
        check.add(recorder);
        check.finish()
    });
    assert_eq!(verdict, Ok(()));
}

impl Registry {
    fn read() -> Result<Self, String> {
        let json: serde_json::Value = serde_json::from_str(REGISTRY).map_err(|error| error.to_string())?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut registry = Self::default();
        for metric in json["metrics"].as_array().ok_or("no metrics")? {
            let kind = match metric["instrument"].as_str() {
                Some("counter") => Some(MetricKind::Counter),
                Some("updowncounter") => Some(MetricKind::UpDownCounter),
                Some("gauge") => Some(MetricKind::Gauge),
                Some("histogram") => Some(MetricKind::Histogram),
                _ => None,
            };
            let attributes = metric["attributes"].as_object().into_iter().flatten();
            let registered = RegisteredMetric {
                kind,
                unit: text(&metric["unit"]),
                description: text(&metric["brief"]),
                deprecated: metric["deprecated"].as_bool().unwrap_or_default(),
                attributes: attributes.map(|(name, _)| name.clone()).collect(),
            };
            registry.metrics.insert(text(&metric["name"]), registered);
        }
        for (name, attribute) in json["attributes"].as_object().ok_or("no attributes")? {
            let deprecated = attribute[2] == "deprecated";
            let registered = RegisteredAttribute { value_type: text(&attribute[0]), deprecated };
            registry.attributes.insert(name.clone(), registered);
        }
        Ok(registry)
    }

    /// The entry of a name, or of the template that it is an instance of (`http.request.header.<name>`).
    fn attribute(&self, name: &str) -> Option<&RegisteredAttribute> {
        let template = || {
            let is_template = |entry: &RegisteredAttribute| entry.value_type.starts_with("template[");
            name.match_indices('.')
                .find_map(|(at, _)| self.attributes.get(&name[..at]).filter(|entry| is_template(entry)))
        };
        self.attributes.get(name).or_else(template)
    }

    fn is_current(&self, name: &str) -> bool {
        self.metrics.get(name).is_some_and(|metric| !metric.deprecated)
            || self.attributes.get(name).is_some_and(|attribute| !attribute.deprecated)
    }
}

impl RegisteredAttribute {
    fn allows(&self, value: &Value) -> bool {
        match &*self.value_type {
            "int" => matches!(value, Value::I64(_)),
            "double" => matches!(value, Value::F64(_)),
            "boolean" => matches!(value, Value::Bool(_)),
            "string[]" | "template[string[]]" => matches!(value, Value::Array(Array::String(_))),
            "string" | "enum" | "template[string]" => matches!(value, Value::String(_)),
            _ => true,
        }
    }
}
