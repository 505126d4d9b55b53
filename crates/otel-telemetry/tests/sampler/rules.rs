//! Tables of rules: each condition, their order, and tables for a service or for a priority.

use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::trace::SamplingDecision;
use otel_telemetry::sampler::{Rule, Rules, Sampler, SpanParent};

use crate::support::{HIGH, ask, decide_root, parent};

fn only(rule: Rule) -> Sampler {
    Rules::new("orders").with_rule(rule).into()
}

fn always() -> Rule {
    Rule::new(Sampler::always())
}

fn matches(rule: Rule, cx: &Context, span: (&str, SpanKind, &[KeyValue])) -> bool {
    ask(&only(rule), cx, HIGH, span).decision == SamplingDecision::RecordAndSample
}

fn matches_attributes(rule: Rule, attributes: &[KeyValue]) -> bool {
    matches(rule, &Context::new(), ("span", SpanKind::Internal, attributes))
}

#[test]
fn a_rule_without_conditions_matches_and_a_table_without_rules_does_not() {
    assert_eq!(decide_root(&only(always()), HIGH).0, "sampled");
    assert_eq!(decide_root(&Sampler::from(Rules::new("orders")), HIGH).0, "dropped");
}

#[test]
fn kinds_names_and_parents() {
    let kinds =
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    for kind in &kinds {
        for found in &kinds {
            let rule = always().with_kinds([kind.clone()]);
            assert_eq!(matches(rule, &Context::new(), ("span", found.clone(), &[])), kind == found);
        }
    }
    let rule = || always().with_span_name("GET /users/*");
    assert!(matches(rule(), &Context::new(), ("GET /users/1", SpanKind::Server, &[])));
    assert!(!matches(rule(), &Context::new(), ("GET /orders/1", SpanKind::Server, &[])));

    let contexts = [Context::new(), parent(true, true, HIGH, ""), parent(false, false, HIGH, "")];
    for (n, place) in [SpanParent::None, SpanParent::Remote, SpanParent::Local].into_iter().enumerate() {
        for (m, cx) in contexts.iter().enumerate() {
            assert_eq!(matches(always().with_parents([place]), cx, ("span", SpanKind::Server, &[])), n == m);
        }
    }
}

#[test]
fn attributes_match_by_their_text() {
    let one = |value: Value| [KeyValue::new("a", value)];
    let has =
        |wanted: &str, value: Value| matches_attributes(always().with_attribute("a", [wanted]), &one(value));
    assert!(has("x", "x".into()));
    assert!(!has("x", "xy".into()));
    assert!(has("404", 404.into()));
    assert!(!has("404", 405.into()));
    assert!(has("true", true.into()));
    assert!(!has("true", false.into()));
    assert!(has("1.5", 1.5.into()));
    assert!(has("x", Value::Array(Array::String(vec!["w".into(), "x".into()]))));
    assert!(!has("x", Value::Array(Array::String(vec!["w".into()]))));
    assert!(has("2", Value::Array(Array::I64(vec![1, 2]))));
    assert!(has("2.5", Value::Array(Array::F64(vec![1.0, 2.5]))));
    assert!(has("false", Value::Array(Array::Bool(vec![false]))));
    // An exact value has no wildcards.
    assert!(!has("x*", "xy".into()));
    assert!(has("x*", "x*".into()));

    let any_of = || always().with_attribute("a", ["x", "y"]);
    assert!(matches_attributes(any_of(), &one("y".into())));
    assert!(!matches_attributes(any_of(), &one("z".into())));
    assert!(!matches_attributes(any_of(), &[KeyValue::new("b", "x")]));
    assert!(!matches_attributes(any_of(), &[]));
}

#[test]
fn patterns_of_attributes_include_and_exclude() {
    let rule = || always().with_attribute_patterns("a", &["/api/*", "4??"], &["*/internal"]);
    for (value, expected) in [
        (Value::from("/api/users"), true),
        (Value::from("/api/internal"), false),
        (Value::from("/"), false),
        (Value::from(404), true),
        (Value::from(200), false),
    ] {
        assert_eq!(matches_attributes(rule(), &[KeyValue::new("a", value.clone())]), expected, "{value:?}");
    }
    let but = || always().with_attribute_patterns("a", &[], &["x"]);
    assert!(matches_attributes(but(), &[KeyValue::new("a", "y")]));
    assert!(!matches_attributes(but(), &[KeyValue::new("a", "x")]));
    assert!(!matches_attributes(but(), &[]), "the attribute must be there");
}

