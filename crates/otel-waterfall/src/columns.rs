//! How the width of the text is shared between names, services, kinds, times and bars.

use crate::{
    escape::{visible, width},
    layout::{Layout, Row, service_name},
};

/// Widths in cells; a column that is left out has none.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) width: usize,
    pub(crate) label: usize,
    pub(crate) service: usize,
    pub(crate) kind: usize,
    pub(crate) offset: usize,
    pub(crate) duration: usize,
    pub(crate) bar: usize,
    /// How many levels of the tree are drawn as lines before a number takes their place.
    pub(crate) levels: usize,
}

impl Columns {
    /// How many levels are still drawn as lines where the tree is cut.
    pub(crate) const INNERMOST: usize = 2;

    pub(crate) fn new(columns: usize, layout: &Layout<'_>) -> Self {
        let wide = columns >= 80;
        let service = if layout.services.len() > 1 {
            let longest = layout
                .shown()
                .filter_map(|(_, row)| row.span())
                .map(|s| width(&visible(service_name(&s.service))));
            longest.max().unwrap_or(0).min(columns / 7)
        } else {
            0
        };
        let mut out = Self {
            width: columns,
            label: 0,
            service,
            // Three letters tell the kinds apart, too.
            kind: if wide { 8 } else { 3 },
            offset: if wide { 8 } else { 0 },
            duration: 7,
            bar: 0,
            levels: 0,
        };
        let room = columns - out.before_bar();
        let bar_at_least = columns * 3 / 10;
        let label_at_most = room.saturating_sub(bar_at_least).max(4);
        out.levels = (label_at_most / 6).max(Self::INNERMOST);
        // Names get what they need, but the bars keep their share; what names leave goes to the bars.
        let needed = layout.shown().map(|(_, row)| out.needed(row)).max().unwrap_or(0);
        out.label = needed.clamp(4, label_at_most);
        out.bar = columns - out.before_bar();
        out
    }

    /// How many cells stand before the bars.
    pub(crate) fn before_bar(&self) -> usize {
        let gap = |cells: usize| if cells == 0 { 0 } else { cells + 1 };
        self.label + gap(self.service) + gap(self.kind) + gap(self.offset) + gap(self.duration) + 1
    }

    fn needed(&self, row: &Row<'_>) -> usize {
        let mark = |failed: bool| if failed { 2 } else { 0 };
        let name = row.span().map_or(0, |span| width(&visible(&span.name)) + mark(span.is_error()));
        // A tree that is cut has a number and a sign before its lines.
        let guides = if row.depth > self.levels + 1 { Self::INNERMOST * 3 + 9 } else { row.depth * 3 };
        guides + name
    }
}
