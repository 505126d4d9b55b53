//! The demonstration on the mock cluster and on a real one; both draw the same traces except for their times.

use crate::picture::Picture;
use crate::program;
use crate::run::Run;

/// Defines each test twice: on the mock cluster and on a real broker.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_the_mock {
            $(#[test] fn $test() { super::$test(&crate::run::MOCK); })*
        }
        mod on_a_broker {
            $(#[test] fn $test() { super::$test(&crate::run::BROKER); })*
        }
    };
}

on_both! {
    an_order_is_one_trace_through_both_services
    the_orders_are_shared_by_the_group
    a_poison_order_goes_to_the_dead_letters
    a_batch_is_one_span_with_a_link_to_each_message
    a_transaction_is_in_the_trace_of_what_it_consumed
    an_aborted_transaction_and_its_message_are_errors
    a_rebalance_loses_and_doubles_nothing
    each_trace_is_drawn_once_and_completely
}

const ORDERS: [(&str, [&str; 2]); 2] = [
    ("An order is one trace", [r#"shop     sends "2 apples" for ada"#, r#"packing  packs "2 apples""#]),
    ("Grace's key", [r#"shop     sends "1 pear" for grace"#, r#"packing  packs "1 pear""#]),
];

fn order(packed_by: &str) -> [String; 9] {
    [
        "send orders shop producer".to_owned(),
        "└─ process orders packing consumer".to_owned(),
        "   │  → link to send orders in this trace".to_owned(),
        format!("   │  messaging.client.id={packed_by}"),
        "   ├─ send parcels packing producer".to_owned(),
        format!("   │     messaging.client.id={packed_by}"),
        "   └─ commit orders packing client".to_owned(),
        "         → link to send orders in this trace".to_owned(),
        format!("         messaging.client.id={packed_by}"),
    ]
}

fn packed_by(picture: &Picture) -> &str {
    picture.value("messaging.client.id=")
}

fn an_order_is_one_trace_through_both_services(run: &Run) {
    for (about, reports) in ORDERS {
        let [picture] = run.pictures(about, &reports);
        picture.assert_rows(&order(packed_by(&picture)));
    }
}

/// The assignment of the two partitions to the two members is not deterministic.
fn the_orders_are_shared_by_the_group(run: &Run) {
    let pictures = ORDERS.map(|(about, reports)| run.pictures(about, &reports)).map(|[picture]| picture);
    let mut members = pictures.each_ref().map(packed_by);
    members.sort_unstable();
    assert_eq!(members, ["packing-1", "packing-2"]);
}

fn a_poison_order_goes_to_the_dead_letters(run: &Run) {
    let reports = [
        r#"shop     sends "some cake" for ada"#,
        r#"packing  cannot read "some cake""#,
        r#"support  gets "some cake": invalid number"#,
    ];
    let [picture] = run.pictures("An unreadable order", &reports);
    let member = packed_by(&picture);
    let client = |guides: &str| format!("{guides}messaging.client.id={member}");
    let row = |row: &str| row.to_owned();
    picture.assert_rows(&[
        row("send orders shop producer"),
        row("└─ ✗ process orders packing consumer"),
        row("   │  ✗ unreadable_order"),
        row("   │  → link to send orders in this trace"),
        client("   │  "),
        row("   ├─ send orders.dead packing producer"),
        row("   │  │  → link to send orders in this trace"),
        client("   │  │  "),
        row("   │  └─ process orders.dead support consumer"),
        row("   │     │  → link to send orders.dead in this trace"),
        row("   │     └─ commit orders.dead support client"),
        row("   │           → link to send orders.dead in this trace"),
        row("   └─ commit orders packing client"),
        row("         → link to send orders in this trace"),
        client("         "),
    ]);
}

fn a_batch_is_one_span_with_a_link_to_each_message(run: &Run) {
    let reports = [
        r#"shop     sends "9 figs" for edsger"#,
        r#"packing  packs "9 figs""#,
        "carrier  drives off with parcel of 2 apples, parcel of 1 pear, parcel of 9 figs",
    ];
    let pictures: [_; 2] = run.pictures("The third parcel", &reports);
    let (orders, batches): (Vec<_>, Vec<_>) =
        pictures.into_iter().partition(|picture| picture.rows[0].starts_with("send orders"));
    let ([third], [batch]) = (&orders[..], &batches[..]) else { panic!("{orders:#?}, {batches:#?}") };
    third.assert_rows(&order(packed_by(third)));

    let [[first], [second]] = ORDERS.map(|(about, reports)| run.pictures(about, &reports));
    let names = [(&first.id, "the first"), (&second.id, "the second"), (&third.id, "the third")];
    let named = |row: &String| {
        let Some((before, link)) = row.split_once("→ link to ") else { return row.clone() };
        let (link, rest) = link.split_once(' ').unwrap_or((link, ""));
        let (trace, _) = link.split_once('/').unwrap();
        let (_, name) = names.iter().find(|(id, _)| id.starts_with(trace)).unwrap();
        format!("{before}→ {name} {rest}").trim_end().to_owned()
    };
    let rows = batch.rows.iter().map(named).collect();
    Picture { id: batch.id.clone(), rows }.assert_rows(&[
        "process parcels consumer",
        "│  → the first messaging.kafka.offset=0",
        "│  → the second messaging.kafka.offset=1",
        "│  → the third messaging.kafka.offset=2",
        "│  messaging.batch.message_count=3",
        "└─ commit parcels client",
        "      → the third",
    ]);
}

/// The rows of a committed attempt.
const COMMITTED: [&str; 10] = [
    "└─ process payments billing consumer",
    "   │  → link to send payments in this trace",
    "   ├─ begin_transaction billing client",
    "   ├─ send receipts billing producer",
    "   │  └─ process receipts mail consumer",
    "   │     │  → link to send receipts in this trace",
    "   │     └─ commit receipts mail client",
    "   │           → link to send receipts in this trace",
    "   ├─ send_offsets_to_transaction billing client",
    "   └─ commit_transaction billing client",
];

fn a_transaction_is_in_the_trace_of_what_it_consumed(run: &Run) {
    let reports = [
        r#"shop     sends "4 coins" from ada"#,
        r#"billing  commits "4 coins""#,
        r#"mail     gets "receipt for 4 coins""#,
    ];
    let [picture] = run.pictures("A payment is read", &reports);
    picture.assert_rows(&[&["send payments shop producer"][..], &COMMITTED].concat());
}

fn an_aborted_transaction_and_its_message_are_errors(run: &Run) {
    // The mail service receives only the receipt of the second attempt.
    let reports = [
        r#"shop     sends "3 coins" from grace"#,
        r#"billing  aborts "3 coins": the bank does not answer"#,
        r#"billing  commits "3 coins""#,
        r#"mail     gets "receipt for 3 coins""#,
    ];
    let [picture] = run.pictures("The bank is unavailable", &reports);
    let aborted = [
        "send payments shop producer",
        "├─ ✗ process payments billing consumer",
        "│  │  ✗ bank_unavailable",
        "│  │  → link to send payments in this trace",
        "│  ├─ begin_transaction billing client",
        "│  ├─ ✗ send receipts billing producer",
        "│  │     ✗ aborted",
        "│  └─ abort_transaction billing client",
    ];
    picture.assert_rows(&[&aborted[..], &COMMITTED].concat());
}

/// Each return is refunded once. The handler that is not done at the deadline ends as cancelled, and the next owner of its
/// partition processes the message.
fn a_rebalance_loses_and_doubles_nothing(run: &Run) {
    let reports = [
        r#"shop     takes back "2 apples" of ada"#,
        r#"desk     asks ada about "2 apples""#,
        r#"shop     takes back "1 pear" of grace"#,
        r#"desk     asks grace about "1 pear""#,
        r#"shop     takes back "9 figs" of edsger"#,
        r#"shop     takes back "5 plums" of barbara"#,
        r#"desk     asks edsger about "9 figs""#,
        r#"desk     refunds "2 apples""#,
        r#"desk     refunds "9 figs""#,
        r#"desk     asks barbara about "5 plums""#,
        r#"desk     asks grace about "1 pear""#,
        r#"desk     leaves "1 pear" to the next owner"#,
        r#"desk     refunds "1 pear""#,
        r#"desk     refunds "5 plums""#,
    ];
    let pictures: [_; 4] = run.pictures("A second member joins the returns desk", &reports);
    let refunded = |member: &str| {
        [
            "└─ process returns desk consumer".to_owned(),
            "   │  → link to send returns in this trace".to_owned(),
            format!("   │  messaging.client.id={member}"),
            "   └─ commit returns desk client".to_owned(),
            "         → link to send returns in this trace".to_owned(),
            format!("         messaging.client.id={member}"),
        ]
    };
    let cancelled = |member: &str| {
        [
            "├─ ✗ process returns desk consumer".to_owned(),
            "│     ✗ cancelled".to_owned(),
            "│     → link to send returns in this trace".to_owned(),
            format!("│     messaging.client.id={member}"),
        ]
    };
    let (mut left, mut members) = (0, Vec::new());
    for picture in pictures {
        let (_, member) = picture.rows.last().and_then(|row| row.rsplit_once('=')).unwrap();
        let member = member.to_owned();
        let Picture { id, mut rows } = picture;
        let is_left = rows.iter().any(|row| row.contains("cancelled"));
        left += usize::from(is_left);
        // The mock cluster may rebalance twice: it refuses the synchronization of a member that comes after the leader's.
        let mut stopped_member = "desk-1";
        while is_left && rows[1..].starts_with(&cancelled(stopped_member)) {
            rows.drain(1..=4);
            stopped_member = if rows[1..].starts_with(&cancelled("desk-2")) { "desk-2" } else { "desk-1" };
        }
        let expected = [&["send returns shop producer".to_owned()][..], &refunded(&member)].concat();
        Picture { id, rows }.assert_rows(&expected);
        members.push(member);
    }
    assert_eq!(left, 1, "a handler is stopped in one trace");
    // In the order of the sends: ada and edsger were refunded before the second member joined.
    assert_eq!([&members[0], &members[2]], ["desk-1"; 2]);
}

fn each_trace_is_drawn_once_and_completely(run: &Run) {
    let (_, start) = run.step("The services start.");
    let [start] = &start[..] else { panic!("{start:#?}") };
    start.assert_rows(&["init_transactions client"]);
    let mut ids: Vec<_> = run.pictures.iter().map(|picture| picture.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((run.pictures.len(), ids.len()), (12, 12), "{:#?}", run.pictures);
    let rows = run.pictures.iter().flat_map(|picture| &picture.rows);
    assert!(rows.clone().all(|row| !row.contains("missing parent")), "{:#?}", run.pictures);
}

#[test]
fn the_orders_are_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let output = program(&[]).env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("  support  gets \"some cake\": invalid number\n"), "{output}");
        assert!(output.ends_with("  desk     refunds \"5 plums\"\n\n"), "{output}");
        assert!(Picture::all(&output).is_empty(), "{output}");
    }
}
