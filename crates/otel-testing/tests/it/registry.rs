//! The comparison with the registry finds each kind of difference.

use opentelemetry::{
    KeyValue,
    metrics::MeterProvider,
    trace::{Link, Span, Tracer, TracerProvider},
};
use otel_testing::{
    Recorder,
    registry::{ConventionCheck, ProjectNames},
};

const DOCUMENT: &str = "
## other

| name | kind | unit | reason |
|---|---|---|---|
| `other` | counter | `{other}` | Not of this crate. |

## parrot

Prose, and two tables.

| name | kind | unit | reason |
|---|---|---|---|
| `parrot.talks` | counter | `{talk}` | The registry has no birds. |

| name | kind | unit | reason |
|---|---|---|---|
| `parrot.word` | attribute | | The registry has no birds. |
| `parrot.lands` | event | | The registry has no birds. |
| `rpc.client.request.size` | histogram | `By` | Deprecated without replacement. |
";

/// Records what conforms, and what a test adds; the findings.
fn findings(document: &str, more: impl FnOnce(&Recorder)) -> String {
    let recorder = Recorder::new();
    let meter = recorder.meter_provider().meter("parrot");
    let duration = meter.f64_histogram("http.server.request.duration").with_unit("s");
    let duration = duration.with_description("Duration of HTTP server requests.").build();
    duration.record(0.1, &[KeyValue::new("http.response.status_code", 200)]);
    let talks = meter.u64_counter("parrot.talks").with_unit("{talk}").build();
    talks.add(1, &[KeyValue::new("parrot.word", "hello")]);
    let size = meter.u64_histogram("rpc.client.request.size").with_unit("By");
    size.with_description("Measures the size of RPC request messages (uncompressed).").build().record(1, &[]);
    let mut span = recorder.tracer_provider().tracer("parrot").start("talk");
    span.set_attribute(KeyValue::new(
        "http.request.header.accept",
        opentelemetry::Value::Array(vec![opentelemetry::StringValue::from("text/plain")].into()),
    ));
    span.add_event("parrot.lands", Vec::new());
    span.end();
    more(&recorder);
    let mut check = ConventionCheck::new(ProjectNames::parse(document, "parrot").unwrap_or_default());
    check.add(&recorder);
    check.finish().err().unwrap_or_default()
}

#[track_caller]
fn assert_found(expected: &[&str], more: impl FnOnce(&Recorder)) {
    assert_eq!(findings(DOCUMENT, more), expected.join("\n"));
}

fn span(recorder: &Recorder, change: impl FnOnce(&mut otel_testing::RecordingSpan)) {
    let mut span = recorder.tracer_provider().tracer("parrot").start("fly");
    change(&mut span);
    span.end();
}

#[test]
fn what_conforms_passes() {
    assert_found(&[], |_| {});
}

#[test]
fn a_metric_by_name_unit_instrument_and_description() {
    assert_found(&["metric parrot.wings: it is not in the registry, and not listed"], |recorder| {
        recorder.meter_provider().meter("a").u64_counter("parrot.wings").build().add(1, &[]);
    });
    assert_found(
        &[
            r#"metric http.client.request.duration: the description is "", not "Duration of HTTP client requests.""#,
            "metric http.client.request.duration: the instrument is Some(Counter), not Some(Histogram)",
            r#"metric http.client.request.duration: the unit is "ms", not "s""#,
        ],
        |recorder| {
            let meter = recorder.meter_provider().meter("a");
            meter.u64_counter("http.client.request.duration").with_unit("ms").build().add(1, &[]);
        },
    );
    assert_found(&[r#"metric rpc.server.request.size: it is deprecated, and not listed"#], |recorder| {
        let meter = recorder.meter_provider().meter("a");
        let size = meter.u64_histogram("rpc.server.request.size");
        let size = size.with_unit("By");
        let size = size.with_description("Measures the size of RPC request messages (uncompressed).");
        size.build().record(1, &[]);
    });
}

