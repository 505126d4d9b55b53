//! The widths of the columns of the text: name, service, kind, offset, duration and bar.

use crate::{
    escape::{visible, width},
    layout::{Layout, Row, service_name},
};

/// Column widths in cells; an omitted column has the width 0.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) width: usize,
    pub(crate) label: usize,
    pub(crate) service: usize,
    pub(crate) kind: usize,
    pub(crate) offset: usize,
    pub(crate) duration: usize,
    pub(crate) bar: usize,
    /// Number of tree levels that are drawn as guide lines; in a deeper row a number replaces the outer levels.
    pub(crate) levels: usize,
}

impl Columns {
    /// Number of inner levels that are still drawn as guide lines in such a deeper row.
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
            // Three letters still distinguish the kinds.
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
        // Names get the width that they need as long as the bars keep 30 %; the bars also get the width that is left.
        let needed = layout.shown().map(|(_, row)| out.needed(row)).max().unwrap_or(0);
        out.label = needed.clamp(4, label_at_most);
        out.bar = columns - out.before_bar();
        out
    }

    /// Returns the number of cells before the bars.
    pub(crate) fn before_bar(&self) -> usize {
        let gap = |cells: usize| if cells == 0 { 0 } else { cells + 1 };
        self.label + gap(self.service) + gap(self.kind) + gap(self.offset) + gap(self.duration) + 1
    }

    fn needed(&self, row: &Row<'_>) -> usize {
        let mark = |failed: bool| if failed { 2 } else { 0 };
        let name = row.span().map_or(0, |span| width(&visible(&span.name)) + mark(span.is_error()));
        // The guide lines of a deeper row start with the number of replaced levels and an ellipsis.
        let guides = if row.depth > self.levels + 1 { Self::INNERMOST * 3 + 9 } else { row.depth * 3 };
        guides + name
    }
}
