//! Drawn traces, parsed and reduced to the parts that are the same in each run.

/// A trace in the program's output.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) id: String,
    /// The lines below the axis, without times, bars and sizes.
    pub(crate) rows: Vec<String>,
}

impl Picture {
    /// Parses every picture in the output: from a line that begins with `trace` to the next empty line.
    pub(crate) fn all(output: &str) -> Vec<Self> {
        let mut pictures = Vec::new();
        let mut lines = output.lines();
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix("trace ") {
                let id = header.split(' ').next().unwrap().to_owned();
                // Sizes vary and decide whether an event's line wraps, so continuation lines are removed.
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1);
                let rows = rows.filter(|line| !without_guides(line).starts_with("rpc.message.")).map(reduce);
                pictures.push(Self { id, rows: rows.collect() });
            }
        }
        pictures
    }

    /// Returns `true` for the trace of a call, which has client and server spans; a message has neither.
    pub(crate) fn is_call(&self) -> bool {
        self.rows.iter().any(|row| row.ends_with(" client") || row.ends_with(" server"))
    }

    pub(crate) fn has(&self, row: &str) -> bool {
        self.rows.iter().any(|line| without_guides(line) == row)
    }

    /// The rows, with each link replaced by the name of the member whose call it refers to.
    pub(crate) fn with_links(&self, calls: &[Self]) -> Vec<String> {
        let named = |row: &String| {
            let Some((before, id)) = row.split_once("→ link to ") else { return row.clone() };
            let (trace, _) = id.split_once('/').unwrap();
            let call = calls.iter().find(|call| call.is_call() && call.id.starts_with(trace));
            let call = call.unwrap_or_else(|| panic!("no call {trace} in {calls:#?}"));
            let member = call.rows[0].trim_end_matches(" client").rsplit(' ').next().unwrap();
            format!("{before}→ {member}'s call")
        };
        self.rows.iter().map(named).collect()
    }
}

fn without_guides(line: &str) -> &str {
    line.trim_start_matches(GUIDES)
}

const GUIDES: [char; 5] = ['│', '├', '└', '─', ' '];

fn reduce(line: &str) -> String {
    let rest = without_guides(line);
    let guides = &line[..line.len() - rest.len()];
    let words: Vec<_> = match rest.strip_prefix("◆ ") {
        // An event is reduced to its direction and number.
        Some(event) => {
            let wanted = ["rpc.message.type=", "rpc.message.id="];
            let value = |word: &'static str| event.split(' ').find_map(|part| part.strip_prefix(word));
            std::iter::once("◆").chain(wanted.into_iter().filter_map(value)).collect()
        }
        // A span's text ends before its offset; other lines have no offset.
        None => rest.split_whitespace().take_while(|word| !is_offset(word)).collect(),
    };
    format!("{guides}{}", words.join(" "))
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
