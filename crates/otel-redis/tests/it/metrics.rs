//! Names, units and attributes of the metric.

use otel_testing::Recorder;
use redis::AsyncCommands as _;

use crate::support::{connect, unique};

#[tokio::test]
async fn a_duration_has_the_command_and_its_class_of_error() {
    let (recorder, key) = (Recorder::new(), unique("text"));
    let mut connection = connect(&recorder).await;
    let () = connection.set(&key, "hunter2").await.unwrap();
    connection.lpush(&key, 1).await.map(|_: usize| ()).unwrap_err();
    for size in 2..5 {
        let mut pipeline = redis::pipe();
        for _ in 0..size {
            pipeline.get(&key);
        }
        pipeline.exec_async(&mut connection).await.unwrap();
    }
    let expected = "\
db.client.operation.duration (histogram, s)
    {db.namespace=\"0\", db.operation.name=LPUSH, db.response.status_code=WRONGTYPE, db.system.name=redis, error.type=WRONGTYPE, server.address=cache} count 1, sum TIME
    {db.namespace=\"0\", db.operation.name=PIPELINE GET, db.system.name=redis, server.address=cache} count 3, sum TIME
    {db.namespace=\"0\", db.operation.name=SET, db.system.name=redis, server.address=cache} count 1, sum TIME
";
    assert_eq!(recorder.metrics(), expected);
}

#[tokio::test]
async fn commands_without_a_limit_share_their_series() {
    let recorder = Recorder::new();
    let options = crate::support::options(&recorder).with_max_statements(8);
    let mut connection = otel_redis::Connection::new(crate::support::bare().await).with_options(options);
    for number in 0..100 {
        redis::cmd(&format!("UNKNOWN{number}")).exec_async(&mut connection).await.unwrap_err();
    }
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.count(), 100);
    assert!(duration.points().len() <= 10, "{}", duration.points().len());
    recorder.assert_clean();
}
