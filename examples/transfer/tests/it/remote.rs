//! Transactions with a remote participant: outcomes, traces, and lost calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use otel_grpc::{ClientLayer, LayerOptions, ServerLayer};
use otel_propagation::CompositePropagator;
use otel_saga::RetryPolicy;
use otel_saga::journal::MemoryJournal;
use otel_saga::two_phase::{Acknowledgement, Branch, Coordinator, Participant, Vote};
use otel_testing::Recorder;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use transfer::remote::{ParticipantService, RemoteParticipant};

use crate::bank::{Bank, BranchState};

const LONG: Duration = Duration::from_secs(60);

/// A server on a separate runtime. Dropping it closes all connections at once, like the exit of a process.
struct Process(Option<Runtime>);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves the participant at the given address or at a free one.
fn serve(service: &ParticipantService, recorder: &Recorder, at: Option<SocketAddr>) -> (SocketAddr, Process) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _in_runtime = runtime.enter();
    // A restarted server must be able to bind the port while old connections are in TIME_WAIT.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at.unwrap_or_else(|| ([127, 0, 0, 1], 0).into())).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let layer = ServerLayer::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default());
    let server = Server::builder().layer(layer).add_service(service.clone().into_server());
    runtime.spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
    (address, Process(Some(runtime)))
}

fn remote(address: SocketAddr, recorder: &Recorder) -> RemoteParticipant {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let layer = ClientLayer::new()
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .with_propagator(CompositePropagator::default());
    RemoteParticipant::new("shop", &endpoint, layer)
}

async fn coordinator(recorder: &Recorder, bank: &Bank, shop: &RemoteParticipant) -> Coordinator {
    let retry = RetryPolicy::exponential(Duration::from_millis(10), Duration::from_millis(50));
    Coordinator::builder(Arc::new(MemoryJournal::new()), "pay")
        .with_participant(bank.clone())
        .with_participant(shop.clone())
        .with_poll_interval(Duration::from_millis(10))
        .with_retry(retry)
        .with_tracer_provider(recorder.tracer_provider())
        .with_meter_provider(recorder.meter_provider())
        .start()
        .await
        .unwrap()
}

/// Polls until the condition holds.
async fn until(condition: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("timed out waiting for {condition}"));
}

#[tokio::test]
async fn a_remote_participant_commits_within_the_trace() {
    let (recorder, bank, store) = (Recorder::new(), Bank::new("bank"), Bank::new("shop"));
    let service = ParticipantService::new(store.clone());
    let (address, _serving) = serve(&service, &recorder, None);
    let shop = remote(address, &recorder);
    let coordinator = coordinator(&recorder, &bank, &shop).await;

    let payment = coordinator.begin("payment", "1").unwrap();
    let branch = payment.branch("shop").unwrap();
    service.keep(branch.clone(), store.work()).unwrap();
    assert!(payment.with(bank.work()).with(shop.clone()).commit().await.unwrap().is_committed());
    assert_eq!(store.state(&branch), Some(BranchState::Committed));

    // A branch without work votes no.
    let payment = coordinator.begin("payment", "2").unwrap();
    let outcome = payment.with(bank.work()).with(shop.clone()).commit().await.unwrap();
    assert_eq!(outcome.reason.as_deref(), Some("shop: the branch has no work"));

    recorder.wait_until_finished().await;
    let spans = recorder.spans();
    let client = spans.iter().find(|span| span.name == "twopc.v1.Participant/Commit").unwrap();
    let below = |parent: &str| {
        let parent = spans.iter().find(|span| span.name == parent).unwrap();
        spans.iter().find(|span| span.parent_span_id == parent.span_context.span_id()).unwrap()
    };
    for (call, method) in [("prepare shop", "Prepare"), ("commit shop", "Commit")] {
        let client = below(call);
        assert_eq!(client.name, format!("twopc.v1.Participant/{method}"));
        let server = spans.iter().find(|span| span.parent_span_id == client.span_context.span_id()).unwrap();
        assert!(server.parent_span_is_remote);
        assert_eq!(server.span_context.trace_id(), client.span_context.trace_id());
    }
    let root = spans.iter().find(|span| span.name == "2pc payment").unwrap();
    assert_eq!(client.span_context.trace_id(), root.span_context.trace_id());
}

