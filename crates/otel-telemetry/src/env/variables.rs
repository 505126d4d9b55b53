//! The list of all environment variables of the OpenTelemetry specification, and the support for each.
//!
//! Follows the specification of [environment
//! variables](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) and that of the [OTLP
//! exporter](https://opentelemetry.io/docs/specs/otel/protocol/exporter/). The table in the README has the same rows,
//! which a test compares.

/// The support for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// Supported since this version.
    Since(&'static str),
    /// Supported since this version, with the feature `tls`.
    TlsSince(&'static str),
    /// Not supported; a warning names the variable and states what applies instead.
    Warned(&'static str),
}

use self::Support::{Since, TlsSince, Warned};

/// The variables. Braces contain alternatives, as in a shell; an empty alternative is for all signals.
pub(super) const VARIABLES: &[(&str, Support)] = &[
    ("OTEL_SDK_DISABLED", Since("0.1.0")),
    ("OTEL_SERVICE_NAME", Since("0.1.0")),
    ("OTEL_RESOURCE_ATTRIBUTES", Since("0.1.0")),
    ("OTEL_ENTITIES", Warned("OTEL_RESOURCE_ATTRIBUTES sets the resource")),
    ("OTEL_LOG_LEVEL", Warned("RUST_LOG sets the level")),
    ("OTEL_PROPAGATORS", Since("0.1.0")),
    ("OTEL_TRACES_SAMPLER{,_ARG}", Since("0.1.0")),
    ("OTEL_{TRACES,METRICS,LOGS}_EXPORTER", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}ENDPOINT", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}INSECURE", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_SPAN_INSECURE", Warned("OTEL_EXPORTER_OTLP_TRACES_INSECURE has replaced it")),
    ("OTEL_EXPORTER_OTLP_METRIC_INSECURE", Warned("OTEL_EXPORTER_OTLP_METRICS_INSECURE has replaced it")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}PROTOCOL", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}HEADERS", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}TIMEOUT", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}COMPRESSION", Since("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}CERTIFICATE", TlsSince("0.1.0")),
    ("OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}CLIENT_{CERTIFICATE,KEY}", TlsSince("0.1.0")),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", Since("0.1.0")),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        Warned("histograms have explicit buckets unless a view of the application changes them"),
    ),
    ("OTEL_EXPORTER_ZIPKIN_{ENDPOINT,TIMEOUT,PROTOCOL}", Warned("nothing is sent to Zipkin")),
    ("OTEL_EXPORTER_PROMETHEUS_{HOST,PORT}", Warned("metrics are sent by OTLP, not served to Prometheus")),
    ("OTEL_{BSP,BLRP}_SCHEDULE_DELAY", Since("0.1.0")),
    ("OTEL_{BSP,BLRP}_EXPORT_TIMEOUT", Since("0.1.0")),
    ("OTEL_{BSP,BLRP}_MAX_QUEUE_SIZE", Since("0.1.0")),
    ("OTEL_{BSP,BLRP}_MAX_EXPORT_BATCH_SIZE", Since("0.1.0")),
    ("OTEL_METRIC_EXPORT_INTERVAL", Since("0.1.0")),
    ("OTEL_METRIC_EXPORT_TIMEOUT", Since("0.1.0")),
    ("OTEL_METRICS_EXEMPLAR_FILTER", Warned("no exemplars are recorded")),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", Since("0.1.0")),
    ("OTEL_SPAN_{ATTRIBUTE,EVENT,LINK}_COUNT_LIMIT", Since("0.1.0")),
    ("OTEL_{EVENT,LINK}_ATTRIBUTE_COUNT_LIMIT", Since("0.1.0")),
    ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", Warned("the attributes of log records are not limited")),
    ("OTEL_{,SPAN_,LOGRECORD_}ATTRIBUTE_VALUE_LENGTH_LIMIT", Warned("values are not truncated")),
    ("OTEL_{,EXPERIMENTAL_}CONFIG_FILE", Warned("the other variables and the options in code apply")),
];

/// Returns the variables that have no effect in this build, with what applies instead.
pub(super) fn unsupported() -> impl Iterator<Item = (String, &'static str)> {
    let warned = VARIABLES.iter().filter_map(|(pattern, support)| match support {
        Warned(instead) => Some((*pattern, *instead)),
        TlsSince(_) if cfg!(not(feature = "tls")) => {
            Some((*pattern, "it needs the feature `tls` of otel-telemetry"))
        }
        Since(_) | TlsSince(_) => None,
    });
    warned.flat_map(|(pattern, instead)| expand(pattern).into_iter().map(move |name| (name, instead)))
}

/// Returns the names that a pattern stands for.
pub(super) fn expand(pattern: &str) -> Vec<String> {
    let parts = pattern.split_once('{').and_then(|(start, rest)| Some((start, rest.split_once('}')?)));
    match parts {
        Some((start, (alternatives, rest))) => {
            let ends = expand(rest);
            let with_ends = |alternative| ends.iter().map(move |end| format!("{start}{alternative}{end}"));
            alternatives.split(',').flat_map(with_ends).collect()
        }
        None => vec![pattern.to_owned()],
    }
}
