//! Bounds: statements beyond the limit, hostile texts, status codes.

use opentelemetry::Context;
use otel_database::{CommandDescription, DatabaseInstrumentation, DatabaseOutcome};
use otel_testing::Recorder;

use crate::support::{database, with};

fn run(database: &DatabaseInstrumentation, query: &str, outcome: &DatabaseOutcome) {
    let mut operation = database.query(query).start(&Context::new());
    operation.add_rows(2);
    operation.finish(outcome);
}

#[test]
fn a_statement_beyond_the_limit_has_no_name_on_metrics() {
    let recorder = Recorder::new();
    let database = with(&recorder, |options| options.with_max_statements(2));
    for round in 0..2 {
        for table in 0..5 {
            run(&database, &format!("SELECT * FROM table_{table} WHERE x = {round}"), &DatabaseOutcome::ok());
        }
    }
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    let round = ["SELECT table_0", "SELECT table_1", "shop", "shop", "shop"];
    assert_eq!(names, [round, round].concat());
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.points().len(), 3, "{duration:?}");
    assert_eq!(duration.count(), 10);
    // The summary of each is on its span.
    let tree = recorder.tree();
    assert!(tree.contains("db.query.summary: SELECT table_4"), "{tree}");
    for number in 0..5 {
        let name = format!("CMD{number}");
        database
            .command(&CommandDescription::new(&name))
            .start(&Context::new())
            .finish(&DatabaseOutcome::ok());
    }
    assert_eq!(recorder.metric("db.client.operation.duration").points().len(), 3);
}

#[test]
fn texts_with_one_summary_share_its_series() {
    let recorder = Recorder::new();
    let database = database(&recorder);
    for number in 0..20 {
        run(&database, &format!("SELECT * FROM users WHERE id = {number}"), &DatabaseOutcome::ok());
    }
    let huge = format!("SELECT * FROM users WHERE id IN ({})", "1, ".repeat(10_000));
    run(&database, &huge, &DatabaseOutcome::ok());
    let rows = recorder.metric("db.client.response.returned_rows");
    assert_eq!((rows.points().len(), rows.count(), rows.sum()), (1, 21, 42.0));
    assert!(!recorder.tree().contains("1, 1"), "{}", recorder.tree());
}

#[test]
fn a_status_code_is_on_spans_and_metrics() {
    let recorder = Recorder::new();
    let database = database(&recorder);
    run(&database, "SELECT 1", &DatabaseOutcome::from_status_code("40P01"));
    run(&database, "SELECT 1", &DatabaseOutcome::error("timeout").with_description("no answer in 3 s"));
    run(&database, "SELECT 1", &DatabaseOutcome::from_status_code("ERROR: duplicate key (name)=(maria)"));
    let tree = recorder.tree();
    assert!(tree.contains("db.response.status_code: 40P01") && tree.contains("error.type: 40P01"), "{tree}");
    assert!(tree.contains("no answer in 3 s") && !tree.contains("maria"), "{tree}");
    let duration = recorder.metric("db.client.operation.duration");
    let codes: Vec<_> = duration
        .points()
        .iter()
        .map(|point| {
            ["error.type", "db.response.status_code"].map(|key| point.attribute(key).map(ToString::to_string))
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    let expected = [[text("40P01"), text("40P01")], [text("_OTHER"), None], [text("timeout"), None]];
    assert!(expected.iter().all(|one| codes.contains(one)) && codes.len() == 3, "{codes:?}");
}

#[test]
fn a_filter_leaves_statements_out_by_their_name() {
    let recorder = Recorder::new();
    let database = with(&recorder, |options| options.with_filter(|name| name != "SELECT health"));
    let mut operation = database.query("SELECT * FROM health").start(&Context::new());
    operation.add_rows(1);
    assert!(operation.is_inert() && operation.context().is_none());
    operation.finish(&DatabaseOutcome::ok());
    run(&database, "SELECT * FROM users", &DatabaseOutcome::ok());
    assert_eq!(recorder.spans().len(), 1);
    assert_eq!(recorder.metric("db.client.operation.duration").count(), 1);
    let panics = with(&recorder, |options| options.with_filter(|_| panic!("hook")));
    run(&panics, "SELECT * FROM health", &DatabaseOutcome::ok());
    assert_eq!(recorder.spans().len(), 2, "a filter that panics leaves nothing out");
}

#[test]
fn text_that_is_no_sql_is_not_recorded() {
    let recorder = Recorder::new();
    let database = database(&recorder);
    run(&database, "hunter2 hunter2", &DatabaseOutcome::ok());
    assert!(!recorder.tree().contains("hunter2"), "{}", recorder.tree());
    let verbatim = with(&recorder, |options| options.with_query_text(otel_database::QueryText::Verbatim));
    run(&verbatim, "hunter2 hunter2", &DatabaseOutcome::ok());
    assert!(recorder.tree().contains("hunter2"), "{}", recorder.tree());
}
