//! Traces as they were drawn, reduced to what does not vary from run to run.

/// A trace as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) id: String,
    /// The lines beneath the axis: without times, bars and sizes.
    pub(crate) rows: Vec<String>,
}

impl Picture {
    /// Every picture in the output: from a line that begins with `trace` to the next empty one.
    pub(crate) fn all(output: &str) -> Vec<Self> {
        let mut pictures = Vec::new();
        let mut lines = output.lines();
        while let Some(line) = lines.next() {
            if let Some(header) = line.strip_prefix("trace ") {
                let id = header.split(' ').next().unwrap().to_owned();
                // Sizes vary, and what does not fit on an event's line goes on on the next one.
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1);
                let rows = rows.filter(|line| !without_guides(line).starts_with("rpc.message.")).map(reduced);
                pictures.push(Self { id, rows: rows.collect() });
            }
        }
        pictures
    }

    /// Whether this is the trace of a call, which has a client and a server, and not of a message.
    pub(crate) fn is_call(&self) -> bool {
        self.rows.iter().any(|row| row.ends_with(" client") || row.ends_with(" server"))
    }

    pub(crate) fn has(&self, row: &str) -> bool {
        self.rows.iter().any(|own| without_guides(own) == row)
    }

    /// The same with links named: each leads to a call's span, which is among these pictures.
    pub(crate) fn with_links(&self, calls: &[Self]) -> Vec<String> {
        let named = |row: &String| {
            let Some((before, id)) = row.split_once("→ link to ") else { return row.clone() };
            let (trace, _) = id.split_once('/').unwrap();
            let call = calls.iter().find(|call| call.is_call() && call.id.starts_with(trace));
            let call = call.unwrap_or_else(|| panic!("no call {trace} in {calls:#?}"));
            let whose = call.rows[0].trim_end_matches(" client").rsplit(' ').next().unwrap();
            format!("{before}→ {whose}'s call")
        };
        self.rows.iter().map(named).collect()
    }
}

fn without_guides(line: &str) -> &str {
    line.trim_start_matches(GUIDES)
}

const GUIDES: [char; 5] = ['│', '├', '└', '─', ' '];

fn reduced(line: &str) -> String {
    let rest = without_guides(line);
    let guides = &line[..line.len() - rest.len()];
    let words: Vec<_> = match rest.strip_prefix("◆ ") {
        // An event: its direction and number.
        Some(event) => {
            let wanted = ["rpc.message.type=", "rpc.message.id="];
            let value = |word: &'static str| event.split(' ').find_map(|part| part.strip_prefix(word));
            std::iter::once("◆").chain(wanted.into_iter().filter_map(value)).collect()
        }
        // A span ends where its offset begins; all other lines have none.
        None => rest.split_whitespace().take_while(|word| !is_offset(word)).collect(),
    };
    format!("{guides}{}", words.join(" "))
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
