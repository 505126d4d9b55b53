//! The spans of commands, pipelines, transactions and scripts, on a real server.

use futures_util::StreamExt as _;
use opentelemetry::trace::{FutureExt as _, Link, SpanKind, Status, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};
use otel_redis::{Client, Connection, QueryText};
use otel_testing::Recorder;
use otel_testing::spans::{attribute, error_type, remote};
use redis::{AsyncCommands as _, Commands as _, Script};

use crate::support::{bare, bare_client, client, connect, options, unique};

fn names(recorder: &Recorder) -> Vec<String> {
    recorder.spans().iter().map(|span| span.name.to_string()).collect()
}

#[tokio::test]
async fn a_command_is_a_span_without_its_key_and_value() {
    let (recorder, key) = (Recorder::new(), unique("user"));
    let mut connection = connect(&recorder).await;
    let () = connection.set(&key, "hunter2").with_context(remote(9, true)).await.unwrap();
    let span = &recorder.spans()[0];
    assert_eq!(
        (&*span.name, &span.span_kind, &span.status),
        ("SET cache", &SpanKind::Client, &Status::Unset)
    );
    assert_eq!(span.parent_span_id, opentelemetry::SpanId::from(9));
    for (name, value) in [
        ("db.namespace", "0"),
        ("db.operation.name", "SET"),
        ("db.query.text", "SET ? ?"),
        ("db.system.name", "redis"),
        ("server.address", "cache"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(span.attributes.len(), 5, "{:?}", span.attributes);
    recorder.assert_clean();
}

#[tokio::test]
async fn the_address_and_the_database_are_those_of_the_configuration() {
    let recorder = Recorder::new();
    let info = bare_client().get_connection_info().clone();
    let database = info.redis_settings().clone().set_db(3);
    let client = Client::open(info.set_redis_settings(database)).unwrap().with_options(options(&recorder));
    let redis::ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr().clone() else {
        panic!("not TCP");
    };
    let config = crate::support::patient();
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let _: Option<String> = connection.get("absent").await.unwrap();
    let span = recorder.span(&format!("GET {host}:{port}"));
    assert_eq!(attribute(&span, "server.address"), Some(host));
    assert_eq!(attribute(&span, "server.port"), Some(port.to_string()));
    assert_eq!(attribute(&span, "db.namespace").as_deref(), Some("3"));
    recorder.assert_clean();
}

#[tokio::test]
async fn every_kind_of_command_works_unchanged() {
    let (recorder, key) = (Recorder::new(), unique("all"));
    let mut connection = connect(&recorder).await;
    let typed: Option<String> = redis::AsyncTypedCommands::get(&mut connection, &key).await.unwrap();
    assert_eq!(typed, None);
    for member in 0..3 {
        connection.sadd(&key, member).await.map(|_: usize| ()).unwrap();
    }
    {
        let mut members = connection.sscan::<_, u32>(&key).await.unwrap();
        let mut sum = 0;
        while let Some(member) = members.next().await {
            sum += member.unwrap();
        }
        assert_eq!(sum, 3);
    }
    let raw: Vec<String> =
        redis::cmd("config").arg("get").arg("port").query_async(&mut connection).await.unwrap();
    assert_eq!(raw.len(), 2);
    let expected = ["GET cache", "SADD cache", "SADD cache", "SADD cache", "SSCAN cache", "config get cache"];
    assert_eq!(names(&recorder), expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_pipeline_is_one_span_with_its_size() {
    let (recorder, key) = (Recorder::new(), unique("batch"));
    let mut connection = connect(&recorder).await;
    let mut pipeline = redis::pipe();
    let (a, b): (Option<u32>, Option<u32>) =
        pipeline.get(&key).get(&key).query_async(&mut connection).await.unwrap();
    assert_eq!((a, b), (None, None));
    pipeline.clear();
    let (c,): (u32,) = pipeline.set(&key, 7).ignore().get(&key).query_async(&mut connection).await.unwrap();
    assert_eq!(c, 7);
    pipeline.clear();
    let (d,): (u32,) = pipeline.get(&key).query_async(&mut connection).await.unwrap();
    assert_eq!(d, 7);
    let () = redis::pipe().query_async(&mut connection).await.unwrap_or_default();
    let spans = recorder.spans();
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |name| attribute(span, name);
            (of("db.operation.name").unwrap(), of("db.operation.batch.size"), of("db.query.text").unwrap())
        })
        .collect();
    let expected = [
        ("PIPELINE GET", Some("2"), "GET ?; GET ?"),
        ("PIPELINE", Some("2"), "SET ? ?; GET ?"),
        ("GET", None, "GET ?"),
        ("PIPELINE", Some("0"), ""),
    ];
    let expected =
        expected.map(|(name, size, text)| (name.to_owned(), size.map(str::to_owned), text.to_owned()));
    assert_eq!(seen, expected);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_pipeline_with_a_failed_command_is_a_failure_of_its_class() {
    let (recorder, key) = (Recorder::new(), unique("text"));
    let mut connection = connect(&recorder).await;
    let mut pipeline = redis::pipe();
    pipeline.set(&key, "hunter2").lpush(&key, 1).incr(&key, 1);
    let error = pipeline.exec_async(&mut connection).await.unwrap_err();
    assert_eq!(error.into_server_errors().unwrap().len(), 2);
    let span = &recorder.spans()[0];
    assert_eq!(error_type(span).as_deref(), Some("WRONGTYPE"));
    assert_eq!(attribute(span, "db.response.status_code").as_deref(), Some("WRONGTYPE"));
    assert!(!format!("{span:?}").contains("hunter2"));
    recorder.assert_clean();
}

#[tokio::test]
async fn a_transaction_is_one_span_and_one_that_was_aborted_says_so() {
    let (recorder, key) = (Recorder::new(), unique("counter"));
    let mut connection = connect(&recorder).await;
    let mut other = bare().await;
    let mut rounds = 0;
    let value: (u32,) =
        redis::aio::transaction_async(connection.clone(), &[&key], |mut connection, mut pipe| {
            rounds += 1;
            let (key, mut other, first) = (key.clone(), other.clone(), rounds == 1);
            async move {
                let value: Option<u32> = connection.get(&key).await?;
                if first {
                    let () = other.set(&key, 10).await?;
                }
                let pipe = pipe.set(&key, value.unwrap_or_default() + 1).ignore().get(&key);
                pipe.query_async(&mut connection).await
            }
        })
        .await
        .unwrap();
    assert_eq!((value, rounds), ((11,), 2));
    let round = ["WATCH cache", "GET cache", "MULTI cache", "UNWATCH cache"];
    assert_eq!(names(&recorder), [round, round].concat());
    let multi: Vec<_> = recorder.spans().into_iter().filter(|span| span.name == "MULTI cache").collect();
    let aborted: Vec<_> =
        multi.iter().map(|span| attribute(span, "db.redis.transaction.aborted").is_some()).collect();
    assert_eq!(aborted, [true, false]);
    assert_eq!(multi[0].status, Status::Unset);
    let mut one = redis::pipe();
    let error = one.atomic().lpush(&key, 1).exec_async(&mut connection).await.unwrap_err();
    assert_eq!(error.into_server_errors().unwrap()[0].1.code(), "WRONGTYPE");
    let unknown = redis::pipe().atomic().cmd("NOTACOMMAND").exec_async(&mut connection).await.unwrap_err();
    assert_eq!(unknown.code(), Some("EXECABORT"));
    let spans = recorder.spans();
    let [failed, refused] = &spans[spans.len() - 2..] else { panic!() };
    assert_eq!((&*failed.name, error_type(failed).as_deref()), ("MULTI LPUSH cache", Some("WRONGTYPE")));
    assert_eq!(error_type(refused).as_deref(), Some("EXECABORT"));
    recorder.assert_clean();
    let () = other.del(&key).await.unwrap();
}

#[tokio::test]
async fn a_script_is_loaded_when_the_server_has_lost_it() {
    let recorder = Recorder::new();
    let mut connection = connect(&recorder).await;
    let code = format!("return ARGV[1] -- {}", unique("script"));
    let script = Script::new(&code);
    for _ in 0..2 {
        let value: String = script.key("k").arg("hunter2").invoke_async(&mut connection).await.unwrap();
        assert_eq!(value, "hunter2");
    }
    let expected = ["EVALSHA cache", "SCRIPT LOAD cache", "EVALSHA cache", "EVALSHA cache"];
    assert_eq!(names(&recorder), expected);
    let spans = recorder.spans();
    let errors: Vec<_> = spans.iter().map(error_type).collect();
    assert_eq!(errors, [Some("NOSCRIPT".to_owned()), None, None, None]);
    assert_eq!(attribute(&spans[0], "db.stored_procedure.name").as_deref(), Some(script.get_hash()));
    assert_eq!(attribute(&spans[0], "db.query.text").as_deref(), Some("EVALSHA ? ? ? ?"));
    assert!(!recorder.metrics().contains(script.get_hash()), "{}", recorder.metrics());
    recorder.assert_clean();
}

#[tokio::test]
async fn an_error_of_the_server_is_its_prefix_and_one_of_a_script_is_not_recorded() {
    let (recorder, key) = (Recorder::new(), unique("text"));
    let mut connection = connect(&recorder).await;
    let () = connection.set(&key, "hunter2").await.unwrap();
    let error = connection.lpush(&key, 1).await.map(|_: usize| ()).unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let code = "return redis.error_reply('HUNTER2 hunter2')";
    let mut evaluation = redis::cmd("EVAL");
    evaluation.arg(code).arg(0);
    evaluation.exec_async(&mut connection).await.unwrap_err();
    redis::cmd("NOTACOMMAND").arg("hunter2").exec_async(&mut connection).await.unwrap_err();
    let errors: Vec<_> = recorder.spans().iter().map(error_type).collect();
    let expected = [None, Some("WRONGTYPE"), Some("_OTHER"), Some("ERR")];
    assert_eq!(errors, expected.map(|error| error.map(str::to_owned)));
    let all = format!("{:?} {}", recorder.spans(), recorder.metrics()).to_lowercase();
    assert!(!all.contains("hunter2"), "{all}");
    recorder.assert_clean();
}

#[tokio::test]
async fn a_template_of_keys_is_in_names_and_metrics() {
    let recorder = Recorder::new();
    let mut connection = connect(&recorder).await.with_key_template(|command, key| {
        assert_ne!(command, "AUTH", "its argument is no key");
        key.starts_with(b"user:").then(|| "user:{id}".to_owned())
    });
    for id in 0..3 {
        let _: Option<String> = connection.get(format!("user:{id}")).await.unwrap();
    }
    let _: Option<String> = connection.get("other").await.unwrap();
    let mut pipeline = redis::pipe();
    pipeline.get("user:1").get("user:2").exec_async(&mut connection).await.unwrap();
    pipeline.clear();
    pipeline.get("user:1").get("other").exec_async(&mut connection).await.unwrap();
    let template = "GET user:{id}";
    let expected =
        [template, template, template, "GET cache", "PIPELINE GET user:{id}", "PIPELINE GET cache"];
    assert_eq!(names(&recorder), expected);
    assert_eq!(attribute(&recorder.spans()[0], "db.query.text").as_deref(), Some(template));
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.with("db.collection.name", "user:{id}").count(), 4);
    recorder.assert_clean();
}

/// A sampler that logs attaches a context, as the SDK's log processors do.
#[derive(Clone, Debug)]
struct AttachingSampler;

impl ShouldSample for AttachingSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        Sampler::AlwaysOn.should_sample(parent, id, name, kind, attributes, links)
    }
}