#[test]
fn all_conditions_of_a_rule_must_match() {
    let rule =
        || always().with_kinds([SpanKind::Server]).with_attribute("a", ["1"]).with_attribute("b", ["2"]);
    let both = [KeyValue::new("b", "2"), KeyValue::new("a", "1")];
    assert!(matches(rule(), &Context::new(), ("span", SpanKind::Server, &both)));
    assert!(!matches(rule(), &Context::new(), ("span", SpanKind::Client, &both)));
    assert!(!matches(rule(), &Context::new(), ("span", SpanKind::Server, &both[..1])));
    assert!(!matches(rule(), &Context::new(), ("span", SpanKind::Server, &both[1..])));
}

#[test]
fn a_sampler_per_service_is_a_table() {
    let table = |service: &str| -> Sampler {
        Rules::new(service)
            .with_rule(Rule::new(Sampler::ratio(0.5)).with_service("orders"))
            .with_rule(Rule::new(Sampler::ratio(0.25)).with_service("pay*"))
            .with_rule(Rule::new(Sampler::never()))
            .into()
    };
    assert_eq!(decide_root(&table("orders"), HIGH).1, "ot=th:8");
    assert_eq!(decide_root(&table("payments"), HIGH).1, "ot=th:c");
    assert_eq!(decide_root(&table("users"), HIGH).0, "dropped");
}

#[test]
fn a_priority_is_a_table_and_the_first_rule_wins() {
    let table: Sampler = Rules::new("orders")
        .with_rule(Rule::new(Sampler::always()).with_attribute("sampling.priority", ["1", "2"]))
        .with_rule(Rule::new(Sampler::never()).with_attribute_patterns("sampling.priority", &["*"], &[]))
        .with_rule(Rule::new(Sampler::ratio(0.5)))
        .into();
    let with = |attributes: &[KeyValue]| {
        let result = ask(&table, &Context::new(), HIGH, ("span", SpanKind::Internal, attributes));
        (result.decision == SamplingDecision::RecordAndSample, result.trace_state.header())
    };
    assert_eq!(with(&[KeyValue::new("sampling.priority", 2)]), (true, String::new()));
    assert_eq!(with(&[KeyValue::new("sampling.priority", 0)]), (false, String::new()));
    assert_eq!(with(&[]), (true, "ot=th:8".to_owned()));
}

#[test]
fn many_attributes_are_found_whatever_their_place() {
    // More keys than a table caches, in rules that repeat them, for spans that have only some of them.
    const KEYS: usize = 24;
    let key = |n: usize| format!("app.attribute.{n}");
    let mut rules = Rules::new("orders");
    for n in (0..KEYS).chain(0..KEYS) {
        let next = (n + 1) % KEYS;
        rules = rules.with_rule(
            Rule::new(Sampler::ratio(1.0 / (n + 2) as f64))
                .with_attribute(&key(n), ["yes"])
                .with_attribute_patterns(&key(next), &["*"], &["no"]),
        );
    }
    let table: Sampler = rules.into();
    for n in 0..KEYS {
        let next = (n + 1) % KEYS;
        let mut attributes: Vec<_> = (0..KEYS).map(|other| KeyValue::new(key(other), "no")).collect();
        attributes[n] = KeyValue::new(key(n), "yes");
        let ask = |attributes: &[KeyValue]| {
            let result = ask(&table, &Context::new(), HIGH, ("span", SpanKind::Internal, attributes));
            result.trace_state.header()
        };
        assert_eq!(ask(&attributes), "", "{n}: the next one is excluded");
        attributes[next] = KeyValue::new(key(next), 7);
        let expected = decide_root(&Sampler::ratio(1.0 / (n + 2) as f64), HIGH).1;
        assert_eq!(ask(&attributes), expected, "{n}");
    }
}
