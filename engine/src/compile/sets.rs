//! The byte sets of a built pack: each is written once, and told by its number.

use std::collections::HashMap;

use super::symbol::ByteSet;
use crate::built::wire::{Damage, Reader, Writer};

/// Numbers sets as they are used.
#[derive(Default)]
pub(crate) struct SetsWriter {
    numbers: HashMap<ByteSet, u32>,
    sets: Vec<ByteSet>,
}

impl SetsWriter {
    pub(crate) fn index(&mut self, set: &ByteSet) -> u32 {
        *self.numbers.entry(*set).or_insert_with(|| {
            self.sets.push(*set);
            self.sets.len() as u32 - 1
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.count(self.sets.len());
        self.sets.iter().for_each(|set| out.words64(&set.0));
    }
}

/// All sets.
pub(crate) struct Sets(Vec<ByteSet>);

impl Sets {
    pub(crate) fn read_all(from: &mut Reader<'_>) -> Result<Sets, Damage> {
        let set = |from: &mut Reader<'_>| Ok(ByteSet([from.u64()?, from.u64()?, from.u64()?, from.u64()?]));
        from.list(size_of::<ByteSet>(), set).map(Sets)
    }

    /// The set whose number comes next.
    pub(crate) fn read(&self, from: &mut Reader<'_>) -> Result<ByteSet, Damage> {
        self.0.get(from.u32()? as usize).copied().ok_or(Damage("the number of a set"))
    }
}