#[tokio::test]
async fn a_sampler_may_attach_a_context_and_a_pooled_connection_is_wrapped() {
    let recorder = Recorder::builder().with_sampler(AttachingSampler).build();
    let mut connection = client(&recorder).wrap(bare().await);
    let _: Option<String> = connection.get("absent").await.unwrap();
    let _: (Option<String>, Option<String>) =
        redis::pipe().get("absent").get("absent").query_async(&mut connection).await.unwrap();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 2);
    assert_eq!(attribute(&spans[0], "server.address").as_deref(), Some("cache"));
    recorder.assert_clean();
}

#[tokio::test]
async fn the_text_of_a_command_is_an_option() {
    for (form, expected) in [
        (QueryText::Omitted, None),
        (QueryText::Sanitized, Some("GET ?")),
        (QueryText::Verbatim, Some("GET absent")),
    ] {
        let recorder = Recorder::new();
        let client = client(&recorder).with_options(options(&recorder).with_query_text(form));
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&crate::support::patient()).await.unwrap();
        let _: Option<String> = connection.get("absent").await.unwrap();
        assert_eq!(attribute(&recorder.spans()[0], "db.query.text").as_deref(), expected);
    }
}

#[test]
fn a_blocking_connection_is_recorded_as_an_asynchronous_one() {
    let (recorder, key) = (Recorder::new(), unique("blocking"));
    let mut connection = client(&recorder).get_connection().unwrap();
    let () = connection.set(&key, "7").unwrap();
    let mut pipeline = redis::pipe();
    let (a, b): (u32, u32) = pipeline.get(&key).get(&key).query(&mut connection).unwrap();
    assert_eq!((a, b), (7, 7));
    let (c,): (u32,) = redis::transaction(&mut connection, &[&key], |connection, pipe| {
        pipe.set(&key, 8).ignore().get(&key).query(connection)
    })
    .unwrap();
    assert_eq!(c, 8);
    let script = Script::new(&format!("return 1 -- {}", unique("script")));
    let one: u32 = script.invoke(&mut connection).unwrap();
    assert_eq!(one, 1);
    let members: Vec<String> =
        connection.scan_match::<_, String>(&key).unwrap().map(Result::unwrap).collect();
    assert_eq!(members, [key.as_str()]);
    assert!(redis::ConnectionLike::check_connection(&mut connection));
    assert_eq!(connection.lpush(&key, 1).map(|_: usize| ()).unwrap_err().code(), Some("WRONGTYPE"));
    let names = names(&recorder);
    let scans = names.iter().filter(|name| *name == "SCAN cache").count();
    assert!(scans >= 1);
    let others: Vec<_> = names.iter().filter(|name| *name != "SCAN cache").map(String::as_str).collect();
    let expected = [
        "SET cache",
        "PIPELINE GET cache",
        "WATCH cache",
        "MULTI cache",
        "UNWATCH cache",
        "EVALSHA cache",
        "SCRIPT LOAD cache",
        "EVALSHA cache",
        "LPUSH cache",
    ];
    assert_eq!(others, expected);
    let pipeline = recorder.span("PIPELINE GET cache");
    assert_eq!(attribute(&pipeline, "db.operation.batch.size").as_deref(), Some("2"));
    let multi = recorder.span("MULTI cache");
    assert_eq!(attribute(&multi, "db.operation.batch.size").as_deref(), Some("2"));
    assert_eq!(attribute(&multi, "db.query.text").as_deref(), Some("SET ? ?; GET ?"));
    assert_eq!(error_type(&recorder.span("LPUSH cache")).as_deref(), Some("WRONGTYPE"));
    recorder.assert_clean();
}

