//! The declarations about the installed SDK, for all crates that record through it. In processes of their own, because
//! they are the process's.

use std::process::Command;
use std::time::Duration;

use otel_operation::has_parent_based_sampler;
use otel_propagation::is_global_final;
use otel_telemetry::sampler::{ParentBased, Rules, Sampler};
use otel_telemetry::{Exporter, Telemetry, TelemetryBuilder};

/// The variable that selects the case of a process.
const CASE: &str = "TEST_CASE";

const NO_VARIABLES: [(&str, &str); 0] = [];

fn builder() -> TelemetryBuilder {
    Telemetry::builder().with_env(NO_VARIABLES).with_exporters(Exporter::None)
}

fn declared() -> (bool, bool) {
    (has_parent_based_sampler(), is_global_final())
}

/// Each case is a builder, and true if its sampler drops every span under an unsampled parent.
fn case(name: &str) -> (TelemetryBuilder, bool) {
    let but_if_local = ParentBased::new(Sampler::ratio(0.5)).with_local_parent_not_sampled(Sampler::always());
    match name {
        "default" => (builder(), true),
        "adaptive" => (builder().with_sampler(Sampler::adaptive(20.0)), true),
        "delegate that follows" => {
            let follows = Sampler::parent_based(Sampler::never());
            let sampler = ParentBased::new(Sampler::always()).with_remote_parent_not_sampled(follows);
            (builder().with_sampler(sampler), true)
        }
        "always" => (builder().with_sampler(Sampler::always()), false),
        "never" => (builder().with_sampler(Sampler::never()), false),
        "rules" => (builder().with_sampler(Rules::new("test")), false),
        "but if local" => (builder().with_sampler(but_if_local), false),
        "mapped" => (builder().map_tracer_provider(|builder| builder), false),
        other => panic!("no case {other}"),
    }
}

#[test]
fn declarations_are_those_of_the_sdk_that_is_installed() {
    let Ok(name) = std::env::var(CASE) else {
        let cases = [
            "default",
            "adaptive",
            "delegate that follows",
            "always",
            "never",
            "rules",
            "but if local",
            "mapped",
        ];
        for name in cases {
            let output = Command::new(std::env::current_exe().unwrap()).env(CASE, name).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
        }
        return;
    };
    let (builder, follows) = case(&name);
    let beside = self::builder().build().unwrap();
    assert_eq!(declared(), (false, false), "nothing is installed");
    let telemetry = builder.init().unwrap();
    assert_eq!(declared(), (follows, true));
    let _ = beside.shutdown_blocking(Duration::from_secs(5));
    assert_eq!(declared(), (follows, true), "it was not installed");
    let _ = telemetry.shutdown_blocking(Duration::from_secs(5));
    assert_eq!(declared(), (false, false));
}
