//! The sampler of `OTEL_TRACES_SAMPLER`.
//!
//! Follows [SDK environment, "General SDK Configuration"](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration).

use super::Finding;

pub(super) fn check(variable: &impl Fn(&str) -> Option<String>) -> Finding {
    let sampler = variable("OTEL_TRACES_SAMPLER").unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (own, parent) = match sampler.strip_prefix("parentbased_") {
        Some(own) => (own, ", unless the caller decided"),
        None => (&*sampler, ""),
    };
    // A service behind callers that decide is set up correctly with a sampler that keeps no trace of its own.
    let none = if parent.is_empty() { Finding::Fails } else { Finding::Doubtful };
    match own {
        "always_on" => Finding::Works(format!("{sampler}: every trace is kept{parent}")),
        "always_off" => none(format!("OTEL_TRACES_SAMPLER={sampler}: no trace is kept{parent}")),
        "traceidratio" => ratio(&sampler, parent, none, variable("OTEL_TRACES_SAMPLER_ARG")),
        _ => Finding::Doubtful(format!(
            "OTEL_TRACES_SAMPLER={sampler} is not one of the specification: it is not checked"
        )),
    }
}

fn ratio(sampler: &str, parent: &str, none: fn(String) -> Finding, argument: Option<String>) -> Finding {
    let text = argument.unwrap_or_else(|| "1".to_owned());
    match text.trim().parse::<f64>() {
        Ok(0.0) => none(format!("{sampler} with OTEL_TRACES_SAMPLER_ARG={text}: no trace is kept{parent}")),
        Ok(1.0) => Finding::Works(format!("{sampler} with the ratio 1: every trace is kept{parent}")),
        Ok(ratio) if ratio > 0.0 && ratio < 1.0 => Finding::Doubtful(format!(
            "{sampler} with OTEL_TRACES_SAMPLER_ARG={text}: {} of 1,000 traces are kept{parent}",
            (ratio * 1_000.0).round()
        )),
        _ => Finding::Fails(format!("OTEL_TRACES_SAMPLER_ARG={text} is not a number from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(sampler: &'static str, argument: &'static str) -> Finding {
        check(&|name: &str| {
            let value = if name == "OTEL_TRACES_SAMPLER" { sampler } else { argument };
            (!value.is_empty()).then(|| value.to_owned())
        })
    }

    #[test]
    fn each_sampler() {
        let works = |text: &str| Finding::Works(text.to_owned());
        let fails = |text: &str| Finding::Fails(text.to_owned());
        assert_eq!(
            checked("", ""),
            works("parentbased_always_on: every trace is kept, unless the caller decided")
        );
        assert_eq!(checked("always_off", ""), fails("OTEL_TRACES_SAMPLER=always_off: no trace is kept"));
        assert_eq!(checked("traceidratio", ""), works("traceidratio with the ratio 1: every trace is kept"));
        let text = "traceidratio with OTEL_TRACES_SAMPLER_ARG=0.25: 250 of 1,000 traces are kept";
        assert_eq!(checked("traceidratio", "0.25"), Finding::Doubtful(text.to_owned()));
        let text = "traceidratio with OTEL_TRACES_SAMPLER_ARG=0: no trace is kept";
        assert_eq!(checked("traceidratio", "0"), fails(text));
        let text = "OTEL_TRACES_SAMPLER=parentbased_always_off: no trace is kept, unless the caller decided";
        assert_eq!(checked("parentbased_always_off", ""), Finding::Doubtful(text.to_owned()));
        let text = "parentbased_traceidratio with OTEL_TRACES_SAMPLER_ARG=0: no trace is kept, unless the caller decided";
        assert_eq!(checked("parentbased_traceidratio", "0"), Finding::Doubtful(text.to_owned()));
        for wrong in ["2", "-1", "x", "NaN"] {
            let text = format!("OTEL_TRACES_SAMPLER_ARG={wrong} is not a number from 0 to 1");
            assert_eq!(checked("parentbased_traceidratio", wrong), Finding::Fails(text));
        }
        assert!(matches!(checked("jaeger_remote", ""), Finding::Doubtful(_)));
    }
}
