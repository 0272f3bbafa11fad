//! Buckets in rows of 16 bytes, one look-up for four positions: the tables of vectors that are as short.

use super::{Exact, PAIRS, WINDOW_LEN};

/// Buckets by position.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(super) struct Row(pub(super) [u32; PAIRS]);

const NO_ROW: Row = Row([0; PAIRS]);

pub(super) struct Tables {
    /// By pair code.
    pub(super) pairs: [Row; 256],
    /// By symbol: of the first four positions, and of the last four.
    pub(super) classes: [[Row; 2]; 64],
}

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let mut tables = Box::new(Tables { pairs: [NO_ROW; 256], classes: [[NO_ROW; 2]; 64] });
        for (code, row) in tables.pairs.iter_mut().enumerate() {
            row.0 = std::array::from_fn(|position| exact.pairs[position][code]);
        }
        for (symbol, rows) in tables.classes.iter_mut().enumerate() {
            for (half, row) in rows.iter_mut().enumerate() {
                row.0 = std::array::from_fn(|n| exact.classes[half * WINDOW_LEN / 2 + n][symbol]);
            }
        }
        tables
    }
}
