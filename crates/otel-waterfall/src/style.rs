//! Options of the text renderer, and the properties of the terminal that it adapts to.
//!
//! Colours follow the conventions [`NO_COLOR`](https://no-color.org) and
//! [`CLICOLOR_FORCE`](https://bixense.com/clicolors).

/// Options of the text renderer.
///
/// By default the text is as wide as the terminal that a [`Waterfall`](crate::Waterfall) writes to, else 100 columns.
/// It shows events only as marks on the bars, no attributes, and at most 200 rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub(crate) width: Option<usize>,
    pub(crate) color: Color,
    pub(crate) events: bool,
    pub(crate) attributes: Vec<String>,
    pub(crate) max_rows: Option<usize>,
}

/// The use of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Color {
    /// Colours if the output is a terminal and `TERM` is not `dumb`, or if `CLICOLOR_FORCE` is set; none if
    /// `NO_COLOR` is set. Only [`Waterfall::stdout`](crate::Waterfall::stdout) checks this: other writers and strings
    /// get no colours.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; the output has no escape codes.
    Never,
}

/// The minimum width that has room for every column.
const MIN_WIDTH: usize = 40;
const MAX_WIDTH: usize = 1_000;
const PIPE_WIDTH: usize = 100;
const MAX_ROWS: usize = 200;

impl Style {
    /// Returns the default style.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the default style, with the width and the colours of the terminal that is the standard output.
    #[must_use]
    pub fn terminal() -> Self {
        Self::default().decided(&Terminal::of_stdout())
    }

    /// Sets the width in columns, from 40 to 1,000.
    #[must_use]
    pub fn with_width(mut self, columns: usize) -> Self {
        self.width = Some(columns);
        self
    }

    /// Sets the use of colours.
    #[must_use]
    pub fn with_color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }

    /// Lists the events of each span beneath it.
    #[must_use]
    pub fn with_events(mut self) -> Self {
        self.events = true;
        self
    }

    /// Lists the attributes with these keys beneath each span; a key that ends in `*` selects all keys with that
    /// prefix.
    #[must_use]
    pub fn with_attributes<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.attributes = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the maximum number of rows of a trace, at least 3; those in the middle are omitted and counted.
    #[must_use]
    pub fn with_max_rows(mut self, rows: usize) -> Self {
        self.max_rows = Some(rows);
        self
    }

    pub(crate) fn columns(&self) -> usize {
        self.width.unwrap_or(PIPE_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
    }

    pub(crate) fn rows(&self) -> usize {
        self.max_rows.unwrap_or(MAX_ROWS).max(3)
    }

    pub(crate) fn shows(&self, key: &str) -> bool {
        self.attributes.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == wanted,
        })
    }

    /// Returns the style with width and colours resolved for the output.
    pub(crate) fn decided(&self, output: &Terminal) -> Self {
        let color = if output.wants_color(self.color) { Color::Always } else { Color::Never };
        Self { width: self.width.or(output.columns), color, ..self.clone() }
    }
}

/// Properties of the output, and the user's preferences from the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    pub(crate) is_terminal: bool,
    pub(crate) columns: Option<usize>,
    pub(crate) no_color: bool,
    pub(crate) force_color: bool,
    pub(crate) dumb: bool,
}

impl Terminal {
    /// Reads the environment and the terminal's size, once for each drawn batch, because a terminal can be resized.
    pub(crate) fn of_stdout() -> Self {
        use std::io::IsTerminal;
        let stdout = std::io::stdout();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_terminal = stdout.is_terminal();
        Self {
            is_terminal,
            columns: if is_terminal { columns_of(&stdout) } else { None },
            no_color: set("NO_COLOR"),
            force_color: set("CLICOLOR_FORCE")
                && std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v != "0"),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }

    fn wants_color(&self, color: Color) -> bool {
        match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !self.no_color && (self.force_color || self.is_terminal && !self.dumb),
        }
    }
}

#[cfg(any(unix, windows))]
fn columns_of(stdout: &std::io::Stdout) -> Option<usize> {
    terminal_size::terminal_size_of(stdout).map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

#[cfg(not(any(unix, windows)))]
fn columns_of(_: &std::io::Stdout) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_and_the_user() {
        let pipe = Terminal::default();
        let terminal = Terminal { is_terminal: true, columns: Some(77), ..Terminal::default() };
        let forced = Terminal { force_color: true, ..pipe.clone() };
        let refused = Terminal { no_color: true, force_color: true, ..terminal.clone() };
        let dumb = Terminal { dumb: true, ..terminal.clone() };
        let colors = |t: &Terminal| t.wants_color(Color::Auto);
        assert_eq!(
            [&pipe, &terminal, &forced, &refused, &dumb].map(colors),
            [false, true, true, false, false]
        );
        assert!(refused.wants_color(Color::Always) && !terminal.wants_color(Color::Never));
        assert_eq!(Style::new().decided(&terminal).columns(), 77);
        assert_eq!(Style::new().with_width(60).decided(&terminal).columns(), 60);
        assert_eq!(Style::new().decided(&pipe).columns(), PIPE_WIDTH);
    }

    #[test]
    fn a_star_stands_for_any_end() {
        let style = Style::new().with_attributes(["http.*", "db.system"]);
        assert!(style.shows("http.route") && style.shows("db.system"));
        assert!(!style.shows("db.system.name") && !style.shows("rpc.method"));
        assert!(Style::new().with_attributes(["*"]).shows("anything"));
    }
}
