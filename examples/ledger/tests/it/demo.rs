//! The demonstration: its responses and its pictures, without their times.

use std::sync::LazyLock;

use crate::picture::Picture;
use crate::{START, demonstration};

static RUN: LazyLock<(String, Vec<Picture>)> = LazyLock::new(|| {
    let output = demonstration().output().unwrap();
    assert!(output.status.success(), "{output:#?}: {START}");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let output = String::from_utf8(output.stdout).unwrap();
    let pictures = Picture::all(&output);
    (output, pictures)
});

/// Checks the rows of a trace, which is given by the number of its request.
#[track_caller]
fn check(number: usize, rows: &[&str]) {
    let (output, pictures) = &*RUN;
    assert_eq!(pictures[number].rows, rows, "{output}");
}

#[test]
fn a_balance_is_read_from_the_store_once() {
    check(
        0,
        &[
            "GET /accounts/{account}/balance server",
            "├─ GET balance:{id} client",
            "├─ SELECT accounts client",
            "└─ SETEX balance:{id} client",
        ],
    );
    check(1, &["GET /accounts/{account}/balance server", "└─ GET balance:{id} client"]);
}

#[test]
fn a_transfer_is_one_trace_from_the_request_to_the_commit() {
    check(
        2,
        &[
            "POST /transfers/{from}/{to}/{amount} server",
            "├─ SET request:{id} client",
            "├─ BEGIN client",
            "├─ UPDATE accounts client",
            "├─ UPDATE accounts client",
            "├─ INSERT entries client",
            "├─ COMMIT client",
            "└─ PIPELINE DEL balance:{id} client",
        ],
    );
}

#[test]
fn a_repeated_transfer_stops_at_its_key_and_one_without_funds_is_rolled_back() {
    check(3, &["POST /transfers/{from}/{to}/{amount} server", "└─ SET request:{id} client"]);
    check(
        4,
        &[
            "POST /transfers/{from}/{to}/{amount} server",
            "├─ SET request:{id} client",
            "├─ BEGIN client",
            "├─ UPDATE accounts client",
            "└─ ROLLBACK client",
        ],
    );
    let (output, _) = &*RUN;
    for line in
        ["/transfers/1/2/30: 201 Created", "/transfers/1/2/30: 200 OK", "/transfers/1/2/500: 409 Conflict"]
    {
        assert_eq!(output.matches(line).count(), 1, "{output}");
    }
}

#[test]
fn an_n_plus_1_query_has_a_span_for_each_account() {
    let one = "├─ SELECT entries client";
    let last = "└─ SELECT entries client";
    let rows = ["GET /statements/one-by-one server", "├─ SELECT accounts client", one, one, one, one, last];
    check(5, &rows);
    check(6, &["GET /statements server", "└─ SELECT accounts entries client"]);
}

#[test]
fn no_value_is_in_a_picture() {
    let (output, pictures) = &*RUN;
    assert_eq!(pictures.len(), 7, "{output}");
    for row in pictures.iter().flat_map(|picture| &picture.rows) {
        for value in ["ada", "500", "balance:1", "ledger1"] {
            assert!(!row.contains(value), "{row}");
        }
    }
    assert!(!output.contains("missing parent"), "{output}");
}

#[test]
fn the_service_does_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let output = demonstration().env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("/transfers/1/2/500: 409 Conflict"), "{output}");
        assert!(Picture::all(&output).is_empty(), "{output}");
    }
}
