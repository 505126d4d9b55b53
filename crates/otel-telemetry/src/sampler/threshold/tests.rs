//! Tests of thresholds with the numbers of the specification, and of a backend's estimates.

use super::estimate::{adjusted_count, probability};
use super::*;

fn written(threshold: Threshold) -> String {
    let mut text = String::new();
    threshold.push_to(&mut text);
    text
}

/// `N` for a probability of 1 in `N`, `th` with four digits, its probability and its adjusted count. From the table
/// "Converting floating-point probability to threshold value" of [probability
/// sampling](https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/).
const SPECIFICATION: [(f64, &str, f64, f64); 13] = [
    (1.0, "0", 1.0, 1.0),
    (2.0, "8", 0.5, 2.0),
    (3.0, "aaab", 0.3333282470703125, 3.00004577706569),
    (4.0, "c", 0.25, 4.0),
    (5.0, "cccd", 0.1999969482421875, 5.0000762951094835),
    (8.0, "e", 0.125, 8.0),
    (10.0, "e666", 0.100006103515625, 9.99938968568813),
    (16.0, "f", 0.0625, 16.0),
    (100.0, "fd70a", 0.010000228881835938, 99.99771123402633),
    (1_000.0, "ffbe77", 0.0009999871253967285, 1000.012874769029),
    (10_000.0, "fff9724", 0.00010000169277191162, 9999.830725674266),
    (100_000.0, "ffff583a", 1.00000761449337e-05, 99999.238556461),
    (1_000_000.0, "ffffef39", 1.00000761449337e-06, 999992.38556461),
];

#[test]
fn probabilities_become_the_thresholds_of_the_specification() {
    for (one_in, th, actual, count) in SPECIFICATION {
        let threshold = Threshold::from_probability(1.0 / one_in).unwrap();
        assert_eq!(written(threshold), th, "1 in {one_in}");
        assert_eq!(Threshold::parse(th), Some(threshold), "1 in {one_in}");
        assert!((adjusted_count(threshold) / count - 1.0).abs() < 1e-12, "1 in {one_in}");
        assert!((probability(threshold) / actual - 1.0).abs() < 1e-12, "1 in {one_in}");
    }
}

#[test]
fn every_probability_keeps_four_digits() {
    let mut wanted = 1.0;
    while wanted > 2.0f64.powi(-40) {
        let threshold = Threshold::from_probability(wanted).unwrap();
        let error = probability(threshold) / wanted - 1.0;
        assert!(error.abs() <= 1.0 / 8192.0, "{wanted}: {error}");
        wanted *= 0.917;
    }
}

#[test]
fn the_ends_of_the_range() {
    let th = |probability| Threshold::from_probability(probability).map(written);
    assert_eq!(th(1.0).as_deref(), Some("0"));
    assert_eq!(th(7.0).as_deref(), Some("0"));
    assert_eq!(th(f64::INFINITY).as_deref(), Some("0"));
    // Too near to one to be represented in four digits.
    assert_eq!(th(0.999_999_9).as_deref(), Some("0"));
    assert_eq!(th(2.0f64.powi(-56)).as_deref(), Some("ffffffffffffff"));
    assert_eq!(th(2.0f64.powi(-55)).as_deref(), Some("fffffffffffffe"));
    for nothing in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY, f64::MIN_POSITIVE, 2.0f64.powi(-58)] {
        assert_eq!(th(nothing), None, "{nothing}");
    }
}

#[test]
fn a_threshold_reads_as_it_is_written_with_zeros_added() {
    for (text, value) in [
        ("0", 0),
        ("00000000000000", 0),
        ("8", 0x80_0000_0000_0000),
        ("08", 0x08_0000_0000_0000),
        ("C", 0xc0_0000_0000_0000),
        ("fd70a4", 0xfd_70a4_0000_0000),
        ("123456789abcde", 0x12_3456_789a_bcde),
    ] {
        assert_eq!(Threshold::parse(text), Some(Threshold(value)), "{text}");
    }
    for bad in ["", "g", "+8", "-8", " 8", "8 ", "0x8", "123456789abcdef", "é"] {
        assert_eq!(Threshold::parse(bad), None, "{bad:?}");
    }
    assert_eq!(written(Threshold(0x08_0000_0000_0000)), "08");
    assert_eq!(written(Threshold(1)), "00000000000001");
}

#[test]
fn randomness_is_the_last_seven_bytes_or_explicit() {
    let id = TraceId::from(0xffff_ffff_ffff_ffff_ff12_3456_789a_bcde);
    assert_eq!(randomness_of(id), 0x12_3456_789a_bcde);
    assert_eq!(parse_randomness("123456789abcde"), Some(0x12_3456_789a_bcde));
    assert_eq!(parse_randomness("00000000000000"), Some(0));
    for bad in ["", "123456789abcd", "123456789abcdef", "123456789ABCDE", "+23456789abcde", "123456789abcdg"]
    {
        assert_eq!(parse_randomness(bad), None, "{bad:?}");
    }
}

#[test]
fn a_trace_is_kept_from_the_threshold_on() {
    let threshold = Threshold::parse("8").unwrap();
    assert!(!threshold.keeps(0x7f_ffff_ffff_ffff));
    assert!(threshold.keeps(0x80_0000_0000_0000));
    assert!(Threshold::ZERO.keeps(0));
}
