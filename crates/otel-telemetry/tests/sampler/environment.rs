//! `OTEL_TRACES_SAMPLER` and its argument.

use otel_telemetry::sampler::{EnvError, Sampler};

use crate::support::{HIGH, LOW, decide, decide_root, parent};

/// Returns a sampler's decisions about a low root, a high root, and a child of a sampled parent.
fn behaviour(name: &str, argument: Option<&str>) -> [String; 3] {
    let sampler = Sampler::from_env(name, argument).unwrap();
    let write = |(decision, state): (&str, String)| format!("{decision} {state}");
    [
        write(decide_root(&sampler, LOW)),
        write(decide_root(&sampler, HIGH)),
        write(decide(&sampler, &parent(true, true, LOW, ""), LOW)),
    ]
}

#[test]
fn each_name_of_the_specification() {
    assert_eq!(behaviour("always_on", None), ["sampled ", "sampled ", "sampled "]);
    assert_eq!(behaviour("always_off", None), ["dropped ", "dropped ", "dropped "]);
    assert_eq!(behaviour("traceidratio", Some("0.5")), ["dropped ", "sampled ot=th:8", "dropped "]);
    assert_eq!(behaviour("parentbased_always_on", None), ["sampled ", "sampled ", "sampled "]);
    assert_eq!(behaviour("parentbased_always_off", None), ["dropped ", "dropped ", "sampled "]);
    assert_eq!(
        behaviour("parentbased_traceidratio", Some("0.5")),
        ["dropped ", "sampled ot=th:8", "sampled "]
    );
}

#[test]
fn what_is_not_set_has_its_default() {
    let everything = ["sampled ot=th:0", "sampled ot=th:0", "sampled "];
    assert_eq!(behaviour("parentbased_traceidratio", None), everything);
    assert_eq!(behaviour("parentbased_traceidratio", Some(" ")), everything);
    assert_eq!(behaviour("", None), behaviour("parentbased_always_on", None));
    assert_eq!(behaviour(" ParentBased_TraceIdRatio ", Some(" 1.0 ")), everything);
    // A sampler without an argument ignores it.
    assert_eq!(behaviour("always_on", Some("x")), behaviour("always_on", None));
}

#[test]
fn what_is_wrong_is_named_with_the_choices() {
    let unknown = Sampler::from_env("always", None).unwrap_err();
    assert!(matches!(unknown, EnvError::UnknownName { .. }));
    let text = unknown.to_string();
    assert!(
        text.starts_with(
            "OTEL_TRACES_SAMPLER=\"always\" is not known; the choices are always_on, always_off, "
        ),
        "{text}"
    );
    for argument in ["1.1", "-0.1", "half", "NaN", "inf"] {
        let error = Sampler::from_env("traceidratio", Some(argument)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, EnvError::InvalidArgument { .. }));
        assert_eq!(text, format!("OTEL_TRACES_SAMPLER_ARG={argument:?} is not a number from 0 to 1"));
    }
}
