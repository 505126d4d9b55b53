//! Names, kinds, parents and attributes of spans.

use opentelemetry::Context;
use otel_database::{
    CommandDescription, DatabaseInstrumentation, DatabaseOutcome, Options, QueryText, attributes,
};
use otel_testing::Recorder;

use crate::support::{database, defaults, remote, scope, with};

const QUERY: &str = "SELECT id FROM users WHERE name = 'maria' -- by name";

fn run(database: &DatabaseInstrumentation, query: &str) {
    database.query(query).start(&Context::new()).finish(&DatabaseOutcome::ok());
}

fn attribute(recorder: &Recorder, key: &str) -> Option<String> {
    let spans = recorder.spans();
    let span = spans.last()?;
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
}

#[test]
fn a_query_has_a_summary_and_a_text_without_literals() {
    let recorder = Recorder::new();
    run(&database(&recorder), QUERY);
    assert_eq!(
        recorder.tree(),
        "CLIENT SELECT users\n    \
         db.namespace: shop\n    \
         db.query.summary: SELECT users\n    \
         db.query.text: SELECT id FROM users WHERE name = ?\n    \
         db.system.name: parrotdb\n    \
         server.address: db.example\n    \
         server.port: 4711\n"
    );
    recorder.assert_clean();
}

#[test]
fn the_text_is_recorded_as_the_application_wants_it() {
    for (form, expected) in [
        (QueryText::Omitted, None),
        (QueryText::Sanitized, Some("SELECT id FROM users WHERE name = ?")),
        (QueryText::Verbatim, Some(QUERY)),
    ] {
        let recorder = Recorder::new();
        run(&with(&recorder, |options| options.with_query_text(form)), QUERY);
        assert_eq!(attribute(&recorder, attributes::QUERY_TEXT).as_deref(), expected, "{form:?}");
    }
    let recorder = Recorder::new();
    run(&with(&recorder, |options| options.with_max_query_text(20)), QUERY);
    assert_eq!(attribute(&recorder, attributes::QUERY_TEXT).as_deref(), Some("SELECT id FROM users"));
}

#[test]
fn a_summary_of_the_application_takes_precedence() {
    let recorder = Recorder::new();
    let summarize = |query: &str| query.contains("name =").then(|| "users by name".to_owned());
    let database = with(&recorder, |options| options.with_query_summary(summarize));
    run(&database, QUERY);
    run(&database, "SELECT 1");
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["users by name", "SELECT"]);
    let points = recorder.metric("db.client.operation.duration");
    let summaries = points.points().iter().filter_map(|point| point.attribute("db.query.summary"));
    let mut summaries: Vec<_> = summaries.map(ToString::to_string).collect();
    summaries.sort();
    assert_eq!(summaries, ["SELECT", "users by name"]);
}

#[test]
fn a_command_is_named_after_its_collection_else_its_database_or_server() {
    let name = |instrumentation: &DatabaseInstrumentation, command: &CommandDescription<'_>| {
        instrumentation.command(command).name().to_owned()
    };
    let recorder = Recorder::new();
    let database = database(&recorder);
    let find = CommandDescription::new("find");
    assert_eq!(name(&database, &find), "find shop");
    assert_eq!(name(&database, &find.with_collection("users")), "find users");
    assert_eq!(name(&database, &find.with_stored_procedure("totals")), "find totals");
    let cache = DatabaseInstrumentation::builder("redis", scope())
        .with_namespace(Some("0"))
        .without_namespace_in_names();
    let get = CommandDescription::new("GET");
    assert_eq!(name(&cache.clone().build(defaults(&recorder)), &get), "GET");
    let cache = cache.with_server(Some(("cache.example", None)));
    assert_eq!(name(&cache.clone().build(defaults(&recorder)), &get), "GET cache.example");
    let options = defaults(&recorder).with_server("cache.example", Some(7000));
    assert_eq!(name(&cache.build(options), &get), "GET cache.example:7000");
    // Without a summary a query is named after the database, or else the system.
    assert_eq!(database.query("hunter2").name(), "shop");
    let bare = DatabaseInstrumentation::builder("parrotdb", scope()).build(Options::new());
    assert_eq!(bare.query("hunter2").name(), "parrotdb");
}

#[test]
fn a_batch_has_its_size_unless_it_is_one() {
    let recorder = Recorder::new();
    let database = database(&recorder);
    let pipeline = CommandDescription::new("PIPELINE GET").with_query_text("GET user:{id}");
    for size in [0, 1, 2] {
        let pipeline = database.command(&pipeline);
        let operation = pipeline.operation().with_batch_size(size).start(&Context::new(), |attributes| {
            attributes.peer("10.0.0.7", Some(6379)).push_bounded("test", &"x".repeat(600));
        });
        operation.finish(&DatabaseOutcome::ok());
        let expected = (size != 1).then(|| size.to_string());
        assert_eq!(attribute(&recorder, attributes::OPERATION_BATCH_SIZE), expected);
    }
    assert_eq!(attribute(&recorder, attributes::OPERATION_NAME).as_deref(), Some("PIPELINE GET"));
    assert_eq!(attribute(&recorder, attributes::QUERY_TEXT).as_deref(), Some("GET user:{id}"));
    assert_eq!(attribute(&recorder, attributes::NETWORK_PEER_PORT).as_deref(), Some("6379"));
    assert_eq!(attribute(&recorder, "test").map(|text| text.len()), Some(512));
}

#[test]
fn a_comment_has_the_context_of_the_operation_where_it_is_wanted() {
    let recorder = Recorder::new();
    let parent = remote(7, true);
    let start = |database: &DatabaseInstrumentation| {
        let statement = database.query("SELECT 1");
        let (operation, text) = statement.operation().start_commented(&parent, "SELECT 1", |_| {});
        let span = operation.recording().map(|span| span.span_context().span_id().to_string());
        operation.finish(&DatabaseOutcome::ok());
        (span, text)
    };
    assert_eq!(start(&database(&recorder)).1, None);
    let commented = with(&recorder, |options| options.with_query_comments(true));
    assert!(commented.appends_query_comments());
    let (span, text) = start(&commented);
    let (span, text) = (span.unwrap(), text.unwrap());
    let expected = format!("SELECT 1 /*traceparent='00-00000000000000000000000000000007-{span}-01'*/");
    assert_eq!(text, expected);
    // A filtered operation passes the current context on.
    let filtered = with(&recorder, |options| options.with_query_comments(true).with_filter(|_| false));
    let (span, text) = start(&filtered);
    assert_eq!(span, None);
    assert!(text.unwrap().ends_with("-0000000000000007-01'*/"));
}
