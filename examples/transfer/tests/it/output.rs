//! What the program printed, reduced to what does not vary from run to run, and compared with a file.

use std::process::Output;

/// What may be cut.
const LONG: [&str; 4] = [
    "transfer.v1.Account/PayIn",
    "twopc.v1.Participant/Prepare",
    "twopc.v1.Participant/Commit",
    "twopc.v1.Participant/Rollback",
];

/// The output of a run that ended well.
#[track_caller]
pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:#?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Without times, bars and ids: the rest is the same in each run.
pub(crate) fn reduced(output: &str) -> String {
    let mut reduced = String::new();
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
            reduced.push_str(&row(line));
            reduced.push('\n');
        }
    }
    reduced
}

/// A span's row ends where its offset begins; all others have none.
fn row(line: &str) -> String {
    let text = line.trim_start_matches(['│', '├', '└', '─', ' ']);
    let guides = &line[..line.len() - text.len()];
    let words: Vec<_> = text.split_whitespace().take_while(|word| !is_offset(word)).map(uncut).collect();
    format!("{guides}{}", words.join(" ")).trim_end().to_owned()
}

/// A name that is too long for its column is cut, where depends on how wide the times are.
fn uncut(word: &str) -> &str {
    let Some(start) = word.strip_suffix('…') else { return word };
    let mut names = LONG.into_iter().filter(|name| name.starts_with(start));
    names.next().filter(|_| names.next().is_none()).unwrap_or(word)
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Compares with a file in `tests/golden`, which is written anew where `UPDATE_GOLDEN` is set.
#[track_caller]
pub(crate) fn is_golden(found: &str, name: &str) {
    let file = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(found, expected, "{file} has other lines");
}
