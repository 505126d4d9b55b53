//! Tests of the environment's precedence over the options, of endpoints and of headers.

use super::*;

fn resolve(options: &OtlpOptions, signal: Signal, variables: &[(&str, &str)]) -> (Otlp, usize) {
    let mut env =
        Env::fixed(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    let otlp = options.resolve(signal, &mut env);
    (otlp, env.into_problems().len())
}

fn endpoint(options: &OtlpOptions, signal: Signal, variables: &[(&str, &str)]) -> String {
    let (otlp, problems) = resolve(options, signal, variables);
    assert_eq!(problems, 0);
    otlp.endpoint
}

#[test]
fn endpoints_over_http() {
    let code = OtlpOptions::default();
    let traces = Signal::Traces;
    assert_eq!(endpoint(&code, traces, &[]), "http://localhost:4318/v1/traces");
    let code = code.with_endpoint("http://code:1/");
    assert_eq!(endpoint(&code, traces, &[]), "http://code:1/v1/traces");
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:2/base");
    assert_eq!(endpoint(&code, Signal::Metrics, &[general]), "http://env:2/base/v1/metrics");
    let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:3/x");
    assert_eq!(
        endpoint(&code, Signal::Logs, &[general, own]),
        "http://logs:3/x",
        "a signal's own endpoint is taken as it is"
    );
}

#[test]
fn endpoints_over_grpc() {
    let code = OtlpOptions::default().with_protocol(Protocol::Grpc);
    assert_eq!(endpoint(&code, Signal::Logs, &[]), "http://localhost:4317");
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    if cfg!(feature = "tls") {
        assert_eq!(endpoint(&code, Signal::Logs, &[bare]), "https://collector:4317");
    } else {
        assert_eq!(resolve(&code, Signal::Logs, &[bare]).1, 1, "it would need the feature");
    }
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(endpoint(&code, Signal::Logs, &[bare, insecure]), "http://collector:4317");
}

#[test]
fn a_signals_own_variable_goes_before_the_general_one_and_both_before_code() {
    let code = OtlpOptions::default()
        .with_timeout(Duration::from_secs(1))
        .with_header("A", "code")
        .with_header("b", "code");
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=general"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=own"),
    ];
    let (traces, _) = resolve(&code, Signal::Traces, &variables);
    assert_eq!(traces.protocol, Protocol::HttpProtobuf);
    assert_eq!(traces.timeout, Duration::from_secs(3));
    assert!(!traces.gzip);
    assert_eq!(traces.headers["a"], "own");
    assert_eq!(traces.headers["b"], "code");
    let (logs, _) = resolve(&code, Signal::Logs, &variables);
    assert_eq!(logs.protocol, Protocol::Grpc);
    assert_eq!(logs.timeout, Duration::from_secs(2));
    assert!(logs.gzip);
    assert_eq!(logs.headers["a"], "general");
}

#[test]
fn what_is_not_understood_is_told_and_ignored() {
    let code = OtlpOptions::default().with_endpoint("http://code:1");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "file:///tmp/spans"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-equals-sign"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
    ];
    let (otlp, problems) = resolve(&code, Signal::Traces, &variables);
    assert_eq!(problems, variables.len());
    assert_eq!(otlp.protocol, Protocol::HttpProtobuf);
    assert_eq!(otlp.endpoint, "http://code:1/v1/traces");
    assert!(!otlp.gzip && !otlp.is_in_env);
}

#[test]
fn one_header_that_is_none_does_not_cost_the_others() {
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "no header=1,b=%0A,C=3");
    let (otlp, problems) = resolve(&OtlpOptions::default(), Signal::Traces, &[headers]);
    assert_eq!(problems, 1, "the same is told once");
    assert_eq!(otlp.headers, HashMap::from([("c".to_owned(), "3".to_owned())]));
}

#[test]
fn batches_are_tuned_and_kept_possible() {
    let variables = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "7"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env = Env::fixed(variables.into_iter().collect());
    let options = resolve_batch(BatchOptions::for_spans(), "OTEL_BSP", &mut env);
    assert_eq!(
        options,
        BatchOptions::for_spans()
            .with_max_queue_size(10)
            .with_max_batch_size(10)
            .with_schedule_delay(Duration::from_millis(1))
            .with_export_timeout(Duration::from_millis(7))
    );
    let nothing = BatchOptions::for_logs().with_max_queue_size(0).with_max_batch_size(0);
    let bounded = nothing.bounded();
    assert_eq!((bounded.max_queue_size, bounded.max_batch_size), (1, 1));
}

#[test]
fn each_signal_has_its_exporter() {
    let variables = [("OTEL_TRACES_EXPORTER", "console"), ("OTEL_LOGS_EXPORTER", "None")];
    let mut env = Env::fixed(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(Exporter::in_env(Signal::Traces, &mut env), Some(Exporter::Stdout));
    assert_eq!(Exporter::in_env(Signal::Logs, &mut env), Some(Exporter::None));
    assert_eq!(Exporter::in_env(Signal::Metrics, &mut env), None);
}

#[test]
fn a_shown_endpoint_has_no_credentials() {
    let shown = |endpoint: &str| {
        let options = OtlpOptions::default().with_endpoint(endpoint).with_protocol(Protocol::Grpc);
        options.resolve(Signal::Traces, &mut Env::fixed(HashMap::new())).shown_endpoint()
    };
    assert_eq!(shown("http://collector:4317"), "http://collector:4317");
    assert_eq!(shown("http://user:pass@collector:4317/a@b?key=secret#c"), "http://collector:4317/a@b");
    assert_eq!(shown("unix:///run/collector"), "unix:///run/collector");
}
