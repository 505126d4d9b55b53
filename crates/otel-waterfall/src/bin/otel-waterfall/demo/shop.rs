//! Orders of a shop: requests, a message, stores, some failures; and the shop's metrics.

use serde_json::{Value, json};

use super::{
    CLIENT, CONSUMER, Data, INTERNAL, MILLISECOND, NewSpan, PRODUCER, Place, SECOND, SERVER, pairs, resource,
};

const ORDERS: u64 = 24;

pub(super) fn orders(data: &mut Data) {
    for number in 0..ORDERS {
        let start = data.now - (ORDERS - number) * 9 * SECOND - data.random(SECOND);
        order(data, start, number);
    }
}

/// The time at which the parts of an order run, from a start, in pseudo-random milliseconds.
fn order(data: &mut Data, start: u64, number: u64) {
    let root = data.root();
    let fails = number % 6 == 4;
    let length = (180 + data.random(120) + if fails { 400 } else { 0 }) * MILLISECOND;
    let http = json!({"http.request.method": "POST", "http.route": "/orders", "url.scheme": "https", "server.address": "shop.example"});
    let entry = data.span(
        &root,
        NewSpan { service: "gateway", name: "POST /orders", kind: SERVER, start, length, attributes: http },
    );
    if fails {
        data.fail("502", "");
    }
    let at = start + 2 * MILLISECOND;
    let checkout = call(
        data,
        &root.below(&entry),
        ["gateway", "checkout"],
        "POST /checkout",
        at,
        length - 20 * MILLISECOND,
        fails.then_some("502"),
    );
    let at = at + 3 * MILLISECOND;
    let inside = root.below(&checkout);
    let name = "check the basket";
    data.span(
        &inside,
        NewSpan {
            service: "checkout",
            name,
            kind: INTERNAL,
            start: at,
            length: 4 * MILLISECOND,
            attributes: json!({"basket.items": 3}),
        },
    );

    let auth = call(
        data,
        &inside,
        ["checkout", "identity"],
        "GET /sessions/{id}",
        at + 4 * MILLISECOND,
        18 * MILLISECOND,
        None,
    );
    store(
        data,
        &root.below(&auth),
        "identity",
        ("redis", "GET session"),
        at + 8 * MILLISECOND,
        2 * MILLISECOND,
    );
    let at = at + 24 * MILLISECOND;
    stock(data, &inside, at);
    payment(data, &inside, at + 44 * MILLISECOND, fails);
    if !fails {
        shipping(data, &inside, at + 110 * MILLISECOND);
    }
    let place = root.below(&checkout);
    let (severity, body) =
        if fails { (17, "order failed: the payment was not accepted") } else { (9, "order accepted") };
    data.log("checkout", start + length - 25 * MILLISECOND, severity, body, &place);
}

