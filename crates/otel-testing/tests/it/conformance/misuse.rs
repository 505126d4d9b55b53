//! A harness that leaves something out does not pass.

use std::future::pending;

use otel_testing::{
    Recorder,
    conformance::{CallResult, Harness, Observed, Reason, Role, Scenario, assert_complete, check, test},
};

use super::{fault::Fault, harness::ToyHarness};

struct Partial(Reason);

impl Harness for Partial {
    fn role(&self) -> Role {
        Role::Inbound
    }

    fn supports(&self, _scenario: Scenario) -> Result<(), Reason> {
        Err(self.0)
    }

    async fn run(&self, _recorder: &Recorder, _scenario: Scenario) -> Observed {
        pending().await
    }
}

/// Runs the sound toy, and forgets to say what was seen.
struct Blind(ToyHarness);

impl Harness for Blind {
    fn role(&self) -> Role {
        self.0.role()
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        self.0.supports(scenario)
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        drop(self.0.run(recorder, scenario).await);
        Observed::new(CallResult::Cancelled, CallResult::Cancelled)
    }
}

/// A transport whose conventions do not call a dropped operation an error.
struct Lenient(ToyHarness);

impl Harness for Lenient {
    fn role(&self) -> Role {
        self.0.role()
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        self.0.supports(scenario)
    }

    fn dropped_is_error(&self) -> bool {
        false
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        self.0.run(recorder, scenario).await
    }
}

#[tokio::test]
async fn the_transport_says_whether_a_dropped_operation_is_an_error() {
    let toy = || ToyHarness { role: Role::Inbound, fault: Some(Fault::IgnoresErrors) };
    for scenario in [Scenario::DroppedAtAwait, Scenario::DroppedByPeer, Scenario::DroppedByUser] {
        assert!(check(&toy(), scenario).await.is_err(), "{scenario:?}");
        assert_eq!(check(&Lenient(toy()), scenario).await, Ok(()), "{scenario:?}");
    }
    assert!(check(&Lenient(toy()), Scenario::BodyFails).await.is_err());
}

const README: &str = "It cannot do\n  that,  for  a reason.";

#[test]
fn a_reason_that_the_readme_gives_is_enough() {
    test(Role::Inbound, || Partial("that, for a reason"), Scenario::Success, README);
}

#[test]
#[should_panic(expected = "the README does not say why")]
fn a_reason_that_the_readme_does_not_give_is_not() {
    test(Role::Inbound, || Partial("no time"), Scenario::Success, README);
}

#[test]
#[should_panic(expected = "no reason is given")]
fn no_reason_is_not() {
    test(Role::Inbound, || Partial(" "), Scenario::Success, README);
}

#[test]
#[should_panic(expected = "mounted for the other side")]
fn the_other_side_is_noticed() {
    test(Role::Outbound, || Partial(""), Scenario::Success, README);
}

#[test]
#[should_panic(expected = "no test for [Secrets]")]
fn a_missing_scenario_is_noticed() {
    let all: Vec<_> =
        Scenario::all(Role::Inbound).filter(|scenario| *scenario != Scenario::Secrets).collect();
    assert_complete(Role::Inbound, &all);
}

#[tokio::test(start_paused = true)]
async fn a_harness_that_hangs_fails() {
    let verdict = check(&Partial(""), Scenario::Success).await;
    assert!(verdict.is_err_and(|text| text.contains("more than 30s")));
}

#[tokio::test]
async fn a_harness_that_saw_nothing_fails() {
    let inbound = check(&Blind(ToyHarness::inbound()), Scenario::Success).await;
    assert!(inbound.is_err_and(|text| text.contains("noted no context at Call")));
    let outbound = check(&Blind(ToyHarness::outbound()), Scenario::Success).await;
    assert!(outbound.is_err_and(|text| text.contains("no traceparent was sent")));
}
