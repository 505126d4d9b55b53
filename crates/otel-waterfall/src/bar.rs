//! The bar of a span, in terminal cells with a resolution of one eighth of a cell.

/// Blocks that fill the left zero to seven eighths of a cell, by index.
const LEFT: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// One cell of the bar column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Empty,
    Filled(char),
    /// Drawn with foreground and background swapped, because Unicode has no blocks for most right-aligned eighths.
    Swapped(char),
    Event,
}

/// The input of a bar. Times are in nanoseconds; `offset` and `events` count from the start of the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar<'a> {
    pub(crate) offset: u64,
    pub(crate) duration: u64,
    pub(crate) total: u64,
    pub(crate) events: &'a [u64],
}

impl Bar<'_> {
    /// Returns `count` cells. Without `swap`, the left edge is rounded to a glyph that needs no swapped colours.
    pub(crate) fn cells(&self, count: usize, swap: bool) -> Vec<Cell> {
        let eighths = count * 8;
        if eighths == 0 {
            return Vec::new();
        }
        let start = self.scale(self.offset, eighths).min(eighths - 1);
        let end = self.scale(self.offset.saturating_add(self.duration), eighths).max(start + 1);
        let mut cells: Vec<Cell> = (0..count)
            .map(|cell| {
                let from = start.clamp(cell * 8, cell * 8 + 8) - cell * 8;
                let to = end.clamp(cell * 8, cell * 8 + 8) - cell * 8;
                glyph(from, to, swap)
            })
            .collect();
        for &event in self.events {
            let place = (self.scale(event, eighths) / 8).min(count - 1);
            cells[place] = Cell::Event;
        }
        cells
    }

    fn scale(&self, time: u64, eighths: usize) -> usize {
        if self.total == 0 {
            return 0;
        }
        let place = u128::from(time.min(self.total)) * eighths as u128 / u128::from(self.total);
        usize::try_from(place).unwrap_or(eighths)
    }
}

fn glyph(from: usize, to: usize, swap: bool) -> Cell {
    match (from, to) {
        _ if to <= from => Cell::Empty,
        (0, 8) => Cell::Filled('█'),
        (0, _) => Cell::Filled(LEFT[to]),
        (_, 8) if swap => Cell::Swapped(LEFT[from]),
        (1..=2, 8) => Cell::Filled('█'),
        (3..=5, 8) => Cell::Filled('▐'),
        (_, 8) => Cell::Filled('▕'),
        _ if to - from > 2 => Cell::Filled('┃'),
        _ => Cell::Filled('│'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(offset: u64, duration: u64, events: &[u64], cells: usize, swap: bool) -> String {
        let bar = Bar { offset, duration, total: 80, events };
        bar.cells(cells, swap)
            .into_iter()
            .map(|cell| match cell {
                Cell::Empty => '.',
                Cell::Filled(c) => c,
                Cell::Swapped(c) => {
                    char::from_digit(LEFT.iter().position(|l| *l == c).unwrap() as u32, 10).unwrap()
                }
                Cell::Event => '◆',
            })
            .collect()
    }

    #[test]
    fn edges_fall_on_eighths() {
        assert_eq!(text(0, 80, &[], 10, false), "██████████");
        assert_eq!(text(8, 16, &[], 10, false), ".██.......");
        assert_eq!(text(8, 19, &[], 10, false), ".██▍......");
        assert_eq!(text(12, 12, &[], 10, false), ".▐█.......");
        assert_eq!(text(13, 19, &[], 10, true), ".5██......");
        assert_eq!(text(11, 2, &[], 10, true), ".│........");
        assert_eq!(text(11, 4, &[], 10, true), ".┃........");
    }

    #[test]
    fn nothing_is_too_short_or_too_late_to_be_seen() {
        assert_eq!(text(0, 0, &[], 10, false), "▏.........");
        assert_eq!(text(80, 0, &[], 10, false), ".........▕");
        assert_eq!(text(u64::MAX, u64::MAX, &[], 3, false), "..▕");
        assert_eq!(text(40, 8, &[0, 44, 80, u64::MAX], 10, false), "◆....◆...◆");
        assert_eq!(Bar { offset: 0, duration: 0, total: 0, events: &[0] }.cells(2, true).len(), 2);
        assert!(Bar { offset: 0, duration: 0, total: 1, events: &[0] }.cells(0, true).is_empty());
    }
}
