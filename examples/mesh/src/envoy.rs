//! The configuration of a sidecar: what a mesh gives its Envoy, without the parts that do not concern traces.
//!
//! Follows [Envoy, "Tracing"](https://www.envoyproxy.io/docs/envoy/v1.37.0/intro/arch_overview/observability/tracing).

use serde_json::{Value, json};

/// The tracer of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// OpenTelemetry: reads and writes W3C Trace Context, exports OTLP over HTTP.
    OpenTelemetry,
    /// Zipkin: reads and writes B3 in several headers.
    ZipkinB3,
    /// Zipkin with its option for both: writes B3 and W3C Trace Context.
    ZipkinBoth,
}

/// The ports of a sidecar, and of those that it connects to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) inbound: u16,
    pub(crate) outbound: u16,
    pub(crate) admin: u16,
    /// Its application.
    pub(crate) application: u16,
    /// The inbound port of the next sidecar.
    pub(crate) next: u16,
    /// The receiver of spans.
    pub(crate) receiver: u16,
}

/// The configuration of the sidecar of `name`, which samples this percentage of the traces that it starts.
pub(crate) fn configuration(name: &str, ports: Ports, tracer: Tracer, sampled: u8) -> Value {
    let listeners = [
        listener(name, "inbound", ports.inbound, "application", ports, tracer, sampled),
        listener(name, "outbound", ports.outbound, "next", ports, tracer, sampled),
    ];
    let clusters = [("application", ports.application), ("next", ports.next), ("receiver", ports.receiver)]
        .map(|(name, port)| {
            let endpoint = json!({ "endpoint": { "address": address(port) } });
            let assignment = json!({ "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] });
            json!({ "name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment })
        });
    json!({
        "node": { "id": name, "cluster": format!("{name}-sidecar") },
        "admin": { "address": address(ports.admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
        // Spans are sent as soon as possible.
        "layered_runtime": { "layers": [{ "name": "static", "static_layer": {
            "tracing.opentelemetry.flush_interval_ms": 50,
            "tracing.opentelemetry.min_flush_spans": 1,
            "tracing.zipkin.flush_interval_ms": 50,
            "tracing.zipkin.min_flush_spans": 1,
        } }] },
    })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn listener(
    name: &str,
    direction: &str,
    port: u16,
    cluster: &str,
    ports: Ports,
    tracer: Tracer,
    sampled: u8,
) -> Value {
    let route = json!({
        "match": { "prefix": "/" },
        "route": { "cluster": cluster },
        "decorator": { "operation": direction },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": direction,
        "tracing": {
            // A span of its own for each attempt, below that of the request.
            "spawn_upstream_span": true,
            "random_sampling": { "value": sampled },
            "provider": provider(name, ports.receiver, tracer),
        },
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
    });
    json!({
        "name": direction,
        "traffic_direction": direction.to_uppercase(),
        "address": address(port),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }] }],
    })
}

fn provider(name: &str, receiver: u16, tracer: Tracer) -> Value {
    let option = match tracer {
        Tracer::OpenTelemetry => {
            let uri = format!("http://127.0.0.1:{receiver}/v1/traces");
            return json!({ "name": "envoy.tracers.opentelemetry", "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": format!("{name}-sidecar"),
                "http_service": { "http_uri": { "uri": uri, "cluster": "receiver", "timeout": "1s" } },
            } });
        }
        Tracer::ZipkinB3 => "USE_B3",
        Tracer::ZipkinBoth => "USE_B3_WITH_W3C_PROPAGATION",
    };
    json!({ "name": "envoy.tracers.zipkin", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
        "collector_cluster": "receiver",
        "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_JSON",
        // The application's span is a child of the sidecar's, not the same one.
        "shared_span_context": false,
        "trace_id_128bit": true,
        "trace_context_option": option,
    } })
}
