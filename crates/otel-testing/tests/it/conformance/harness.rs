//! The toy's harness: runs the traffic of each scenario, instrumented and bare.

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::Poll,
};

use opentelemetry::trace::FutureExt;
use otel_testing::{
    Recorder,
    conformance::{
        CallResult, ContextProbe, Flow, Harness, Measurement, Observed, ProbePoint, Reason, Role, Run,
        Scenario,
    },
};

use super::{
    fault::Fault,
    headers::Headers,
    toy::{Body, Reply, Request, Toy},
};

pub(crate) struct ToyHarness {
    pub(crate) role: Role,
    pub(crate) fault: Option<Fault>,
}

impl ToyHarness {
    pub(crate) fn inbound() -> Self {
        Self { role: Role::Inbound, fault: None }
    }

    pub(crate) fn outbound() -> Self {
        Self { role: Role::Outbound, fault: None }
    }

    /// The instrumented run, the bare one, and what the first has sent.
    pub(crate) async fn runs(&self, recorder: &Recorder, scenario: Scenario) -> (Run, Run, Headers) {
        let toy = Toy {
            recorder: recorder.clone(),
            role: self.role,
            public_endpoint: scenario.is_public_endpoint(),
            filtered: scenario.is_filtered(),
            hook_panics: scenario == Scenario::PanickingHooks,
            propagator_panics: scenario == Scenario::PanickingPropagator,
            keeps_together: scenario == Scenario::TaskBetweenLayers,
            fault: self.fault,
        };
        let (probe, sent) = (ContextProbe::new(recorder), Arc::default());
        let request = Request {
            operation: named(scenario, Scenario::UnboundedOperation(0), "greet"),
            host: named(scenario, Scenario::UnboundedHost(0), "localhost"),
            headers: scenario.headers(self.role),
            around: None,
        };
        let second = (scenario == Scenario::SecondOperation)
            .then(|| Request { headers: scenario.second_headers(self.role), ..request.clone() });
        let handler = |toy: Option<&Toy>, probe: &ContextProbe, sent: &Arc<Mutex<Headers>>| Handler {
            scenario,
            probe: probe.clone(),
            sent: Arc::clone(sent),
            role: self.role,
            toy: toy.cloned(),
            second: second.clone(),
        };
        let outer = handler(Some(&toy), &probe, &sent);
        let mut instrumented = go(scenario.flow(), || {
            let inner = toy.clone();
            toy.clone().call(request.clone(), |request| match scenario {
                Scenario::TwoLayers => inner.call(request, |request| outer.handle(request)),
                Scenario::TaskBetweenLayers => {
                    let task = async move { inner.call(request, |request| outer.handle(request)).await };
                    let task = tokio::spawn(task.with_context(scenario.ambient(self.role)));
                    Box::pin(async { task.await.unwrap_or_else(|error| Err(error.to_string())) })
                }
                _ => outer.handle(request),
            })
        })
        .await;
        if self.fault == Some(Fault::SwallowsPanic) && instrumented == CallResult::Panicked {
            instrumented = CallResult::Value(Vec::new());
        }

        let bare_probe = ContextProbe::new(recorder);
        let bare = handler(None, &bare_probe, &Arc::default());
        let bare = go(scenario.flow(), || bare.handle(request)).await;

        let sent =
            sent.lock().map(|sent: std::sync::MutexGuard<'_, Headers>| sent.clone()).unwrap_or_default();
        (Run::new(instrumented, &probe), Run::new(bare, &bare_probe), sent)
    }
}

impl Harness for ToyHarness {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, _scenario: Scenario) -> Result<(), Reason> {
        Ok(())
    }

    fn measurements(&self, _: Flow) -> Vec<Measurement> {
        vec![
            Measurement::sample("toy.duration"),
            Measurement::in_flight("toy.active"),
            Measurement::step("toy.calls"),
        ]
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let (instrumented, bare, sent) = self.runs(recorder, scenario).await;
        Observed::new(instrumented, bare).with_sent(sent)
    }
}

