//! Tests of the parsing of variables.

use proptest::prelude::*;

use super::variables::{Support, VARIABLES};
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
    assert_eq!(problems[0].to_string(), r#"B="zipkin" is not valid: it is ignored; valid: otlp, none"#);
}

#[test]
fn only_true_is_true() {
    let mut env = env(&[("A", "True"), ("B", "FALSE"), ("C", "1"), ("D", "")]);
    assert_eq!(["A", "B", "C", "D"].map(|name| env.flag(name)), [Some(true), Some(false), Some(false), None]);
    let [problem] = &env.into_problems()[..] else { panic!("one problem") };
    assert_eq!(problem.to_string(), r#"C="1" is not valid: it counts as false; valid: true, false"#);
}

#[test]
fn numbers_in_range_are_taken_and_others_are_not() {
    for (value, from_0, from_1) in [
        ("0", Some(0), None),
        ("1", Some(1), Some(1)),
        ("4294967295", Some(u32::MAX), Some(u32::MAX)),
        ("4294967296", None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("many", None, None),
    ] {
        let mut env = env(&[("A", value)]);
        assert_eq!((env.integer("A", 0), env.integer("A", 1)), (from_0, from_1), "{value}");
        let problems = [from_0, from_1].iter().filter(|number| number.is_none()).count();
        assert_eq!(env.into_problems().len(), problems, "{value}");
    }
}

#[test]
fn zero_is_an_indefinite_timeout_and_no_interval() {
    let long = u64::MAX.to_string();
    for (value, timeout, interval) in [
        ("0", Some(INDEFINITE), None),
        ("250", Some(Duration::from_millis(250)), Some(Duration::from_millis(250))),
        (&long, Some(INDEFINITE), Some(INDEFINITE)),
        ("-1", None, None),
        ("5s", None, None),
    ] {
        let mut env = env(&[("A", value)]);
        assert_eq!((env.timeout("A"), env.interval("A")), (timeout, interval), "{value}");
        let problems = [timeout, interval].iter().filter(|duration| duration.is_none()).count();
        assert_eq!(env.into_problems().len(), problems, "{value}");
    }
}

#[test]
fn attributes_are_decoded_and_a_malformed_pair_invalidates_them_all() {
    let mut env = env(&[
        ("A", "k1=v1, k2 = a%2Cb%20c ,,k3="),
        ("B", "k1=v1,k2"),
        ("C", "k1=%zz"),
        ("D", "=v"),
        ("E", "k=%ff"),
    ]);
    let expected = [("k1", "v1"), ("k2", "a,b c"), ("k3", "")];
    let got = env.attributes("A").unwrap();
    assert!(got.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    for malformed in ["B", "C", "D", "E"] {
        assert_eq!(env.attributes(malformed), None, "{malformed}");
    }
    assert_eq!(env.into_problems().len(), 4);
}

#[test]
fn a_malformed_header_is_left_out_and_not_shown() {
    let mut env = env(&[("A", "a=1,secret,B=%20x%20"), ("B", "c=3")]);
    let expected = [("a", "1"), ("b", " x ")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(env.headers(&["A", "B"]), expected);
    let [problem] = &env.into_problems()[..] else { panic!("one problem") };
    assert!(problem.to_string().contains("entry 2 is not sent"), "{problem}");
    assert!(!problem.to_string().contains("secret"), "{problem}");
}

/// The rows of the table in the README: the pattern of the names and the support.
fn readme() -> Vec<(String, String)> {
    let readme = include_str!("../../README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `OTEL_"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`');
        (format!("OTEL_{name}"), cells.next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn the_readme_has_each_variable_with_its_support() {
    let expected: Vec<_> = VARIABLES
        .iter()
        .map(|(pattern, support)| {
            let support = match support {
                Support::Since(version) => (*version).to_owned(),
                Support::TlsSince(version) => format!("{version}, feature `tls`"),
                Support::Warned(_) => "warned".to_owned(),
            };
            ((*pattern).to_owned(), support)
        })
        .collect();
    assert_eq!(readme(), expected);
}

/// The problems of a set-up with one variable, which exports nothing.
fn problems(variables: &[(&str, &str)]) -> Vec<EnvProblem> {
    let builder = crate::Telemetry::builder().with_env(variables.iter().copied()).strict_env();
    match builder.build() {
        Err(crate::SetupError::Environment(problems)) => problems,
        Ok(telemetry) => telemetry.env_problems().to_vec(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_supported_variable_is_read_and_each_other_is_named() {
    let none = ["TRACES", "METRICS", "LOGS"].map(|signal| format!("OTEL_{signal}_EXPORTER"));
    for (pattern, support) in VARIABLES {
        for name in variables::expand(pattern) {
            let is_supported = match support {
                Support::Since(_) => true,
                Support::TlsSince(_) => cfg!(feature = "tls"),
                Support::Warned(_) => false,
            };
            if !is_supported {
                let mut variables: Vec<_> = none.iter().map(|variable| (variable.as_str(), "none")).collect();
                variables.push((&name, "x"));
                let [problem] = &problems(&variables)[..] else { panic!("{name}") };
                assert_eq!((&problem.variable, problem.is_unsupported()), (&name, true));
                assert!(problem.to_string().contains(" is not supported: "), "{problem}");
                continue;
            }
            // No value of it is invalid; that it is read is shown in `tests/it/environment.rs`.
            if name == "OTEL_SERVICE_NAME" {
                continue;
            }
            let problems = problems(&[("OTEL_TRACES_SAMPLER", "traceidratio"), (&name, "%")]);
            assert!(!problems.is_empty(), "{name}");
            assert!(problems.iter().all(|problem| problem.variable == name), "{problems:?}");
            assert!(!problems[0].is_unsupported(), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_in_the_environment_panics(value in ".{0,200}") {
        let mut env = env(&[("A", &value)]);
        let _ = env.attributes("A");
        let _ = env.headers(&["A"]);
        let _ = env.flag("A");
        let _ = env.integer("A", 1);
        let _ = env.interval("A");
        let _ = env.timeout("A");
        let _ = env.choice("A", &[("x", ())]);
    }
}
