//! The program's output, reduced to the parts that are the same in each run and compared with a file.

use std::process::Output;

/// Span names that the picture may truncate.
const LONG: [&str; 4] = [
    "transfer.v1.Account/PayIn",
    "twopc.v1.Participant/Prepare",
    "twopc.v1.Participant/Commit",
    "twopc.v1.Participant/Rollback",
];

/// Returns the standard output of a successful run.
#[track_caller]
pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Removes times, bars and IDs. The nonces of idempotency keys become numbers, in their order.
pub(crate) fn reduce(output: &str) -> String {
    let (mut reduced, mut nonces) = (String::new(), Vec::new());
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if let Some(header) = line.strip_prefix("trace ") {
            let (id, rest) = header.split_once(" · ").unwrap();
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
            let (_, counts) = rest.split_once(" · ").unwrap();
            reduced.push_str(&format!("trace · {counts}\n"));
            // The axis.
            lines.next().unwrap();
        } else {
            reduced.push_str(&numbered(&row(line), &mut nonces));
            reduced.push('\n');
        }
    }
    reduced
}

/// Reduces a row. A span's text ends before its offset; other rows have no offset.
fn row(line: &str) -> String {
    let text = line.trim_start_matches(['│', '├', '└', '─', ' ']);
    let guides = &line[..line.len() - text.len()];
    let words: Vec<_> = text.split_whitespace().take_while(|word| !is_offset(word)).map(full_name).collect();
    format!("{guides}{}", words.join(" ")).trim_end().to_owned()
}

/// Replaces the nonce of an idempotency key with the number of its instance.
fn numbered(row: &str, nonces: &mut Vec<String>) -> String {
    let Some((before, key)) = row.split_once("request.key=") else { return row.to_owned() };
    let (nonce, rest) = key.split_at(32);
    assert!(nonce.bytes().all(|byte| byte.is_ascii_hexdigit()), "{row}");
    let number = nonces.iter().position(|known| known == nonce).unwrap_or(nonces.len());
    if number == nonces.len() {
        nonces.push(nonce.to_owned());
    }
    format!("{before}request.key={}{rest}", number + 1)
}

/// Restores a truncated name, because the position of the ellipsis depends on the width of the times.
fn full_name(word: &str) -> &str {
    let Some(start) = word.strip_suffix('…') else { return word };
    let mut names = LONG.into_iter().filter(|name| name.starts_with(start));
    names.next().filter(|_| names.next().is_none()).unwrap_or(word)
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Compares with a file in `tests/golden`; writes the file if `UPDATE_GOLDEN` is set.
#[track_caller]
pub(crate) fn assert_golden(actual: &str, name: &str) {
    let file = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(actual, expected, "output differs from {file}");
}