#[test]
fn a_listed_metric_by_its_row() {
    let document = DOCUMENT.replace("| counter | `{talk}` |", "| gauge | `{word}` |");
    assert_eq!(
        findings(&document, |_| {}),
        "metric parrot.talks: the instrument is Some(Counter), not Some(Gauge)\n\
         metric parrot.talks: the unit is \"{talk}\", not \"{word}\""
    );
}

#[test]
fn attributes_of_spans_events_links_and_metrics() {
    let unknown =
        |place: &str| format!("attribute a.b of {place}: it is not in the registry, and not listed");
    let attribute = || vec![KeyValue::new("a.b", 1)];
    assert_found(&[&unknown("span `fly`")], |recorder| {
        span(recorder, |span| span.set_attribute(KeyValue::new("a.b", 1)));
    });
    assert_found(&[&unknown("event `parrot.lands` of span `fly`")], |recorder| {
        span(recorder, |span| span.add_event("parrot.lands", attribute()));
    });
    assert_found(&[&unknown("link of span `linked`")], |recorder| {
        let tracer = recorder.tracer_provider().tracer("parrot");
        let target = tracer.start("target").span_context().clone();
        let link = Link::new(target, attribute(), 0);
        tracer.span_builder("linked").with_links(vec![link]).start(&tracer).end();
    });
    assert_found(&[&unknown("metric parrot.talks")], |recorder| {
        let meter = recorder.meter_provider().meter("parrot");
        meter.u64_counter("parrot.talks").with_unit("{talk}").build().add(1, &attribute());
    });
    assert_found(&["attribute http.method of span `fly`: it is deprecated, and not listed"], |recorder| {
        span(recorder, |span| span.set_attribute(KeyValue::new("http.method", "GET")))
    });
    assert_found(
        &[
            "attribute http.response.status_code of span `fly`: the value String(Owned(\"200\")) is not of the type int",
        ],
        |recorder| {
            span(recorder, |span| {
                span.set_attribute(KeyValue::new("http.response.status_code", "200".to_owned()));
            });
        },
    );
    assert_found(
        &[
            "attribute http.request.header.accept of span `fly`: the value I64(1) is not of the type template[string[]]",
        ],
        |recorder| span(recorder, |span| span.set_attribute(KeyValue::new("http.request.header.accept", 1))),
    );
}

#[test]
fn an_event_that_is_not_listed() {
    assert_found(&["event `sings` of span `fly`: the event is not listed"], |recorder| {
        span(recorder, |span| span.add_event("sings", Vec::new()));
    });
}

#[test]
fn another_schema() {
    let schema = "https://opentelemetry.io/schemas/1.44.0";
    assert_found(&[&format!("span `old`: the schema URL is not {schema}")], |recorder| {
        for (name, url) in [("old", "https://opentelemetry.io/schemas/1.42.0"), ("new", schema)] {
            let scope = opentelemetry::InstrumentationScope::builder("a").with_schema_url(url).build();
            recorder.tracer_provider().tracer_with_scope(scope).start(name).end();
        }
    });
}

#[test]
fn names_that_are_listed_in_vain() {
    let more = "| `parrot.nest` | attribute | | The registry has no birds. |\n\
                | `http.route` | attribute | | The registry has it. |\n";
    assert_eq!(
        findings(&format!("{DOCUMENT}{more}"), |_| {}),
        "http.route is listed and was not recorded\n\
         http.route is listed as the project's own, but is in the registry\n\
         parrot.nest is listed and was not recorded"
    );
    let check = ConventionCheck::new(ProjectNames::none());
    assert_eq!(check.finish(), Err("nothing was recorded".to_owned()));
}

#[test]
fn rows_that_cannot_be_read() {
    let error = |row: &str| ProjectNames::parse(&format!("## parrot\n{row}\n"), "parrot").err();
    assert_eq!(error("| `a` | counter | `{a}` | A reason. |"), None);
    for (row, complaint) in [
        ("| `a` | counter | A reason. |", "not a row of"),
        ("| `a` | meter | `{a}` | A reason. |", "unknown kind"),
        ("| `a` | counter | `{a}` | |", "no reason"),
    ] {
        assert!(error(row).is_some_and(|text| text.starts_with(complaint)), "{row}");
    }
    assert!(ProjectNames::parse(DOCUMENT, "cockatoo").is_err());
}
