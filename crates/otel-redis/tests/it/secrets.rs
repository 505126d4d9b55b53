//! A secret in every place of a command, of a reply and of the configuration: none leaves the process.

use otel_redis::{Client, Connection};
use otel_testing::Recorder;
use redis::{AsyncCommands as _, Cmd, Script};

use crate::support::{bare_client, options, patient, unique};

const SECRET: &str = "hunter2";

fn command(parts: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(parts);
    command
}

/// Commands with the secret as a key, a value, a member, a score, a pattern, a channel, a script, an argument of a script, a
/// password, a name of a client, a second part of a name, an option, and as a complete line.
fn commands() -> Vec<Cmd> {
    let lines: &[&[&str]] = &[
        &["GET", SECRET],
        &["SET", SECRET, SECRET, "EX", "1"],
        &["MSET", SECRET, SECRET, "hunter2-2", SECRET],
        &["HSET", "hunter2-h", SECRET, SECRET],
        &["ZADD", "hunter2-z", "1", SECRET],
        &["ZADD", "hunter2-z", SECRET, SECRET],
        &["KEYS", "hunter2*"],
        &["PUBLISH", SECRET, SECRET],
        &["EVAL", "return 'hunter2'", "1", SECRET, SECRET],
        &["EVAL", "return redis.error_reply('HUNTER2 hunter2')", "0"],
        &["EVALSHA", SECRET, "0"],
        &["FCALL", "hunter2 hunter2", "0"],
        &["AUTH", SECRET],
        &["AUTH", SECRET, SECRET],
        &["HELLO", "3", "AUTH", SECRET, SECRET],
        &["CLIENT", "SETNAME", SECRET],
        &["CONFIG", "hunter2 hunter2"],
        &["ACL", "GETUSER", SECRET],
        &["GET hunter2"],
        &["SET hunter2 hunter2"],
        &["OBJECT", "ENCODING", SECRET],
        &["LPUSH", SECRET, SECRET],
        &["XADD", "hunter2-x", "*", SECRET, SECRET],
        &["XREADGROUP", "GROUP", SECRET, SECRET, "STREAMS", "hunter2-x", ">"],
        &["MIGRATE", SECRET, "1", SECRET, "0", "1", "AUTH", SECRET],
        &["ECHO", SECRET],
    ];
    lines.iter().map(|line| command(line)).collect()
}

fn assert_no_secret(recorder: &Recorder) {
    // The debug form has everything: names, attributes, events, links, descriptions.
    let recorded = format!("{:?}\n{}\n{:?}", recorder.spans(), recorder.metrics(), recorder.tree());
    assert!(!recorded.to_lowercase().contains(SECRET), "{recorded}");
    recorder.assert_clean();
}

#[tokio::test]
async fn no_literal_and_no_key_leaves_the_process_by_default() {
    let recorder = Recorder::new();
    let bare = bare_client().get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let mut connection = Connection::new(bare).with_options(options(&recorder));
    let commands = commands();
    for command in &commands {
        // Some fail, which must not record the text of the error either.
        let _ = command.query_async::<redis::Value>(&mut connection).await;
    }
    for atomic in [false, true] {
        let mut pipeline = redis::pipe();
        for command in commands.iter().filter(|command| !format!("{command:?}").contains("HELLO")) {
            pipeline.add_command(command.clone());
        }
        if atomic {
            pipeline.atomic();
        }
        let _ = pipeline.query_async::<redis::Value>(&mut connection).await;
    }
    let script = Script::new("return redis.error_reply('hunter2')");
    let _ = script.key(SECRET).arg(SECRET).invoke_async::<String>(&mut connection).await;
    assert!(recorder.spans().len() > commands.len());
    assert_no_secret(&recorder);
}

#[test]
fn a_blocking_connection_keeps_them_as_well() {
    let recorder = Recorder::new();
    let connection = bare_client().get_connection().unwrap();
    let mut connection = Connection::new(connection).with_options(options(&recorder));
    let mut pipeline = redis::pipe();
    for command in commands().iter().filter(|command| !format!("{command:?}").contains("HELLO")) {
        let _ = command.query::<redis::Value>(&mut connection);
        let _ = redis::ConnectionLike::req_packed_command(&mut connection, &command.get_packed_command());
        pipeline.add_command(command.clone());
    }
    let _ = pipeline.query::<redis::Value>(&mut connection);
    assert_no_secret(&recorder);
}

#[tokio::test]
async fn the_credentials_of_a_url_are_not_recorded() {
    let recorder = Recorder::new();
    let address = bare_client().get_connection_info().addr().to_string();
    let user = unique("user");
    let mut admin = bare_client().get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(&user).arg("on").arg(format!(">{SECRET}")).arg("~*").arg("+@all").arg("-get");
    acl.exec_async(&mut admin).await.unwrap();
    let url = format!("redis://{user}:{SECRET}@{address}");
    let client = Client::open(url).unwrap().with_options(options(&recorder));
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let () = connection.set(unique("key"), SECRET).await.unwrap();
    let denied = connection.get(SECRET).await.map(|_: Option<String>| ()).unwrap_err();
    assert_eq!(denied.code(), Some("NOPERM"));
    assert!(recorder.tree().contains("error.type: NOPERM"), "{}", recorder.tree());
    assert!(!recorder.tree().contains(&user), "{}", recorder.tree());
    assert_no_secret(&recorder);
}

#[cfg(feature = "streams")]
#[tokio::test]
async fn the_payload_of_a_message_is_not_recorded() {
    use otel_redis::streams::{Consumer, MessagingOptions, Producer};
    use redis::streams::StreamReadOptions;

    let (recorder, key) = (Recorder::new(), unique("orders"));
    let options = MessagingOptions::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_receive_spans(true);
    let mut bare = bare_client().get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let () = bare.xgroup_create_mkstream(&key, "group", "0").await.unwrap();
    let mut producer = Producer::new(bare.clone()).with_options(options.clone());
    producer.xadd(&key, "*", &[(SECRET, SECRET), ("tracestate", SECRET)]).await.unwrap();
    producer.xadd(&key, SECRET, &[(SECRET, SECRET)]).await.unwrap_err();
    let mut consumer = Consumer::new(bare, "group", "one").with_options(options);
    for message in consumer.xreadgroup(&[&key], &[">"], StreamReadOptions::default()).await.unwrap() {
        message.process(async |_| Err::<(), _>(SECRET)).await.unwrap_err();
        message.xack().await.unwrap();
    }
    assert_eq!(recorder.spans().len(), 5);
    assert_no_secret(&recorder);
}
