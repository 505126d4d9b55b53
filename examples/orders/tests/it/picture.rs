//! Traces as they were drawn, reduced to what does not vary from run to run.

/// A trace as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) id: String,
    /// The lines beneath the axis: without times, bars and the broker's address.
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
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1).map(reduced);
                pictures.push(Self { id, rows: rows.collect() });
            }
        }
        pictures
    }

    /// Compares with what is expected; a name that was too long for the picture ends in an ellipsis there.
    #[track_caller]
    pub(crate) fn is<T: AsRef<str>>(&self, expected: &[T]) {
        let mut rows = self.rows.clone();
        for (row, expected) in rows.iter_mut().zip(expected) {
            let expected = expected.as_ref();
            if let Some((start, rest)) = row.split_once('…')
                && expected.starts_with(start)
                && expected.ends_with(rest)
            {
                *row = expected.to_owned();
            }
        }
        let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
        assert_eq!(rows, expected);
    }

    /// The only row that says this, without it: whose `messaging.client.id=` there is, for example.
    #[track_caller]
    pub(crate) fn said(&self, key: &str) -> &str {
        let mut values: Vec<_> =
            self.rows.iter().filter_map(|row| without_guides(row).strip_prefix(key)).collect();
        values.dedup();
        let [value] = values[..] else { panic!("not one {key}: {self:#?}") };
        value
    }
}

fn without_guides(line: &str) -> &str {
    line.trim_start_matches(['│', '├', '└', '─', ' '])
}

fn reduced(line: &str) -> String {
    let rest = without_guides(line);
    let guides = &line[..line.len() - rest.len()];
    // A span ends where its offset begins; all other lines have none.
    let mut words: Vec<_> = rest.split_whitespace().take_while(|word| !is_offset(word)).collect();
    // The operations of a transaction are named after the broker, if there is only one.
    if let [operation, address, _, ..] = words[..]
        && operation.contains("_transaction")
        && address != "billing"
    {
        words.remove(1);
    }
    format!("{guides}{}", words.join(" "))
}

fn is_offset(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