fn named(scenario: Scenario, unbounded: Scenario, usual: &str) -> String {
    let same = std::mem::discriminant(&scenario) == std::mem::discriminant(&unbounded);
    if same { scenario.attacker_value() } else { usual.to_owned() }
}

/// Runs an operation by its flow, and returns what its caller saw.
async fn go<F: Future<Output = Result<Box<dyn Body>, String>>>(
    flow: Flow,
    start: impl FnOnce() -> F,
) -> CallResult {
    if flow == Flow::DroppedBeforePoll {
        drop(start());
        return CallResult::Cancelled(Vec::new());
    }
    let Ok(mut operation) = catch_unwind(AssertUnwindSafe(|| Box::pin(start()))) else {
        return CallResult::Panicked;
    };
    if flow == Flow::DroppedAtAwait {
        poll_fn(|cx| {
            assert!(operation.as_mut().poll(cx).is_pending(), "the handler keeps it waiting");
            Poll::Ready(())
        })
        .await;
        return CallResult::Cancelled(Vec::new());
    }
    // Owned by what may unwind, so that it is dropped by the panic, as in a task.
    let mut slot = Some(operation);
    let result = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut operation = slot.take().unwrap_or_else(|| unreachable!("polled after its end"));
            match operation.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => {
                    slot = Some(operation);
                    Poll::Pending
                }
            }
        }))
        .unwrap_or(Poll::Ready(None))
    })
    .await;
    let mut body = match result {
        None => return CallResult::Panicked,
        Some(Err(text)) => return CallResult::Error(text),
        Some(Ok(body)) => body,
    };
    let mut bytes = Vec::new();
    loop {
        let chunk = match catch_unwind(AssertUnwindSafe(|| body.next())) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return CallResult::Value(bytes),
            Err(_) => return CallResult::Panicked,
        };
        match chunk {
            Ok(chunk) => bytes.extend(chunk),
            Err(text) => return CallResult::Error(text),
        }
        if matches!(flow, Flow::DroppedByPeer | Flow::DroppedByUser) {
            return CallResult::Cancelled(bytes);
        }
    }
}

/// User code: the inbound side's handler, or the outbound side's peer.
#[derive(Clone)]
struct Handler {
    scenario: Scenario,
    probe: ContextProbe,
    sent: Arc<Mutex<Headers>>,
    role: Role,
    /// The instrumentation of the second operation, none in the bare run.
    toy: Option<Toy>,
    second: Option<Request>,
}

impl Handler {
    fn handle(mut self, request: Request) -> Reply<Box<dyn Body>> {
        let second = self.second.take().map(|request| (self.clone(), request));
        let Self { scenario, probe, sent, role, toy, .. } = self;
        probe.note(ProbePoint::Call);
        if let Ok(mut sent) = sent.lock() {
            sent.extend(request.headers);
        }
        let flow = scenario.flow();
        let format = scenario.content_type().filter(|_| role == Role::Outbound);
        Box::pin(async move {
            tokio::task::yield_now().await;
            if let Some((handler, request)) = second {
                let mut body = match toy {
                    Some(toy) => toy.call(request, |request| handler.handle(request)).await?,
                    None => handler.handle(request).await?,
                };
                while let Some(chunk) = body.next() {
                    chunk?;
                }
            }
            probe.note(ProbePoint::AfterAwait);
            match flow {
                Flow::DroppedAtAwait => pending().await,
                Flow::Panics => panic!("the handler panics"),
                Flow::Fails => Err(format!("it failed: {}", scenario.attacker_value())),
                _ => Ok(Box::new(Chunks { left: 2, fails: flow == Flow::BodyFails, format, probe })
                    as Box<dyn Body>),
            }
        })
    }
}

struct Chunks {
    left: u8,
    fails: bool,
    format: Option<&'static [u8]>,
    probe: ContextProbe,
}

impl Body for Chunks {
    fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        self.probe.note(ProbePoint::Body);
        self.left = self.left.checked_sub(1)?;
        let fails = self.fails && self.left == 0;
        Some(if fails { Err("the body broke".to_owned()) } else { Ok(vec![self.left]) })
    }

    fn format(&self) -> Option<&'static [u8]> {
        self.format
    }
}
