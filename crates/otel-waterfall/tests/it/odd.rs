//! Malformed traces: every one of them has a picture.

use opentelemetry::trace::{SpanId, Status};
use otel_waterfall::{Event, Span, Style, html, text};
use proptest::prelude::*;

use crate::{
    sample::{START, span, trace, trace_id},
    text::assert_picture,
};

fn drawn(spans: impl IntoIterator<Item = Span>) -> String {
    text(&trace(spans), &Style::new().with_width(80))
}

#[test]
fn orphans_stand_under_the_parent_that_is_missing() {
    let picture = drawn([
        span(1, "root", 0, 100),
        span(2, "first orphan", 10, 20).with_parent(SpanId::from(9)),
        span(3, "its child", 12, 18).with_parent(SpanId::from(2)),
        span(4, "second orphan", 30, 40).with_parent(SpanId::from(9)),
    ]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 100 µs · 4 spans · unknown
                                           0                              100 µs
root             internal       +0  100 µs █████████████████████████████████████
(missing parent 0000000000000009)
├─ first orphan  internal +10.0 µs 10.0 µs    ▐███▍
│  └─ its child  internal +12.0 µs 6.00 µs     ▐█▋
└─ second orphan internal +30.0 µs 10.0 µs            ███▊
",
    );
}

#[test]
fn a_caller_elsewhere_is_not_missing() {
    let picture = drawn([span(1, "GET /", 0, 100).with_remote_parent(SpanId::from(0xb7ad_6b71_6920_3331))]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 100 µs · 1 span · unknown
                                0                       50.0 µs           100 µs
GET / internal       +0  100 µs ████████████████████████████████████████████████
   ! called from elsewhere: parent b7ad6b7169203331
",
    );
}

#[test]
fn clocks_that_disagree_are_said() {
    let picture = drawn([
        span(1, "GET", 100, 200).with_service("a"),
        span(2, "GET /", 40, 120).with_service("b").with_remote_parent(SpanId::from(1)),
        span(3, "backwards", 150, 130).with_service("a").with_parent(SpanId::from(1)),
    ]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 160 µs · 3 spans
                                         0                                160 µs
GET          a internal +60.0 µs  100 µs               ▐████████████████████████
├─ GET /     b internal       +0 80.0 µs ███████████████████▌
│     ! starts 60.0 µs before its parent
└─ backwards a internal  +110 µs    0 ns                           │
      ! ends 20.0 µs before it starts
",
    );
}

#[test]
fn cycles_are_cut() {
    let picture = drawn([
        span(1, "root", 0, 100),
        span(2, "egg", 20, 80).with_parent(SpanId::from(3)),
        span(3, "hen", 10, 90).with_parent(SpanId::from(2)),
        span(4, "below the cycle", 5, 60).with_parent(SpanId::from(2)),
        span(5, "itself", 50, 60).with_parent(SpanId::from(5)),
    ]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 100 µs · 5 spans · unknown
                                             0                            100 µs
root               internal       +0  100 µs ███████████████████████████████████
egg                internal +20.0 µs 60.0 µs        █████████████████████
│  ! its parents lead back to itself
├─ below the cycle internal +5.00 µs 55.0 µs  ▕███████████████████
│     ! starts 15.0 µs before its parent
└─ hen             internal +10.0 µs 80.0 µs    ▐███████████████████████████▌
      ! starts 10.0 µs before its parent
itself             internal +50.0 µs 10.0 µs                  ▐███
   ! its parents lead back to itself
",
    );
}

#[test]
fn no_time_at_all() {
    let picture = drawn([
        span(1, "root", 0, 0).with_event(Event::new("now", START)),
        span(2, "child", 0, 0).with_parent(SpanId::from(1)),
    ]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 0 ns · 2 spans · unknown
root     internal       +0    0 ns ◆
└─ child internal       +0    0 ns ▏
",
    );
}

#[test]
fn times_at_both_ends_of_the_clock() {
    let (early, late) = (
        Span::new(trace_id(), SpanId::from(1), "early", 0, 0),
        Span::new(trace_id(), SpanId::from(2), "late", u64::MAX, u64::MAX),
    );
    assert_picture(
        &drawn([early, late.with_event(Event::new("before", 0))]),
        r"
trace 0af7651916cd43dd8448eb211c80319c · 213503d · 2 spans · unknown
                                0                       106751d          213503d
early internal       +0    0 ns ▏
late  internal +213503d    0 ns ◆                                              ▕
",
    );
}

#[test]
fn the_same_id_twice_is_drawn_twice() {
    let picture = drawn([
        span(1, "one", 0, 10),
        span(1, "two", 5, 10),
        span(2, "child", 6, 7).with_parent(SpanId::from(1)),
    ]);
    let names: Vec<&str> =
        picture.lines().skip(2).map(|line| line.split(" int").next().unwrap_or("").trim()).collect();
    assert_eq!(names, ["one", "└─ child", "two"], "{picture}");
}

