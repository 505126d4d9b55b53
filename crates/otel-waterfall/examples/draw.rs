//! Draws a trace of two services, in colours if the output is a terminal.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use otel_waterfall::Waterfall;

/// Two services in one process share one waterfall: each has its own provider with its own resource.
fn main() {
    let waterfall = Waterfall::stdout().with_events().with_attributes(["http.*", "db.*"]);
    let provider = |service: &'static str| {
        SdkTracerProvider::builder()
            .with_resource(Resource::builder_empty().with_service_name(service).build())
            .with_simple_exporter(waterfall.exporter())
            .build()
    };
    let (shop, stock) = (provider("shop"), provider("stock"));
    let (at_shop, at_stock) = (shop.tracer("draw"), stock.tracer("draw"));
    let start = SystemTime::now();
    let after = |ms: u64| start + Duration::from_millis(ms);

    let campaign = Context::new().with_span(at_shop.start_with_context("campaign", &Context::new()));
    let root = at_shop
        .span_builder("POST /orders")
        .with_kind(SpanKind::Server)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.route", "/orders"),
        ])
        .with_links(vec![Link::with_context(campaign.span().span_context().clone())])
        .start_with_context(&at_shop, &Context::new());
    let order = Context::new().with_span(root);
    campaign.span().end();

    let mut price = at_shop
        .span_builder("price the basket")
        .with_start_time(after(2))
        .start_with_context(&at_shop, &order);
    price.end_with_timestamp(after(11));

    let call = at_shop
        .span_builder("GET")
        .with_kind(SpanKind::Client)
        .with_start_time(after(12))
        .start_with_context(&at_shop, &order);
    let call = order.with_span(call);
    // The network transports only the context.
    let received = Context::new().with_remote_span_context(call.span().span_context().clone());
    let served = at_stock
        .span_builder("GET /stock/{id}")
        .with_kind(SpanKind::Server)
        .with_start_time(after(14))
        .start_with_context(&at_stock, &received);
    let served = received.with_span(served);
    let mut query = at_stock
        .span_builder("SELECT stock")
        .with_kind(SpanKind::Client)
        .with_start_time(after(16))
        .with_attributes([KeyValue::new("db.system.name", "postgresql")])
        .start_with_context(&at_stock, &served);
    query.add_event_with_timestamp("row locked", after(40), vec![KeyValue::new("rows", 1)]);
    query.set_attribute(KeyValue::new("error.type", "timeout"));
    query.set_status(Status::error("lock wait exceeded 60 ms"));
    query.end_with_timestamp(after(78));
    served.span().set_status(Status::error(""));
    served.span().set_attribute(KeyValue::new("error.type", "503"));
    served.span().end_with_timestamp(after(80));
    call.span().end_with_timestamp(after(81));

    let mut publish = at_shop
        .span_builder("send orders")
        .with_kind(SpanKind::Producer)
        .with_start_time(after(82))
        .start_with_context(&at_shop, &order);
    publish.end_with_timestamp(after(83));
    order.span().end_with_timestamp(after(84));

    waterfall.flush();
}