/// Adds the client span of `services[0]` and the server span of `services[1]`; returns the id of the latter.
fn call(
    data: &mut Data,
    place: &Place,
    services: [&'static str; 2],
    name: &str,
    start: u64,
    length: u64,
    error: Option<&str>,
) -> String {
    let [from, to] = services;
    let method = name.split(' ').next().unwrap_or(name);
    let attributes = json!({"http.request.method": method, "server.address": to, "url.full": format!("http://{to}.internal/")});
    let client =
        data.span(place, NewSpan { service: from, name: method, kind: CLIENT, start, length, attributes });
    if let Some(error) = error {
        data.fail(error, "");
    }
    let route = name.split(' ').nth(1).unwrap_or(name);
    let attributes =
        json!({"http.request.method": method, "http.route": route, "network.protocol.version": "2"});
    let [start, length] = [start + MILLISECOND / 2, length - MILLISECOND];
    let server = data
        .span(&place.remote(&client), NewSpan { service: to, name, kind: SERVER, start, length, attributes });
    if let Some(error) = error {
        data.fail(error, "");
    }
    server
}

fn store(
    data: &mut Data,
    place: &Place,
    service: &'static str,
    (system, name): (&str, &str),
    start: u64,
    length: u64,
) {
    let attributes = json!({"db.system.name": system, "db.query.summary": name, "server.address": format!("{system}.internal")});
    data.span(place, NewSpan { service, name, kind: CLIENT, start, length, attributes });
}

/// Three items are looked up at the same time.
fn stock(data: &mut Data, place: &Place, at: u64) {
    for item in 0..3 {
        let start = at + item * MILLISECOND;
        let length = (14 + data.random(24)) * MILLISECOND;
        let served = call(data, place, ["checkout", "stock"], "GET /stock/{id}", start, length, None);
        store(
            data,
            &place.below(&served),
            "stock",
            ("postgresql", "SELECT stock"),
            start + 2 * MILLISECOND,
            length - 6 * MILLISECOND,
        );
        data.event("row locked", start + 5 * MILLISECOND, &json!({"rows": 1}));
    }
}

fn payment(data: &mut Data, place: &Place, at: u64, fails: bool) {
    if !fails {
        let served = call(data, place, ["checkout", "payment"], "POST /payments", at, 60 * MILLISECOND, None);
        call(
            data,
            &place.below(&served),
            ["payment", "bank-adapter"],
            "POST /transfers",
            at + 4 * MILLISECOND,
            50 * MILLISECOND,
            None,
        );
        return;
    }
    let served =
        call(data, place, ["checkout", "payment"], "POST /payments", at, 460 * MILLISECOND, Some("502"));
    for attempt in 0..3 {
        let start = at + (4 + attempt * 150) * MILLISECOND;
        call(
            data,
            &place.below(&served),
            ["payment", "bank-adapter"],
            "POST /transfers",
            start,
            110 * MILLISECOND,
            Some("timeout"),
        );
        let message = "the bank did not answer within 100 ms";
        data.fail("timeout", message);
        let stack = "bank::Timeout: no answer within 100 ms\n    at bank::client::transfer (client.rs:118)\n    at bank::adapter::submit (adapter.rs:64)";
        data.event("exception", start + 108 * MILLISECOND, &json!({"exception.type": "bank::Timeout", "exception.message": message, "exception.stacktrace": stack}));
        data.log(
            "payment",
            start + 111 * MILLISECOND,
            13,
            &format!("transfer failed, attempt {}: timeout", attempt + 1),
            &place.below(&served),
        );
    }
}

/// A message that another service processes, and a mail that a trace of its own sends.
fn shipping(data: &mut Data, place: &Place, at: u64) {
    let attributes = json!({"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation.type": "send"});
    let length = 3 * MILLISECOND;
    let sent = data.span(
        place,
        NewSpan {
            service: "checkout",
            name: "send orders",
            kind: PRODUCER,
            start: at,
            length,
            attributes: attributes.clone(),
        },
    );
    let [start, length] = [at + 14 * MILLISECOND, 70 * MILLISECOND];
    let processed = data.span(
        &place.remote(&sent),
        NewSpan { service: "shipping", name: "process orders", kind: CONSUMER, start, length, attributes },
    );
    store(
        data,
        &place.below(&processed),
        "shipping",
        ("postgresql", "INSERT shipments"),
        start + 4 * MILLISECOND,
        12 * MILLISECOND,
    );
    let mail = data.root();
    let attributes = json!({"mail.template": "order-accepted"});
    let [start, length] = [start + 90 * MILLISECOND, 40 * MILLISECOND];
    data.span(
        &mail,
        NewSpan { service: "mailer", name: "send the mail", kind: CONSUMER, start, length, attributes },
    );
    data.link(&place.trace, &processed);
}

/// Two minutes of metrics, one point each five seconds.
pub(super) fn metrics(data: &mut Data) -> Value {
    let services = ["gateway", "checkout", "payment"];
    let of_services = services.map(|service| {
        let (mut requests, mut failures, mut seconds) = (0, 0, 0.0);
        let [mut active, mut total, mut durations] = [Vec::new(), Vec::new(), Vec::new()];
        for step in 0..24 {
            let time = (data.now - (24 - step) * 5 * SECOND).to_string();
            let more = 20 + data.random(30);
            requests += more;
            failures += u64::from(step % 5 == 4) * data.random(4);
            seconds += more as f64 * (0.02 + data.random(40) as f64 / 1_000.0);
            active.push(json!({"timeUnixNano": time, "asInt": data.random(12).to_string()}));
            for (status, count) in [(200, requests), (502, failures)] {
                let attributes = pairs(&json!({"http.response.status_code": status}));
                total.push(json!({"timeUnixNano": time, "asInt": count.to_string(), "attributes": attributes}));
            }
            durations.push(json!({"timeUnixNano": time, "count": requests.to_string(), "sum": seconds}));
        }
        json!({"resource": resource(service), "scopeMetrics": [{"metrics": [
            {"name": "http.server.active_requests", "unit": "{request}", "description": "Number of active HTTP server requests.", "sum": {"dataPoints": active}},
            {"name": "http.server.request.duration", "unit": "s", "description": "Duration of HTTP server requests.", "histogram": {"dataPoints": durations}},
            {"name": "shop.requests", "unit": "{request}", "description": "Requests since the start.", "sum": {"dataPoints": total}},
        ]}]})
    });
    json!({"resourceMetrics": of_services})
}
