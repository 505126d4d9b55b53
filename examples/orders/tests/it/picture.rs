//! Drawn traces, parsed and reduced to the parts that are the same in each run.

/// A trace in the program's output.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) id: String,
    /// The lines below the axis, without times, bars and the broker's address.
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
                let rows = lines.by_ref().take_while(|line| !line.is_empty()).skip(1).map(reduce);
                pictures.push(Self { id, rows: rows.collect() });
            }
        }
        pictures
    }

    /// Compares the rows with the expected ones. The picture truncates long names with an ellipsis.
    #[track_caller]
    pub(crate) fn assert_rows<T: AsRef<str>>(&self, expected: &[T]) {
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

    /// Returns the one value of a key such as `messaging.client.id=`.
    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> &str {
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

fn reduce(line: &str) -> String {
    let rest = without_guides(line);
    let guides = &line[..line.len() - rest.len()];
    // A span's text ends before its offset; other lines have no offset.
    let mut words: Vec<_> = rest.split_whitespace().take_while(|word| !is_offset(word)).collect();
    // With a single broker, the names of transactional operations contain its address.
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
