//! The toy's harness: runs the traffic of each scenario, instrumented and bare.

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::Poll,
};

use otel_testing::{
    Recorder,
    conformance::{CallResult, ContextProbe, Flow, Harness, Observed, ProbePoint, Reason, Role, Scenario},
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
}

impl Harness for ToyHarness {
    fn role(&self) -> Role {
        self.role
    }

    fn supports(&self, _scenario: Scenario) -> Result<(), Reason> {
        Ok(())
    }

    async fn run(&self, recorder: &Recorder, scenario: Scenario) -> Observed {
        let toy = Toy {
            recorder: recorder.clone(),
            role: self.role,
            public_endpoint: scenario.is_public_endpoint(),
            fault: self.fault,
        };
        let (probe, sent) = (ContextProbe::new(), Arc::default());
        let handler = Handler { scenario, probe: probe.clone(), sent: Arc::clone(&sent) };
        let request = Request {
            operation: named(scenario, Scenario::UnboundedOperation(0), "greet"),
            host: named(scenario, Scenario::UnboundedHost(0), "localhost"),
            headers: scenario.headers(self.role),
        };
        let mut instrumented =
            go(scenario.flow(), || toy.call(request, |headers| handler.handle(headers))).await;
        if self.fault == Some(Fault::SwallowsPanic) && instrumented == CallResult::Panicked {
            instrumented = CallResult::Cancelled;
        }

        let bare = Handler { scenario, probe: ContextProbe::new(), sent: Arc::default() };
        let bare = go(scenario.flow(), || bare.handle(Headers::new())).await;

        let sent =
            sent.lock().map(|sent: std::sync::MutexGuard<'_, Headers>| sent.clone()).unwrap_or_default();
        Observed::new(instrumented, bare).with_sent(sent).with_probe(&probe)
    }
}

fn named(scenario: Scenario, unbounded: Scenario, usual: &str) -> String {
    let same = std::mem::discriminant(&scenario) == std::mem::discriminant(&unbounded);
    if same { scenario.attacker_value() } else { usual.to_owned() }
}

/// Lets an operation go its flow, and tells what its caller saw.
async fn go<F: Future<Output = Result<Box<dyn Body>, String>>>(
    flow: Flow,
    start: impl FnOnce() -> F,
) -> CallResult {
    if flow == Flow::DroppedBeforePoll {
        drop(start());
        return CallResult::Cancelled;
    }
    let mut operation = Box::pin(start());
    if flow == Flow::DroppedAtAwait {
        poll_fn(|cx| {
            assert!(operation.as_mut().poll(cx).is_pending(), "the handler keeps it waiting");
            Poll::Ready(())
        })
        .await;
        return CallResult::Cancelled;
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
    while let Some(chunk) = body.next() {
        match chunk {
            Ok(chunk) => bytes.extend(chunk),
            Err(text) => return CallResult::Error(text),
        }
        if matches!(flow, Flow::DroppedByPeer | Flow::DroppedByUser) {
            break;
        }
    }
    CallResult::Value(bytes)
}

/// User code: the inbound side's handler, or the outbound side's peer.
struct Handler {
    scenario: Scenario,
    probe: ContextProbe,
    sent: Arc<Mutex<Headers>>,
}

impl Handler {
    fn handle(self, headers: Headers) -> Reply<Box<dyn Body>> {
        let Self { scenario, probe, sent } = self;
        probe.note(ProbePoint::Call);
        if let Ok(mut sent) = sent.lock() {
            *sent = headers;
        }
        let flow = scenario.flow();
        Box::pin(async move {
            tokio::task::yield_now().await;
            probe.note(ProbePoint::AfterAwait);
            match flow {
                Flow::DroppedAtAwait => pending().await,
                Flow::Panics => panic!("the handler panics"),
                Flow::Fails => Err(format!("it failed: {}", scenario.attacker_value())),
                _ => Ok(Box::new(Chunks { left: 2, fails: flow == Flow::BodyFails, probe }) as Box<dyn Body>),
            }
        })
    }
}

struct Chunks {
    left: u8,
    fails: bool,
    probe: ContextProbe,
}

impl Body for Chunks {
    fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        self.probe.note(ProbePoint::Body);
        self.left = self.left.checked_sub(1)?;
        let fails = self.fails && self.left == 0;
        Some(if fails { Err("the body broke".to_owned()) } else { Ok(vec![self.left]) })
    }
}
