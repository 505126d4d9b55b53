//! Participants on an instrumented pool: the work of a branch and both phases are database spans.

use std::time::Duration;

use otel_saga::two_phase::PostgresParticipant;
use otel_sqlx::{Options, PgPool};
use otel_testing::Recorder;

use super::support::{BEGIN, Banks};

#[tokio::test]
async fn an_instrumented_pool_shows_the_work_and_both_phases() {
    let mut banks = Banks::new().await;
    let recorder = Recorder::new();
    let instrumented = |bank: usize| {
        let options = Options::new()
            .with_tracer_provider(recorder.tracer_provider())
            .with_meter_provider(recorder.meter_provider());
        PgPool::new(banks.pools[bank].clone(), options)
    };
    banks.participants = [
        PostgresParticipant::connect("a", instrumented(0)).await.unwrap(),
        PostgresParticipant::connect("b", instrumented(1)).await.unwrap(),
    ];
    let coordinator = banks.coordinator().await;
    let transfer = coordinator.begin("transfer", "1").unwrap();
    let debit = banks.branch(0, &transfer, -300).await;
    let credit = banks.branch(1, &transfer, 300).await;
    assert!(transfer.with(debit).with(credit).commit().await.unwrap().is_committed());
    assert_eq!(banks.cents().await, [BEGIN - 300, BEGIN + 300]);
    // Its loops have queries on their way.
    coordinator.shutdown(Duration::from_secs(10)).await;
    let spans = recorder.spans();
    for name in
        ["BEGIN SET", "UPDATE account", "INSERT twopc_branch", "PREPARE TRANSACTION", "COMMIT PREPARED"]
    {
        let count = spans.iter().filter(|span| span.name == name).count();
        assert_eq!(count, 2, "{name}\n{}", recorder.tree());
    }
    // The identifier of a branch is a literal.
    assert!(!format!("{spans:?}").contains(&banks.coordinator), "{}", recorder.tree());
    let duration = recorder.metric("db.client.operation.duration");
    assert_eq!(duration.count(), spans.len() as u64);
    recorder.assert_each_ended_once();
}
