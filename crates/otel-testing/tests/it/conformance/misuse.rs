//! A harness that leaves something out does not pass.

use std::future::pending;

use otel_testing::{
    Recorder,
    conformance::{
        CallResult, ContextProbe, Flow, Harness, Measurement, Observed, Reason, Role, Run, Scenario,
        assert_complete, check, test,
    },
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

    fn measurements(&self, _: Flow) -> Vec<Measurement> {
        Vec::new()
    }

    async fn run(&self, _recorder: &Recorder, _scenario: Scenario) -> Observed {
        pending().await
    }
}

/// The part that a harness of the sound toy leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Omission {
    /// It runs nothing bare, and reports the result that the scenario leads one to expect.
    BareRun,
    /// The bare run is instrumented as well.
    BareIsInstrumented,
    /// Nothing is noted in user code.
    Probes,
    Measurements,
    Duration,
    /// The duration of the operation is listed as a wait before it.
    DurationIsWait,
    /// What is in flight while the operation runs is listed as what is over by then.
    InFlightIsQueued,
}

struct Careless(ToyHarness, Omission);

impl Harness for Careless {
    fn role(&self) -> Role {
        self.0.role()
    }

    fn supports(&self, scenario: Scenario) -> Result<(), Reason> {
        self.0.supports(scenario)
    }

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        match self.1 {
            Omission::Measurements => vec![Measurement::sample("toy.duration")],
            Omission::Duration => vec![Measurement::in_flight("toy.active"), Measurement::step("toy.calls")],
            Omission::DurationIsWait => vec![
                Measurement::sample("toy.duration").before_operation(),
                Measurement::in_flight("toy.active"),
                Measurement::step("toy.calls"),
            ],
            Omission::InFlightIsQueued => vec![
                Measurement::sample("toy.duration"),
                Measurement::in_flight("toy.active").before_operation(),
                Measurement::step("toy.calls"),
            ],
            _ => self.0.measurements(flow),
        }
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let none = ContextProbe::new(recorder);
        let cancelled = || CallResult::Cancelled(Vec::new());
        let run = self.0.runs(recorder, scenario).await;
        match self.1 {
            Omission::BareRun => Observed::new(run.0, Run::new(cancelled(), &none)),
            Omission::BareIsInstrumented => {
                let other = self.0.runs(&Recorder::new(), scenario).await;
                Observed::new(run.0, other.0)
            }
            Omission::Probes => Observed::new(Run::new(cancelled(), &none), Run::new(cancelled(), &none)),
            _ => Observed::new(run.0, run.1),
        }
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

    fn measurements(&self, flow: Flow) -> Vec<Measurement> {
        self.0.measurements(flow)
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
    let client = || ToyHarness { role: Role::Outbound, fault: Some(Fault::IgnoresErrors) };
    assert!(check(&client(), Scenario::DroppedAtAwait).await.is_err());
    assert_eq!(check(&Lenient(client()), Scenario::DroppedAtAwait).await, Ok(()));
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
async fn what_a_harness_leaves_out_is_noticed() {
    let omissions = [
        (Omission::BareRun, Scenario::DroppedAtAwait, "the runs differ"),
        (Omission::BareIsInstrumented, Scenario::DroppedAtAwait, "the bare run has a span of its own"),
        (Omission::Probes, Scenario::DroppedAtAwait, "no run reached a point"),
        (Omission::Probes, Scenario::Success, "no run reached a point"),
        (Omission::Measurements, Scenario::Success, "the harness lists none"),
        (Omission::Duration, Scenario::Success, "the harness lists no duration"),
        (Omission::DurationIsWait, Scenario::Success, "spans and durations disagree"),
        (Omission::InFlightIsQueued, Scenario::Success, "1 operations are in flight, not 0"),
    ];
    for role in [Role::Inbound, Role::Outbound] {
        for (omission, scenario, complaint) in omissions {
            let toy = ToyHarness { role, fault: None };
            let verdict = check(&Careless(toy, omission), scenario).await;
            assert!(
                verdict.as_ref().is_err_and(|text| text.contains(complaint)),
                "{complaint:?}: {verdict:?}"
            );
        }
    }
}
