//! The text of typical traces in several widths, with and without colours.

use otel_waterfall::{Color, Style, text};

use crate::sample::{shop, span, trace};

/// Compares a picture with the expected text, which starts with a newline.
#[track_caller]
pub(crate) fn assert_picture(actual: &str, expected: &str) {
    let expected = expected.strip_prefix('\n').unwrap_or(expected);
    assert!(actual == expected, "drawn:\n{actual}\nexpected:\n{expected}");
}

#[test]
fn eighty_columns() {
    assert_picture(
        &text(&shop(), &Style::new().with_width(80)),
        r"
trace 0af7651916cd43dd8448eb211c80319c · 95.0 ms · 7 spans · 1 error
                                                        0                95.0 ms
POST /orders           shop   server         +0 84.0 ms █████████████████████▏
│  → link to 4bf92f35/00f067aa reason=follows from
│  → link to send orders in this trace
├─ price the basket    shop   internal +2.00 ms 9.35 ms ▐█▊
├─ GET                 shop   client   +12.0 ms 69.0 ms    █████████████████▍
│  └─ GET /stock/{id}  stock  server   +14.0 ms 66.0 ms    ▐████████████████▏
│     └─ ✗ SELECT sto… stock  client   +16.0 ms 62.0 ms     ██████◆████████▋
│           ✗ timeout: lock wait exceeded
└─ send orders         shop   producer +82.0 ms  100 µs                     │
   └─ process orders   mailer consumer +83.0 ms 12.0 ms                     ▕███
",
    );
}

#[test]
fn sixty_columns_shorten_what_they_can() {
    assert_picture(
        &text(&shop(), &Style::new().with_width(60)),
        r"
trace 0af7651916cd43dd8448eb211c80319c · 95.0 ms · 7 spans
1 error
                                          0          95.0 ms
POST /orders           shop   ser 84.0 ms ███████████████▉
│  → link to 4bf92f35/00f067aa reason=follows from
│  → link to send orders in this trace
├─ price the basket    shop   int 9.35 ms ▐█▏
├─ GET                 shop   cli 69.0 ms   █████████████▎
│  └─ GET /stock/{id}  stock  ser 66.0 ms   ▐████████████▏
│     └─ ✗ SELECT sto… stock  cli 62.0 ms    ████◆██████▊
│           ✗ timeout: lock wait exceeded
└─ send orders         shop   pro  100 µs                │
   └─ process orders   mailer con 12.0 ms                ▐██
",
    );
}

#[test]
fn a_hundred_and_twenty_columns_with_everything() {
    let style = Style::new().with_width(120).with_events().with_attributes(["*"]);
    assert_picture(
        &text(&shop(), &style),
        r"
trace 0af7651916cd43dd8448eb211c80319c · 95.0 ms · 7 spans · 1 error
                                                         0                              47.5 ms                  95.0 ms
POST /orders            shop   server         +0 84.0 ms ███████████████████████████████████████████████████████▋
│  → link to 4bf92f35/00f067aa reason=follows from
│  → link to send orders in this trace
│  http.request.method=POST  http.route=/orders
├─ price the basket     shop   internal +2.00 ms 9.35 ms  ██████▌
├─ GET                  shop   client   +12.0 ms 69.0 ms        ▕█████████████████████████████████████████████▋
│  └─ GET /stock/{id}   stock  server   +14.0 ms 66.0 ms          ████████████████████████████████████████████
│     └─ ✗ SELECT stock stock  client   +16.0 ms 62.0 ms           ▐███████████████◆████████████████████████▋
│           ✗ timeout: lock wait exceeded
│           ◆ +40.0 ms row locked rows=1 mode=x
│           error.type=timeout  db.system.name=postgresql
└─ send orders          shop   producer +82.0 ms  100 µs                                                       │
   └─ process orders    mailer consumer +83.0 ms 12.0 ms                                                        ████████
",
    );
}

#[test]
fn what_an_event_says_goes_on_on_the_next_line() {
    let style = Style::new().with_width(40).with_events().with_attributes(["*"]);
    let picture = text(&shop(), &style);
    assert!(picture.contains("◆ +40.0 ms row locked rows=1\n1…          mode=x\n"), "{picture}");
    assert!(picture.contains("│  → link to 4bf92f35/00f067aa\n│  reason=follows from\n"), "{picture}");
}

#[test]
fn colours() {
    let trace = trace([
        span(1, "root", 0, 80).with_service("a"),
        span(2, "child", 13, 80)
            .with_service("b")
            .with_parent(1.into())
            .with_status(opentelemetry::trace::Status::error("")),
    ]);
    let style = Style::new().with_width(80).with_color(Color::Always);
    assert_picture(
        &text(&trace, &style).replace('\u{1b}', "^"),
        r"
^[1mtrace 0af7651916cd43dd8448eb211c80319c · 80.0 µs · 2 spans · 1 error^[0m
^[2m                                       0                   40.0 µs       80.0 µs^[0m
root      ^[36m a^[0m^[2m internal^[0m^[2m       +0^[0m 80.0 µs ^[36m█████████████████████████████████████████^[0m
^[2m└─ ^[0m^[31m✗ ^[0m^[31mchild^[0m^[32m b^[0m^[2m internal^[0m^[2m +13.0 µs^[0m 67.0 µs       ^[7;31m▋^[0m^[31m██████████████████████████████████^[0m
      ^[31m✗ error^[0m
",
    );
    let plain = text(&trace, &style.with_color(Color::Never));
    assert!(!plain.contains('\u{1b}') && plain == text(&trace, &Style::new().with_width(80)));
}

#[test]
fn no_line_is_wider_than_asked_for_or_ends_in_a_space() {
    for width in [0, 40, 41, 60, 79, 80, 81, 100, 120, 333, 5_000] {
        let style = Style::new().with_width(width).with_events().with_attributes(["*"]);
        for line in text(&shop(), &style).lines() {
            assert!(line.chars().count() <= width.clamp(40, 1_000), "{width}: {line}");
            assert_eq!(line, line.trim_end(), "{width}");
        }
    }
}

#[test]
fn attributes_are_chosen_by_key() {
    let style = Style::new().with_width(80).with_attributes(["http.*"]);
    let drawn = text(&shop(), &style);
    assert!(drawn.contains("http.request.method=POST  http.route=/orders\n"), "{drawn}");
    assert!(!drawn.contains("postgresql") && !drawn.contains("row locked"), "{drawn}");
}

#[test]
fn one_service_is_named_in_the_header() {
    let trace = trace([span(1, "a", 0, 100).with_service("only")]);
    assert_picture(
        &text(&trace, &Style::new().with_width(60)),
        r"
trace 0af7651916cd43dd8448eb211c80319c · 100 µs · 1 span
only
                 0                    50.0 µs         100 µs
a    int  100 µs ███████████████████████████████████████████
",
    );
}
