//! Hedged calls: the attempt that wins, the one that lost, the budget.

use std::time::Duration;

use futures_util::future::join_all;
use opentelemetry::trace::{Status, TraceContextExt};
use otel_resilience::{EmptyBody, HedgeLayer, Retry, RetryBudget, RetryLayer};
use otel_testing::Recorder;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::support::{Answer, Backend, attribute, caller, error_type, events, get, instrumentation};

const SECOND: Duration = Duration::from_secs(1);

fn hedge(recorder: &Recorder) -> HedgeLayer {
    HedgeLayer::new("search", SECOND).with_instrumentation(&instrumentation(recorder))
}

#[tokio::test(start_paused = true)]
async fn the_loser_is_marked_and_is_no_error() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Hang]);
    let mut service = hedge(&recorder).layer(backend.client(&recorder));
    let context = caller(&recorder);
    let before = Instant::now();
    let call = {
        let _attached = context.clone().attach();
        service.ready().await.unwrap().call(get())
    };
    // Polled where no context is current.
    assert_eq!(call.await.unwrap().status(), 200);
    assert!((1_000..1_010).contains(&before.elapsed().as_millis()));
    context.span().end();
    recorder.assert_clean();
    let parent = context.span().span_context().span_id();
    let spans = recorder.spans();
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "GET").collect();
    assert!(attempts.iter().all(|span| span.parent_span_id == parent), "{}", recorder.tree());
    let (winner, loser) = (attempts[0], attempts[1]);
    assert_eq!((error_type(winner), attribute(winner, "resilience.hedge.lost")), (None, None));
    assert_eq!(attribute(winner, "http.request.resend_count").as_deref(), Some("1"));
    assert_eq!(attribute(loser, "resilience.hedge.lost").as_deref(), Some("true"));
    assert_eq!(loser.status, Status::Unset);
    assert_eq!(error_type(loser).as_deref(), Some("cancelled"), "it never counts as a success");
    assert_eq!(events(&recorder.span("caller"), "resilience.hedge").len(), 1);
    assert_eq!(recorder.metric("resilience.hedge.attempts").sum(), 1.0);
    assert_eq!(recorder.metric("resilience.hedge.wins").sum(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_can_still_win() {
    let recorder = Recorder::new();
    let backend = Backend::new([]).with_delay(SECOND * 3 / 2);
    hedge(&recorder).layer(backend.client(&recorder)).oneshot(get()).await.unwrap();
    recorder.assert_clean();
    let spans = recorder.spans();
    // The attempt that lost ends first, as it is dropped before the response is returned.
    let lost: Vec<_> = spans.iter().map(|span| attribute(span, "resilience.hedge.lost").is_some()).collect();
    assert_eq!(lost, [false, true], "{}", recorder.tree());
    assert_eq!(attribute(&spans[1], "http.request.resend_count").as_deref(), Some("1"));
    assert_eq!(recorder.metric("resilience.hedge.attempts").sum(), 1.0);
    assert!(!recorder.metrics().contains("resilience.hedge.wins"), "{}", recorder.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_fast_call_and_a_fast_failure_are_sent_once() {
    for answer in [Answer::Status(200), Answer::Status(503), Answer::Error] {
        let recorder = Recorder::new();
        let backend = Backend::new([answer]).with_delay(SECOND / 2);
        let _ = hedge(&recorder).layer(backend.client(&recorder)).oneshot(get()).await;
        tokio::time::sleep(SECOND * 2).await;
        assert_eq!(backend.calls(), 1);
        recorder.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_win_while_the_other_attempt_runs() {
    for (first, second, status) in [
        (Answer::Status(503), Answer::Status(200), Some(200)),
        (Answer::Error, Answer::Status(200), Some(200)),
        (Answer::Error, Answer::Status(500), Some(500)),
        (Answer::Status(500), Answer::Error, None),
        (Answer::Hang, Answer::Status(500), None),
    ] {
        let recorder = Recorder::new();
        let hangs = matches!(first, Answer::Hang);
        let backend = Backend::new([first, second]).with_delay(SECOND * 3 / 2);
        let call = hedge(&recorder).layer(backend.client(&recorder)).oneshot(get());
        let result = tokio::time::timeout(SECOND * 10, call).await;
        assert_eq!(result.is_err(), hangs);
        let seen = result.ok().and_then(Result::ok).map(|response| response.status().as_u16());
        assert_eq!(seen, status);
        assert_eq!(backend.calls(), 2);
        let wins = recorder.metrics().contains("resilience.hedge.wins");
        assert_eq!(wins, status == Some(200), "a failure is no win");
        recorder.assert_clean();
        let lost = recorder.spans().iter().any(|span| attribute(span, "resilience.hedge.lost").is_some());
        assert!(!lost, "{}", recorder.tree());
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_may_not_be_repeated_are_sent_once() {
    let recorder = Recorder::new();
    let backend = Backend::new([]).with_delay(SECOND * 2);
    let layer = hedge(&recorder);
    let post = || http::Request::post("/").body("five".into()).unwrap();
    layer.clone().layer(backend.client(&recorder)).oneshot(post()).await.unwrap();
    let always = layer.with_requests(|_| true);
    always
        .clone()
        .with_clone_request(EmptyBody::default())
        .layer(backend.client(&recorder))
        .oneshot(post())
        .await
        .unwrap();
    assert_eq!(backend.calls(), 2);
    always.layer(backend.client(&recorder)).oneshot(post()).await.unwrap();
    assert_eq!(backend.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_slow_for_all_is_not_hedged_beyond_the_budget() {
    let recorder = Recorder::new();
    let backend = Backend::new([]).with_delay(SECOND * 2);
    let layer = hedge(&recorder).with_budget(RetryBudget::new(0.05, 0));
    let service = layer.layer(backend.client(&recorder));
    join_all((0..200).map(|_| service.clone().oneshot(get()))).await;
    assert_eq!(backend.calls(), 210);
    recorder.assert_clean();
    assert_eq!(recorder.metric("resilience.hedge.attempts").sum(), 10.0);
    let lost =
        recorder.spans().iter().filter(|span| attribute(span, "resilience.hedge.lost").is_some()).count();
    assert_eq!(lost, 10, "each pair has one loser");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_around_a_hedge_is_one_of_both_attempts() {
    let recorder = Recorder::new();
    let service = hedge(&recorder).layer(Backend::always(Answer::Hang).client(&recorder));
    let layer = otel_resilience::DeadlineLayer::new().with_timeout(SECOND * 2);
    layer.layer(service).oneshot(get()).await.unwrap_err();
    recorder.assert_clean();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 2);
    for span in &spans {
        assert_eq!(error_type(span).as_deref(), Some("timeout"), "{}", recorder.tree());
        assert_eq!(attribute(span, "resilience.hedge.lost"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_logical_call_that_lost_is_no_error() {
    let recorder = Recorder::new();
    let retry = Retry::new("stock").with_span(true).with_instrumentation(&instrumentation(&recorder));
    let backend = Backend::new([Answer::Hang]);
    let service = hedge(&recorder).layer(RetryLayer::new(retry).layer(backend.client(&recorder)));
    service.oneshot(get()).await.unwrap();
    recorder.assert_clean();
    let statuses: Vec<_> =
        recorder.spans().into_iter().map(|span| (error_type(&span), span.status)).collect();
    let lost = (Some("cancelled".to_owned()), Status::Unset);
    let (won, lost): (Vec<_>, Vec<_>) = statuses.into_iter().partition(|status| *status != lost);
    assert_eq!((won, lost.len()), (vec![(None, Status::Unset); 2], 2), "{}", recorder.tree());
}

#[tokio::test(start_paused = true)]
async fn hedges_inside_of_retries_are_counted_as_resends() {
    let recorder = Recorder::new();
    let backend = Backend::new([Answer::Status(503), Answer::Hang]);
    let retry = Retry::new("stock").with_instrumentation(&instrumentation(&recorder));
    let service = RetryLayer::new(retry).layer(hedge(&recorder).layer(backend.client(&recorder)));
    service.oneshot(get()).await.unwrap();
    recorder.assert_clean();
    let mut resends: Vec<_> =
        recorder.spans().iter().map(|span| attribute(span, "http.request.resend_count")).collect();
    resends.sort();
    assert_eq!(resends, [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_counter_of_the_request_numbers_hedges_and_retries_in_turn() {
    let recorder = Recorder::new();
    let backend = Backend::always(Answer::Error).with_delay(SECOND * 3 / 2);
    let retry = Retry::new("stock").with_max_attempts(2).with_instrumentation(&instrumentation(&recorder));
    let service = RetryLayer::new(retry).layer(hedge(&recorder).layer(backend.client(&recorder)));
    let mut request = get();
    request.extensions_mut().insert(otel_http::ResendCounter::default());
    service.oneshot(request).await.unwrap_err();
    recorder.assert_clean();
    let resends = recorder.spans().into_iter().map(|span| attribute(&span, "http.request.resend_count"));
    assert_eq!(
        resends.collect::<Vec<_>>(),
        [None, Some("1"), Some("2"), Some("3")].map(|one| one.map(str::to_owned))
    );
}
