//! The cost of a decision of each sampler of otel-telemetry, and of the SDK's.
//!
//! Without arguments it runs itself once per cell of its table and prints the table; see `benchmarks/README.md`.

use std::hint::black_box;
use std::process::ExitCode;

use benchmarks::allocations::Counting;
use benchmarks::cells::{COLUMNS, Key, measure_wanted};
use benchmarks::cli::{self, Options};
use benchmarks::measure::{Mode, measure};
use benchmarks::named;
use benchmarks::process::Failure;
use benchmarks::results::Document;
use benchmarks::table::{Goals, Table};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};
use otel_telemetry::sampler::{Rule, Rules, Sampler};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    cli::main("samplers", cell, Some(report))
}

named! {
    /// A sampler.
    Candidate {
        SdkParentBased = "sdk-parent-based",
        ParentBased = "parent-based",
        Adaptive = "adaptive",
        /// 20 rules, of which the last one matches.
        Rules = "rules",
        /// 20 rules on parts of a name that it does not contain, although it contains all their pairs of bytes.
        SearchedRules = "searched-rules",
    }
}

named! {
    /// The parent and the trace ID of the span.
    Variant {
        Kept = "root-kept",
        Dropped = "root-dropped",
        Sampled = "sampled-parent",
        Unsampled = "unsampled-parent",
    }
}

impl Candidate {
    fn has(self, variant: Variant) -> bool {
        match self {
            Self::SdkParentBased | Self::ParentBased => true,
            Self::Adaptive => variant != Variant::Sampled,
            Self::Rules | Self::SearchedRules => variant == Variant::Kept,
        }
    }

    fn sampler(self, variant: Variant) -> Box<dyn ShouldSample> {
        match self {
            Self::SdkParentBased => {
                Box::new(SdkSampler::ParentBased(Box::new(SdkSampler::TraceIdRatioBased(0.1))))
            }
            Self::ParentBased => Box::new(Sampler::parent_based(Sampler::ratio(0.1))),
            Self::Adaptive if variant == Variant::Kept => Box::new(Sampler::adaptive(f64::MAX)),
            Self::Adaptive => Box::new(Sampler::adaptive(1e-3)),
            Self::Rules => Box::new(rules(|rule, number| match number % 4 {
                0 => rule.with_kinds([SpanKind::Client]).with_span_name("POST *"),
                1 => rule.with_span_name(&format!("GET /api/v1/users/{number}")),
                2 => rule.with_span_name("* /health?"),
                _ => rule.with_attribute("http.route", [format!("/api/v1/orders/{number}")]),
            })),
            Self::SearchedRules => Box::new(rules(|rule, number| {
                let parts = ["/users/v1", "/v1/api", "/api/users", "/v1/v1", "/users/api", "1/api", "s/v1"];
                rule.with_span_name(&format!("*{}*", parts[number % parts.len()]))
            })),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::SdkParentBased => "the SDK's `ParentBased(TraceIdRatioBased)`",
            Self::ParentBased => "`parent_based(ratio)`",
            Self::Adaptive => "`adaptive`",
            Self::Rules => "20 rules on kinds, names and attributes, the last of which matches",
            Self::SearchedRules => "20 rules on parts of a name, each of which is searched for",
        }
    }
}

fn rules(rule: impl Fn(Rule, usize) -> Rule) -> Sampler {
    let add = |rules: Rules, number| rules.with_rule(rule(Rule::new(Sampler::always()), number));
    (0..19).fold(Rules::new("users"), add).with_rule(Rule::new(Sampler::never())).into()
}

impl Variant {
    fn parent(self) -> Context {
        let flags = match self {
            Self::Kept | Self::Dropped => return Context::new(),
            Self::Sampled => TraceFlags::SAMPLED,
            Self::Unsampled => TraceFlags::NOT_SAMPLED,
        };
        let (trace, span) = (TraceId::from(u128::MAX - 7), SpanId::from(7));
        Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
    }

    /// The last seven bytes decide for ours: all ones are kept, and all zeros are dropped. The SDK's decides by the first ones
    /// of them, the other way round.
    fn trace_id(self, candidate: Candidate) -> TraceId {
        let keeps_ones = candidate != Candidate::SdkParentBased;
        let keeps = self != Self::Dropped;
        TraceId::from(if keeps == keeps_ones { u128::MAX } else { 1 << 64 })
    }

    fn label(self) -> &'static str {
        match self {
            Self::Kept => "a root that is kept",
            Self::Dropped => "a root that is dropped",
            Self::Sampled => "a sampled parent",
            Self::Unsampled => "an unsampled parent",
        }
    }
}

/// The attributes with which the span of an HTTP server starts.
fn attributes() -> [KeyValue; 9] {
    [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.path", "/api/v1/users/4711"),
        KeyValue::new("url.scheme", "https"),
        KeyValue::new("server.address", "users.example"),
        KeyValue::new("server.port", 443),
        KeyValue::new("network.protocol.version", "2"),
        KeyValue::new("client.address", "192.0.2.7"),
        KeyValue::new("user_agent.original", "bench/1"),
        KeyValue::new("http.route", "/api/v1/users/{id}"),
    ]
}

fn cell(arguments: &[&str]) -> Option<()> {
    let [_, candidate, variant, mode] = arguments else { return None };
    let (candidate, variant) = (Candidate::parse(candidate)?, Variant::parse(variant)?);
    let (sampler, parent, attributes) = (candidate.sampler(variant), variant.parent(), attributes());
    let decide = || {
        sampler.should_sample(
            Some(black_box(&parent)),
            black_box(variant.trace_id(candidate)),
            black_box("GET /api/v1/users/{id}"),
            &SpanKind::Server,
            black_box(&attributes),
            &[],
        )
    };
    let keeps = matches!(variant, Variant::Kept | Variant::Sampled) && candidate.keeps();
    let decision = decide().decision;
    assert_eq!(decision == SamplingDecision::RecordAndSample, keeps, "{decision:?}");
    measure(Mode::parse(mode)?, || (), |()| drop(black_box(decide())));
    Some(())
}

impl Candidate {
    /// Rules end in a sampler that drops, so that only their search is measured.
    fn keeps(self) -> bool {
        !matches!(self, Self::Rules | Self::SearchedRules)
    }
}

fn key(candidate: Candidate, variant: Variant) -> Key {
    Key { default_build: false, side: "decision", candidate: candidate.name(), variant: variant.name() }
}

fn report(options: &Options, document: &mut Document) -> Result<(), Failure> {
    document.title("Samplers");
    document.section("A decision about a span with nine attributes");
    let cells = Candidate::ALL.iter().flat_map(|&candidate| {
        let variants = Variant::ALL.iter().filter(move |variant| candidate.has(**variant));
        variants.map(move |&variant| (candidate, variant))
    });
    let results =
        measure_wanted(options, cells.clone().map(|(candidate, variant)| key(candidate, variant)), &[])?;
    let mut table = Table::new(&COLUMNS);
    for (candidate, variant) in cells.filter(|(candidate, variant)| results.has(key(*candidate, *variant))) {
        let name = if candidate.keeps() {
            format!("{}: {}", candidate.label(), variant.label())
        } else {
            candidate.label().to_owned()
        };
        table.row(name, results.get(key(candidate, variant)).cells(), Goals::default());
    }
    document.table(table);
    Ok(())
}
