//! The HTML page: the same rows, self-contained, untrusted text escaped.

use opentelemetry::trace::{SpanId, Status};
use otel_waterfall::{Event, Link, html};

use crate::sample::{START, shop, span, trace, trace_id};

#[test]
fn the_page_has_every_span_and_needs_nothing_else() {
    let page = html(&[shop()]);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<details class=\"span").count(), 7);
    for text in [
        "POST /orders",
        "shop",
        "stock",
        "mailer",
        "84.0 ms",
        "lock wait exceeded",
        "row locked",
        "follows from",
        "95.0 ms · 7 spans · 1 error",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_row_in_full() {
    let page = html(&[trace([
        span(1, "root", 0, 100).with_service("a"),
        span(2, "child", 25, 75)
            .with_service("b")
            .with_parent(SpanId::from(1))
            .with_status(Status::error("broken"))
            .with_event(Event::new("mark", START + 50_000)),
    ])]);
    let row = page.split("</details>\n").nth(1).expect("the second row");
    let expected = r#"<details class="span failed" style="--hue:130;--depth:1"><summary><span class="name">child</span><span class="service">b</span><span class="kind">internal</span><span class="time">50.0 µs</span><span class="track"><i style="left:25.000%;width:50.000%"></i><b style="left:50.000%" title="mark +50.0 µs"></b></span></summary>
<dl>
<dt>span</dt><dd>0000000000000002</dd>
<dt>starts at</dt><dd>+25.0 µs</dd>
<dt>◆ +50.0 µs</dt><dd>mark</dd>
</dl>
"#;
    assert_eq!(row, expected);
    assert!(page.contains("<p class=\"note failed\" style=\"--depth:1\">✗ broken</p>"));
}

#[test]
fn everything_is_escaped() {
    let evil = "<script>alert(\"1\")</script>' onload='x' & \u{202e}\u{0}";
    let page = html(&[trace([span(1, evil, 0, 10)
        .with_service(evil)
        .with_status(Status::error(evil))
        .with_attribute(evil, evil)
        .with_event(Event::new(evil, START).with_attribute(evil, evil))
        .with_link(Link::new(trace_id(), SpanId::from(1)).with_attribute(evil, evil))])]);
    assert!(!page.contains("<script") && !page.contains("' onload") && !page.contains("\"1\""));
    assert!(!page.contains(['\u{0}', '\u{202e}']));
    let safe =
        "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39; onload=&#39;x&#39; &amp; \\u{202e}\\u{0}";
    // Heading, list of services, name, service, error, attribute (2), mark of the event, event (3), link (2).
    assert_eq!(page.matches(safe).count(), 13);
}

#[test]
fn a_large_trace_is_cut_and_counted() {
    let page = html(&[trace((1..=10_000).map(|id| span(id, "x", id, id + 1)))]);
    assert_eq!(page.matches("<details").count(), 1_999);
    assert!(page.contains("… 8,001 spans not shown"));
}

#[test]
fn no_traces() {
    assert!(html(&[]).contains("<p>No traces.</p>"));
}
