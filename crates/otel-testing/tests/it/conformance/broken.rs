//! Each fault is caught, by the scenario that looks for it and for the right reason.

use otel_testing::conformance::{Role, Scenario, check};

use super::{fault::Fault, harness::ToyHarness};

#[track_caller]
fn assert_caught(role: Role, fault: Fault, scenario: Scenario, complaint: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let verdict =
        runtime.map(|runtime| runtime.block_on(check(&ToyHarness { role, fault: Some(fault) }, scenario)));
    match verdict {
        Ok(Err(text)) if text.contains(complaint) => {}
        Ok(verdict) => panic!("{fault:?} under {scenario:?}: expected {complaint:?}, got {verdict:?}"),
        Err(error) => panic!("no runtime: {error}"),
    }
}

macro_rules! caught {
    ($($name:ident: $role:ident $fault:ident $scenario:ident $(($run:literal))? $complaint:literal;)*) => {
        $(
            #[test]
            fn $name() {
                assert_caught(Role::$role, Fault::$fault, Scenario::$scenario $(($run))?, $complaint);
            }
        )*
    };
}

caught! {
    no_span: Inbound NoSpan Success "0 spans of operations";
    two_spans: Outbound TwoSpans Success "2 spans of operations";
    ends_twice: Inbound EndsTwice Success "was ended 2 times";
    ends_by_drop_when_cancelled: Inbound EndsByDrop DroppedAtAwait "was ended by being dropped";
    ends_by_drop_before_poll: Outbound EndsByDrop DroppedBeforePoll "was ended by being dropped";
    ends_by_drop_when_panicking: Outbound EndsByDrop Panic "was ended by being dropped";
    ends_at_head_when_peer_leaves: Inbound EndsAtHead DroppedByPeer "no span has an error.type";
    ends_at_head_when_user_drops: Inbound EndsAtHead DroppedByUser "no span has an error.type";
    ends_at_head_when_body_fails: Inbound EndsAtHead BodyFails "no span has an error.type";
    leaks_in_flight_on_panic: Inbound LeaksInFlight Panic "something is in flight";
    leaks_in_flight_on_cancel: Outbound LeaksInFlight DroppedAtAwait "something is in flight";
    in_flight_ends_twice: Inbound InFlightEndsTwice Success "something is in flight";
    in_flight_ends_twice_after_shutdown: Inbound InFlightEndsTwice SdkShutDown "1 increments, 2 decrements";
    in_flight_pair_twice: Outbound InFlightPairTwice Success "2 increments, 2 decrements";
    in_flight_pair_twice_without_span: Inbound InFlightPairTwice UnsampledParent "2 increments, 2 decrements";
    in_flight_at_end: Inbound InFlightAtEnd Success "at Call, 0 operations are in flight, not 1";
    in_flight_at_end_when_dropped: Outbound InFlightAtEnd DroppedAtAwait "at Call, 0 operations are in flight";
    in_flight_ends_first: Inbound InFlightEndsFirst Success "lowest value -1";
    in_flight_by_two: Outbound InFlightByTwo Success "2 increments, 0 decrements, 1 other steps";
    in_flight_needs_sampling: Inbound InFlightNeedsSampling UnsampledParent "toy.active was not recorded";
    in_flight_needs_sdk: Outbound InFlightNeedsSampling SdkShutDown "toy.active was not recorded";
    counter_twice: Inbound CounterTwice Success "toy.calls: 2 steps with the sum 2, expected 1";
    counter_twice_without_span: Outbound CounterTwice UnsampledParent "2 steps with the sum 2";
    counter_twice_after_shutdown: Inbound CounterTwice SdkShutDown "2 steps with the sum 2";
    counter_by_two: Outbound CounterByTwo Success "1 steps with the sum 2";
    one_counter_is_bound: Outbound OneCounterIsBound Success "recorded past its bound instrument";
    counter_needs_sampling: Inbound CounterNeedsSampling UnsampledParent "toy.calls was not recorded";
    counter_needs_sdk: Outbound CounterNeedsSampling SdkShutDown "toy.calls was not recorded";
    counter_only_on_success: Inbound CounterOnlyOnSuccess DroppedAtAwait "toy.calls was not recorded";
    counter_of_many: Outbound CounterTwice UnboundedOperation(0) "toy.calls: 400 steps";
    other_metric: Outbound OtherMetric Success "toy.other has 1 measurements, and the harness lists none";
    no_metric: Outbound NoMetric Success "spans and durations disagree";
    metric_twice: Inbound MetricTwice Success "spans and durations disagree";
    no_metric_when_dropped: Inbound NoMetricWhenDropped DroppedByPeer "spans and durations disagree";
    metric_needs_sampling_inbound: Inbound MetricNeedsSampling UnsampledParent "toy.duration was not recorded";
    metric_needs_sampling_outbound: Outbound MetricNeedsSampling UnsampledParent "toy.duration was not recorded";
    metric_needs_sdk: Inbound MetricNeedsSampling SdkShutDown "toy.duration was not recorded";
    metric_twice_without_span: Inbound MetricTwiceWithoutSpan UnsampledParent "toy.duration: 2 samples, expected 1";
    metric_twice_without_span_outbound: Outbound MetricTwiceWithoutSpan UnsampledParent "2 samples, expected 1";
    metric_twice_after_shutdown: Inbound MetricTwiceWithoutSpan SdkShutDown "2 samples, expected 1";
    metric_twice_after_shutdown_outbound: Outbound MetricTwiceWithoutSpan SdkShutDown "2 samples, expected 1";
    other_error_on_metric: Outbound OtherErrorOnMetric Error "spans and durations disagree";
    other_duration: Inbound OtherDuration Success "by the metric";
    ignores_errors: Outbound IgnoresErrors Error "no span has an error.type";
    ignores_panics: Inbound IgnoresErrors Panic "no span has an error.type";
    ignores_cancellation: Inbound IgnoresErrors DroppedAtAwait "no span has an error.type";
    ignores_cancellation_of_a_call: Outbound IgnoresErrors DroppedAtAwait "no span has an error.type";
    error_without_status: Inbound ErrorWithoutStatus Error "must go together";
    success_is_error: Outbound SuccessIsError Success "nothing failed";
    joins_ambient: Inbound JoinsAmbient NoParent "happened to be current";
    joins_ambient_for_bad_headers: Inbound JoinsAmbient NonUtf8Headers "happened to be current";
    ignores_headers: Inbound IgnoresHeaders Parent "does not continue the trace";
    loses_parent_in_a_crowd: Inbound IgnoresHeaders ManyHeaders "does not continue the trace";
    ambient_baggage: Inbound AmbientBaggage Success "baggage that happened to be current";
    not_attached_at_call: Inbound NotAttachedAtCall Success "at Call, the operation's span is not current";
    not_attached_after_await: Inbound NotAttachedAfterAwait Success "at AfterAwait, the operation's span";
    not_attached_in_body: Inbound NotAttachedInBody ContextInBody "at Body, the operation's span";
    lenient_parent: Inbound LenientParent MalformedParent "no valid one was received";
    lenient_huge_parent: Inbound LenientParent HugeHeaders "no valid one was received";
    first_parent_wins: Inbound FirstParentWins TwoParents "no valid one was received";
    loses_baggage_inbound: Inbound LosesBaggage Baggage "the received baggage is lost";
    loses_baggage_outbound: Outbound LosesBaggage Baggage "is not among the baggage";
    bare_baggage: Outbound BareBaggage Baggage "is not among the baggage";
    loses_trace_state_inbound: Inbound LosesTraceState Parent "tracestate is lost";
    loses_trace_state_outbound: Outbound LosesTraceState Parent "tracestate is lost";
    trusts_public: Inbound TrustsPublic PublicEndpoint "a caller that is not trusted";
    no_public_link: Inbound NoPublicLink PublicEndpoint "no link";
    keeps_public_baggage: Inbound KeepsPublicBaggage PublicEndpoint "baggage of a caller that is not trusted";
    ignores_caller: Outbound IgnoresCaller Parent "its parent is";
    injects_parent: Outbound InjectsParent Success "which is not the operation's span";
    injects_nothing: Outbound InjectsNothing NoParent "no traceparent was sent";
    appends_parent: Outbound AppendsParent StaleHeaders "2 traceparent headers";
    forwards_stale_state: Outbound ForwardsStaleState StaleHeaders "stale or empty headers";
    forwards_stale_baggage: Outbound ForwardsStaleBaggage StaleBaggage "stale or empty headers";
    removes_callers_baggage: Outbound RemovesCallersBaggage StaleHeaders "baggage that the caller wrote was changed";
    replaces_without_span: Outbound ReplacesWithoutSpan CallersHeaders "without an SDK, traceparent was changed";
    samples_anew_inbound: Inbound SamplesAnew UnsampledParent "1 spans of operations";
    samples_anew_outbound: Outbound SamplesAnew UnsampledParent "1 spans of operations";
    invalid_when_shut_down_inbound: Inbound InvalidWhenShutDown SdkShutDown "context is not passed on";
    invalid_when_shut_down_outbound: Outbound InvalidWhenShutDown SdkShutDown "no traceparent was sent";
    operation_as_name: Inbound OperationAsName UnboundedOperation(0) "span names are unbounded";
    operation_on_metric: Outbound OperationOnMetric UnboundedOperation(0) "from an untrusted peer";
    operation_hash_on_metric: Inbound OperationHashOnMetric UnboundedOperation(0) "toy.duration has";
    host_on_metric: Inbound HostOnMetric UnboundedHost(0) "from an untrusted peer";
    format_decides_inbound: Inbound FormatDecides HostileContentType(0) "1 spans of operations";
    format_decides_outbound: Outbound FormatDecides HostileContentType(0) "spans and durations disagree";
    format_as_name: Inbound FormatAsName HostileContentType(0) "the content type decides";
    error_text_as_type: Outbound ErrorTextAsType UnboundedError(0) "from an untrusted peer";
    secret_on_span: Inbound SecretOnSpan Secrets "a secret was recorded in the span";
    secret_on_metric: Outbound SecretOnMetric Secrets "a secret was recorded in toy.duration";
    stacks_twice_inbound: Inbound StacksTwice TwoLayers "2 spans of operations";
    stacks_twice_outbound: Outbound StacksTwice TwoLayers "2 spans of operations";
    measures_each_layer: Inbound MeasuresEachLayer TwoLayers "toy.calls: 2 steps";
    measures_each_layer_behind_a_task: Outbound MeasuresEachLayer TaskBetweenLayers "toy.calls: 2 steps";
    forgets_task_inbound: Inbound ForgetsTask TaskBetweenLayers "2 spans of operations";
    forgets_task_outbound: Outbound ForgetsTask TaskBetweenLayers "2 spans of operations";
    joins_always_inbound: Inbound JoinsAlways SecondOperation "1 spans of operations";
    joins_always_outbound: Outbound JoinsAlways SecondOperation "1 spans of operations";
    filtered_is_recorded: Outbound FilteredIsRecorded Filtered "1 spans of operations";
    filtered_is_measured: Inbound FilteredIsMeasured Filtered "toy.calls has 1 measurements";
    filter_ends_trace_inbound: Inbound FilterEndsTrace Filtered "context is not passed on";
    filter_ends_trace_outbound: Outbound FilterEndsTrace Filtered "context is not passed on";
    filter_joins_ambient: Inbound JoinsAmbient FilteredPublicEndpoint "is continued";
    filter_not_attached_in_body: Inbound NotAttachedInBody Filtered "at Body, the received context is not passed on";
    filter_loses_baggage: Outbound LosesBaggage Filtered "is not among the baggage";
    filter_trusts_public: Inbound FilterTrustsPublic FilteredPublicEndpoint "not trusted is continued";
    hook_reaches_caller: Inbound HookReachesCaller PanickingHooks "changed the outcome";
    hook_costs_record: Outbound HookCostsRecord PanickingHooks "0 spans of operations";
    propagator_reaches_caller_inbound: Inbound PropagatorReachesCaller PanickingPropagator "changed the outcome";
    propagator_reaches_caller_outbound: Outbound PropagatorReachesCaller PanickingPropagator "changed the outcome";
    processor_reaches_caller: Inbound ProcessorReachesCaller PanickingProcessor "changed the outcome";
    second_joins_ambient: Outbound IgnoresCaller SecondOperation "0 of the two spans";
    second_ignores_headers: Inbound IgnoresHeaders SecondOperation "0 of the two spans";
    second_not_attached: Inbound NotAttachedAfterAwait SecondOperation "at AfterAwait";
    second_injects_parent: Outbound InjectsParent SecondOperation "not the spans";
    changes_payload: Outbound ChangesPayload Success "changed the outcome";
    swallows_error: Inbound SwallowsError Error "changed the outcome";
    swallows_panic: Inbound SwallowsPanic Panic "changed the outcome";
}

/// A span that stays open is not a verdict but a wait in vain.
#[test]
#[should_panic(expected = "for all spans to finish")]
fn never_ends() {
    assert_caught(Role::Inbound, Fault::NeverEnds, Scenario::Success, "");
}