#[tokio::test]
async fn messages_of_publish_and_subscribe_pass() {
    let (recorder, channel) = (Recorder::new(), unique("news"));
    let info = bare_client().get_connection_info().clone();
    let resp3 = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(resp3)).unwrap();
    let client = client.with_options(options(&recorder).with_server("cache", None));
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = crate::support::patient().set_push_sender(sender);
    let mut subscriber = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    subscriber.subscribe(&channel).await.unwrap();
    let mut publisher = connect(&recorder).await;
    let received: usize = publisher.publish(&channel, "hunter2").await.unwrap();
    assert_eq!(received, 1);
    let message = loop {
        let push = pushes.recv().await.unwrap();
        if push.kind == redis::PushKind::Message {
            break redis::Msg::from_push_info(push).unwrap();
        }
    };
    assert_eq!(message.get_payload::<String>().unwrap(), "hunter2");
    subscriber.unsubscribe(&channel).await.unwrap();
    // A connection of publish and subscribe records nothing.
    let mut subscription = client.inner().get_async_pubsub().await.unwrap();
    subscription.subscribe(&channel).await.unwrap();
    let _: usize = publisher.publish(&channel, "again").await.unwrap();
    let message = subscription.on_message().next().await.unwrap();
    assert_eq!(message.get_payload::<String>().unwrap(), "again");
    let expected = ["SUBSCRIBE cache", "PUBLISH cache", "UNSUBSCRIBE cache", "PUBLISH cache"];
    assert_eq!(names(&recorder), expected);
    recorder.assert_clean();
}

#[cfg(feature = "connection-manager")]
#[tokio::test]
async fn a_connection_manager_is_recorded() {
    let recorder = Recorder::new();
    let config = redis::aio::ConnectionManagerConfig::new().set_response_timeout(Some(crate::support::LONG));
    let mut manager = client(&recorder).get_connection_manager_with_config(config).await.unwrap();
    let _: Option<String> = manager.get("absent").await.unwrap();
    assert_eq!(names(&recorder), ["GET cache"]);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_filter_leaves_commands_out_by_their_names() {
    let recorder = Recorder::new();
    let options = options(&recorder).with_filter(|name| !name.starts_with("PING"));
    let mut connection = Connection::new(bare().await).with_options(options);
    redis::cmd("PING").exec_async(&mut connection).await.unwrap();
    let _: Option<String> = connection.get("absent").await.unwrap();
    assert_eq!(names(&recorder), ["GET"]);
    assert_eq!(recorder.metric("db.client.operation.duration").count(), 1);
    recorder.assert_clean();
}