#[test]
fn hostile_names_stay_on_their_line() {
    let picture = drawn([span(1, "a\n\u{1b}[2J\u{202e}b", 0, 10)
        .with_service("s\r\u{7}")
        .with_attribute("error.type", "\u{9b}31m")
        .with_status(Status::error("x\ny"))]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 10.0 µs · 1 span · 1 error · s\r\u{7}
                                                  0                      10.0 µs
✗ a\n\u{1b}[2J\u{202e}b internal       +0 10.0 µs ██████████████████████████████
   ✗ \u{9b}31m: x\ny
",
    );
}

#[test]
fn wide_characters_keep_the_columns() {
    let picture = drawn([
        span(1, "注文を作成する", 0, 100).with_service("店"),
        span(2, "価格", 10, 90).with_service("stock").with_parent(SpanId::from(1)),
    ]);
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 100 µs · 2 spans
                                               0                          100 µs
注文を作成する 店    internal       +0  100 µs █████████████████████████████████
└─ 価格        stock internal +10.0 µs 80.0 µs    ██████████████████████████▋
",
    );
}

#[test]
fn deep_trees_lose_their_outer_lines() {
    let chain = (1..=10_000).map(|id| match id {
        1 => span(1, "level 1", 0, 10_000),
        _ => span(id, &format!("level {id}"), id, 10_000).with_parent(SpanId::from(id - 1)),
    });
    let picture = text(&trace(chain), &Style::new().with_width(80).with_max_rows(14));
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 10.0 ms · 10,000 spans · unknown
                                                     0                   10.0 ms
level 1                    internal       +0 10.0 ms ███████████████████████████
└─ level 2                 internal +2.00 µs 10.0 ms ███████████████████████████
   └─ level 3              internal +3.00 µs 10.0 ms ███████████████████████████
      └─ level 4           internal +4.00 µs 10.0 ms ███████████████████████████
         └─ level 5        internal +5.00 µs 10.0 ms ███████████████████████████
            └─ level 6     internal +6.00 µs 9.99 ms ███████████████████████████
3…       └─ level 7        internal +7.00 µs 9.99 ms ███████████████████████████
4…       └─ level 8        internal +8.00 µs 9.99 ms ███████████████████████████
5…       └─ level 9        internal +9.00 µs 9.99 ms ███████████████████████████
… 9,987 spans not shown
9993…       └─ level 9997  internal +10.0 ms 3.00 µs                           ▕
9994…       └─ level 9998  internal +10.0 ms 2.00 µs                           ▕
9995…       └─ level 9999  internal +10.0 ms 1.00 µs                           ▕
9996…       └─ level 10000 internal +10.0 ms    0 ns                           ▕
",
    );
}

#[test]
fn large_traces_are_cut_in_the_middle() {
    let children = (2..=10_000).map(|id| {
        let child = span(id, &format!("call {id}"), id, id + 1).with_parent(SpanId::from(1));
        if id % 1_000 == 0 { child.with_status(Status::error("")) } else { child }
    });
    let picture = text(
        &trace(children.chain([span(1, "root", 0, 10_001)])),
        &Style::new().with_width(80).with_max_rows(8),
    );
    assert_picture(
        &picture,
        r"
trace 0af7651916cd43dd8448eb211c80319c · 10.0 ms · 10,000 spans · 10 errors
unknown
                                          0                              10.0 ms
root            internal       +0 10.0 ms ██████████████████████████████████████
├─ call 2       internal +2.00 µs 1.00 µs ▏
├─ call 3       internal +3.00 µs 1.00 µs ▏
├─ call 4       internal +4.00 µs 1.00 µs ▏
├─ call 5       internal +5.00 µs 1.00 µs ▏
… 9,993 spans not shown, 9 errors
├─ call 9999    internal +10.0 ms 1.00 µs                                      ▕
└─ ✗ call 10000 internal +10.0 ms 1.00 µs                                      ▕
      ✗ error
",
    );
}

fn any_span() -> impl Strategy<Value = Span> {
    let text = prop_oneof![".{0,20}", "[<>&\"'\\x00-\\x1f\u{202e}日é]{0,12}"];
    let time = prop_oneof![any::<u64>(), START..START + 1_000, Just(0), Just(u64::MAX)];
    (
        0..6_u64,
        proptest::option::of(0..8_u64),
        any::<(bool, bool)>(),
        time.clone(),
        time.clone(),
        time,
        text.clone(),
        text,
    )
        .prop_map(|(id, parent, (remote, failed), start, end, at, name, service)| {
            let mut span = Span::new(trace_id(), SpanId::from(id), name.clone(), start, end)
                .with_service(service.as_str())
                .with_attribute(service.clone(), name.clone())
                .with_event(Event::new(name.clone(), at));
            span.parent = parent.map(SpanId::from);
            span.parent_is_remote = remote;
            if failed { span.with_status(Status::error(name)) } else { span }
        })
}

proptest! {
    #[test]
    fn any_spans_have_a_picture_with_all_of_them(spans in proptest::collection::vec(any_span(), 1..12), width in 0..130_usize) {
        let total = spans.len();
        let trace = trace(spans);
        let style = Style::new().with_width(width);
        let picture = text(&trace, &style);
        // Every row of a span has the service and kind, and no other line does.
        let rows = picture.lines().filter(|line| line.contains(" int")).count();
        prop_assert!(rows >= total, "{rows} of {total} in\n{picture}");
        let steers = picture.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}');
        prop_assert!(!steers);
        let rich = text(&trace, &style.with_events().with_attributes(["*"]));
        prop_assert!(rich.lines().count() >= picture.lines().count() + total);
        let data = crate::html::data(&html(std::slice::from_ref(&trace)));
        prop_assert_eq!(data["traces"][0]["spans"].as_array().unwrap().len(), total);
    }
}
