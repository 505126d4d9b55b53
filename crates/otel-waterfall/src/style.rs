//! How a trace is drawn as text, and what the terminal allows.
//!
//! Colours follow the conventions `NO_COLOR` (no-color.org) and `CLICOLOR_FORCE` (bixense.com/clicolors).

/// How a trace is drawn as text.
///
/// The default fits the terminal that is written to, or 100 columns without one, and shows events as marks on the
/// bars only, no attributes, and 200 rows at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub(crate) width: Option<usize>,
    pub(crate) color: Color,
    pub(crate) events: bool,
    pub(crate) attributes: Vec<String>,
    pub(crate) max_rows: Option<usize>,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Color {
    /// Where the output is a terminal and neither `NO_COLOR` nor `TERM=dumb` says otherwise, or where
    /// `CLICOLOR_FORCE` asks for them. A string is no terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; the output has no escape codes.
    Never,
}

/// The narrowest picture that still has a place for everything.
const MIN_WIDTH: usize = 40;
const MAX_WIDTH: usize = 1_000;
const PIPE_WIDTH: usize = 100;
const MAX_ROWS: usize = 200;

impl Style {
    /// The default style.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws this many columns wide, from 40 to 1,000.
    #[must_use]
    pub fn with_width(mut self, columns: usize) -> Self {
        self.width = Some(columns);
        self
    }

    /// Says when to use colours.
    #[must_use]
    pub fn with_color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }

    /// Lists each span's events beneath it.
    #[must_use]
    pub fn with_events(mut self) -> Self {
        self.events = true;
        self
    }

    /// Lists attributes beneath each span: those with these keys, where a key that ends in `*` stands for all that
    /// begin like it.
    #[must_use]
    pub fn with_attributes<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.attributes = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Draws at most this many rows of a trace, at least 3; those in the middle are left out and counted.
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

    /// The style with what was left to the output decided.
    pub(crate) fn decided(&self, output: &Terminal) -> Self {
        let color = if output.wants_color(self.color) { Color::Always } else { Color::Never };
        Self { width: self.width.or(output.columns), color, ..self.clone() }
    }
}

/// What is known about the output and the user's wishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    pub(crate) is_terminal: bool,
    pub(crate) columns: Option<usize>,
    pub(crate) no_color: bool,
    pub(crate) force_color: bool,
    pub(crate) dumb: bool,
}

impl Terminal {
    /// Asks the environment; again for each picture, for windows change their size.
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
