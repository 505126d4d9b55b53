//! The limits of spans that the environment sets.
//!
//! Follows the specification of [span
//! limits](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#span-limits). The SDK reads
//! three of these variables itself, from the environment of the process alone.

use opentelemetry_sdk::trace::TracerProviderBuilder;

use crate::env::Env;

/// A method of the SDK's builder that sets one limit.
type SetLimit = fn(TracerProviderBuilder, u32) -> TracerProviderBuilder;

/// Returns the limits that are set, each with the method that applies it.
pub(crate) fn span_limits(env: &mut Env) -> Vec<(SetLimit, u32)> {
    let general = env.integer("OTEL_ATTRIBUTE_COUNT_LIMIT", 0);
    let mut limits: Vec<(SetLimit, u32)> = Vec::new();
    let mut add = |set: SetLimit, limit: Option<u32>| limits.extend(limit.map(|limit| (set, limit)));
    let attributes = env.integer("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0).or(general);
    add(TracerProviderBuilder::with_max_attributes_per_span, attributes);
    add(TracerProviderBuilder::with_max_events_per_span, env.integer("OTEL_SPAN_EVENT_COUNT_LIMIT", 0));
    add(TracerProviderBuilder::with_max_links_per_span, env.integer("OTEL_SPAN_LINK_COUNT_LIMIT", 0));
    let of_event = env.integer("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", 0);
    add(TracerProviderBuilder::with_max_attributes_per_event, of_event);
    let of_link = env.integer("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", 0);
    add(TracerProviderBuilder::with_max_attributes_per_link, of_link);
    limits
}
