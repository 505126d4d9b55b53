//! Human-readable durations: three significant digits with one unit below a minute, two units above.

const UNITS: [(u64, &str); 3] = [(1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s")];

/// Formats nanoseconds in at most seven characters.
pub(crate) fn human(nanos: u64) -> String {
    if nanos < 1_000 {
        return format!("{nanos} ns");
    }
    for (unit, name) in UNITS {
        let hundredths = scaled(nanos, 100, unit);
        let limit: u128 = if name == "s" { 60 } else { 1_000 };
        if hundredths < 1_000 {
            return format!("{}.{:02} {name}", hundredths / 100, hundredths % 100);
        }
        let tenths = scaled(nanos, 10, unit);
        if tenths < 1_000 && tenths < limit * 10 {
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
        let whole = scaled(nanos, 1, unit);
        if whole < limit {
            return format!("{whole} {name}");
        }
    }
    let seconds = scaled(nanos, 1, 1_000_000_000);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (hours, days) {
        (0, _) => format!("{minutes}m {}s", seconds % 60),
        (_, 0) => format!("{hours}h {}m", minutes % 60),
        (_, 1..100) => format!("{days}d {}h", hours % 24),
        _ => format!("{days}d"),
    }
}

fn scaled(nanos: u64, factor: u64, unit: u64) -> u128 {
    (u128::from(nanos) * u128::from(factor) + u128::from(unit / 2)) / u128::from(unit)
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn three_digits_and_a_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_995, "10.0 µs"),
            (99_950, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (142_000_000, "142 ms"),
            (1_234_000_000, "1.23 s"),
            (59_940_000_000, "59.9 s"),
            (59_960_000_000, "1m 0s"),
            (3_599_000_000_000, "59m 59s"),
            (3_660_000_000_000, "1h 1m"),
            (90_000_000_000_000, "1d 1h"),
            (8_639_999_000_000_000, "99d 23h"),
            (u64::MAX, "213503d"),
        ];
        for (nanos, text) in cases {
            assert_eq!(human(nanos), text, "{nanos}");
            assert!(text.chars().count() <= 7);
        }
    }
}
