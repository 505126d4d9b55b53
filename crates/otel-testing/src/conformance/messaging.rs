//! The parts of a harness that are the same in every transport of messages.

use super::{CallResult, ContextProbe, Flow, Measurement, ProbePoint, Reason, Role, Scenario};

const NO_STREAM: Reason = "a message has no streamed response.";
const NO_HANDLER: Reason = "no user code runs between a message and its confirmation.";
const NO_FORMAT: Reason = "a confirmation names no format.";
const NO_LAYERS: Reason = "a client wraps the broker's client, and none wraps another one.";
const NO_HOST: Reason = "a message names no host.";
const NOT_PUBLIC: Reason =
    "`ParentMode::LinkOnly` links to an untrusted producer instead, but keeps its baggage.";

/// Returns `Ok` if the scenario can happen in a transport of messages.
///
/// # Errors
/// The reason why it cannot.
pub fn supports(scenario: Scenario, role: Role) -> Result<(), Reason> {
    match (scenario, role) {
        (Scenario::DroppedByPeer | Scenario::DroppedByUser | Scenario::ContextInBody, _)
        | (Scenario::BodyFails, Role::Outbound) => Err(NO_STREAM),
        (Scenario::SecondOperation, Role::Outbound) => Err(NO_HANDLER),
        (Scenario::HostileContentType(_), Role::Outbound) => Err(NO_FORMAT),
        (Scenario::TwoLayers | Scenario::TaskBetweenLayers, _) => Err(NO_LAYERS),
        (Scenario::UnboundedHost(_), _) => Err(NO_HOST),
        (Scenario::PublicEndpoint | Scenario::FilteredPublicEndpoint, _) => Err(NOT_PUBLIC),
        _ => Ok(()),
    }
}

/// Returns the measurements of one message that is sent, or received and processed. It is settled in
/// [`Flow::BodyFails`] alone.
#[must_use]
pub fn measurements(role: Role, flow: Flow) -> Vec<Measurement> {
    const CLIENT: Measurement = Measurement::sample("messaging.client.operation.duration");
    match (role, flow) {
        (Role::Outbound, Flow::DroppedBeforePoll) => Vec::new(),
        (Role::Outbound, _) => vec![CLIENT, Measurement::step("messaging.client.sent.messages")],
        (Role::Inbound, _) => {
            let mut list = vec![Measurement::step("messaging.client.consumed.messages")];
            if flow != Flow::DroppedBeforePoll {
                list.push(Measurement::sample("messaging.process.duration"));
            }
            list.extend((flow == Flow::BodyFails).then_some(CLIENT));
            list
        }
    }
}

/// Handles a message as an application does: it returns the payload, or ends as the scenario requires. A second
/// operation runs inside, if there is one.
///
/// # Errors
/// The attacker's text, in [`Flow::Fails`].
///
/// # Panics
/// In [`Flow::Panics`].
pub async fn handle(
    payload: &[u8],
    scenario: Scenario,
    probe: &ContextProbe,
    second: impl Future<Output = ()>,
) -> Result<Vec<u8>, String> {
    probe.note(ProbePoint::Call);
    tokio::task::yield_now().await;
    second.await;
    probe.note(ProbePoint::AfterAwait);
    match scenario.flow() {
        Flow::Fails => Err(scenario.attacker_value()),
        Flow::Panics => panic!("on purpose"),
        Flow::DroppedAtAwait => std::future::pending().await,
        _ => Ok(payload.to_vec()),
    }
}

/// Drives a handler, as the scenario's flow requires, and returns its result.
pub async fn drive(
    scenario: Scenario,
    handling: impl Future<Output = Result<Vec<u8>, String>>,
) -> CallResult {
    scenario.flow().drive(handling, 3).await.map_or_else(|ended| ended, CallResult::Value)
}