#[tokio::test]
async fn each_vote_and_answer_is_transferred_unchanged() {
    let (recorder, store) = (Recorder::new(), Bank::new("shop"));
    let service = ParticipantService::new(store.clone());
    let (address, _serving) = serve(&service, &recorder, None);
    let shop = remote(address, &recorder);
    let branch = |key: &str| Branch::parse(format!("pay/shop/payment/{key}")).unwrap();

    let one = branch("1");
    service.keep(one.clone(), store.work()).unwrap();
    assert!(service.keep(one.clone(), store.work()).is_err(), "the branch is already open");
    for _ in 0..2 {
        assert_eq!(shop.prepare(&one).await.unwrap(), Vote::Yes);
    }
    assert_eq!(shop.in_doubt("pay/shop/").await.unwrap(), std::slice::from_ref(&one));
    for _ in 0..2 {
        assert_eq!(shop.commit(&one).await.unwrap(), Acknowledgement::Done);
    }
    assert_eq!(shop.rollback(&one).await.unwrap(), Acknowledgement::Committed);
    assert!(shop.in_doubt("pay/shop/").await.unwrap().is_empty());

    // A rollback before `prepare` drops the work, and a late `prepare` is refused.
    let two = branch("2");
    service.keep(two.clone(), store.work()).unwrap();
    assert_eq!(Arc::strong_count(&store.open), 2 + 1, "one in the service, one in the test, one in the work");
    assert_eq!(shop.rollback(&two).await.unwrap(), Acknowledgement::Done);
    assert_eq!(Arc::strong_count(&store.open), 2);
    service.keep(two.clone(), store.work()).unwrap();
    assert!(matches!(shop.prepare(&two).await.unwrap(), Vote::No(_)));
    assert_eq!(shop.commit(&two).await.unwrap(), Acknowledgement::RolledBack);

    let three = branch("3");
    service.keep(three.clone(), store.work()).unwrap();
    assert_eq!(shop.commit_in_one_phase(&three).await.unwrap(), Vote::Yes);
    assert_eq!(store.state(&three), Some(BranchState::Committed));

    let others = Branch::parse("pay/bank/payment/1").unwrap();
    assert!(service.keep(others.clone(), store.work()).is_err());
    assert!(shop.rollback(&others).await.is_err());
}

#[tokio::test]
async fn an_unreachable_service_is_retried_until_it_is_back() {
    let (recorder, bank, store) = (Recorder::new(), Bank::new("bank"), Bank::new("shop"));
    let service = ParticipantService::new(store.clone());
    let (address, serving) = serve(&service, &recorder, None);
    let shop = remote(address, &recorder);
    let coordinator = coordinator(&recorder, &bank, &shop).await;

    let mut held = bank.clone();
    let gate = Arc::new(Notify::new());
    held.gate = Some(Arc::clone(&gate));
    let payment = coordinator.begin("payment", "1").unwrap();
    let branch = payment.branch("shop").unwrap();
    service.keep(branch.clone(), store.work()).unwrap();
    let committing = tokio::spawn(payment.with(held.work()).with(shop.clone()).commit());
    until("the shop to be prepared", || store.state(&branch) == Some(BranchState::Prepared)).await;
    // Closes the server and all connections.
    drop(serving);
    until("the port to be closed", || std::net::TcpStream::connect(address).is_err()).await;
    // If the shop's vote was lost with the connection, the coordinator aborts; otherwise it commits.
    gate.notify_one();
    let outcome = committing.await.unwrap().unwrap();
    assert_eq!(outcome.unacknowledged, ["shop"]);
    let (_, _serving) = serve(&service, &recorder, Some(address));
    let resolved = tokio::time::timeout(LONG, coordinator.wait("payment/1")).await.unwrap().unwrap();
    assert_eq!(resolved.decision, outcome.decision);
    let expected = if outcome.is_committed() { BranchState::Committed } else { BranchState::RolledBack };
    assert_eq!(store.state(&branch), Some(expected));
    assert!(resolved.unacknowledged.is_empty());
}

#[tokio::test]
async fn a_call_completes_after_its_caller_has_disconnected() {
    let (recorder, mut store) = (Recorder::new(), Bank::new("shop"));
    let gate = Arc::new(Notify::new());
    store.gate = Some(Arc::clone(&gate));
    let service = ParticipantService::new(store.clone());
    let (address, _serving) = serve(&service, &recorder, None);
    let shop = remote(address, &recorder);
    let branch = Branch::parse("pay/shop/payment/1").unwrap();
    service.keep(branch.clone(), store.work()).unwrap();
    {
        let prepare = shop.prepare(&branch);
        tokio::pin!(prepare);
        // Poll until the service has taken the branch and waits at the gate.
        while service.keep(branch.clone(), store.work()).is_err() {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut prepare).await;
        }
    }
    gate.notify_one();
    until("the prepare to end", || store.state(&branch) == Some(BranchState::Prepared)).await;
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_dropped_after_the_idle_limit() {
    let store = Bank::new("shop");
    let service = ParticipantService::with_idle_limit(store.clone(), Duration::from_secs(10));
    let branch = Branch::parse("pay/shop/payment/1").unwrap();
    service.keep(branch, store.work()).unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(Arc::strong_count(&store.open), 3);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(Arc::strong_count(&store.open), 2);
}
