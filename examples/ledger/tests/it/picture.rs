//! Drawn traces, parsed and reduced to the parts that are the same in each run.

/// A trace in the program's output.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The lines below the axis, without times and bars.
    pub(crate) rows: Vec<String>,
}

impl Picture {
    /// Parses every picture in the output: from a line that begins with `trace` to the next empty line.
    pub(crate) fn all(output: &str) -> Vec<Self> {
        let mut pictures = Vec::new();
        let mut lines = output.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("trace ") {
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1).map(reduce);
                pictures.push(Self { rows: rows.collect() });
            }
        }
        pictures
    }
}

fn reduce(line: &str) -> String {
    let rest = line.trim_start_matches(['│', '├', '└', '─', ' ']);
    let guides = &line[..line.len() - rest.len()];
    // A span's text ends before its offset; other lines have no offset.
    let words: Vec<_> = rest.split_whitespace().take_while(|word| !is_offset(word)).collect();
    format!("{guides}{}", words.join(" "))
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
