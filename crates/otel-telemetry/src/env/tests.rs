//! Tests of the parsing of variables.

use proptest::prelude::*;

use super::*;

fn env(variables: &[(&str, &str)]) -> Env {
    Env::fixed(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn empty_and_blank_values_count_as_unset() {
    let mut env = env(&[("A", ""), ("B", "  "), ("C", " c ")]);
    assert_eq!(env.get("A"), None);
    assert_eq!(env.get("B"), None);
    assert_eq!(env.get("C").as_deref(), Some("c"));
    assert_eq!(env.get("D"), None);
    assert!(env.into_problems().is_empty());
}

#[test]
fn a_choice_is_known_in_any_case_and_a_problem_names_variable_value_and_choices() {
    let mut env = env(&[("A", "OTLP"), ("B", "zipkin")]);
    let choices = [("otlp", 1), ("none", 2)];
    assert_eq!(env.choice("A", &choices), Some(1));
    assert_eq!(env.choice("B", &choices), None);
    let problems = env.into_problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        r#"B="zipkin" is not understood and is ignored; it can be otlp, none"#
    );
}

#[test]
fn numbers_and_durations() {
    let mut env = env(&[("A", "250"), ("B", "-1"), ("C", "soon")]);
    assert_eq!(env.millis("A"), Some(Duration::from_millis(250)));
    assert_eq!(env.millis("B"), None);
    assert_eq!(env.number::<usize>("C"), None);
    assert_eq!(env.into_problems().len(), 2);
}

#[test]
fn pairs_are_decoded_and_a_broken_one_costs_them_all() {
    let mut env = env(&[
        ("A", "k1=v1, k2 = a%2Cb%20c ,,k3="),
        ("B", "k1=v1,k2"),
        ("C", "k1=%zz"),
        ("D", "=v"),
        ("E", "k=%ff"),
    ]);
    let expected = [("k1", "v1"), ("k2", "a,b c"), ("k3", "")];
    let got = env.pairs("A", false).unwrap();
    assert!(got.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    for broken in ["B", "C", "D", "E"] {
        assert_eq!(env.pairs(broken, true), None, "{broken}");
    }
    let problems = env.into_problems();
    assert_eq!(problems.len(), 4);
    assert!(problems.iter().all(|problem| problem.value == "(not shown)"));
}

proptest! {
    #[test]
    fn nothing_in_the_environment_panics(value in ".{0,200}") {
        let mut env = env(&[("A", &value)]);
        let _ = env.pairs("A", false);
        let _ = env.flag("A");
        let _ = env.millis("A");
        let _ = env.choice("A", &[("x", ())]);
    }
}
