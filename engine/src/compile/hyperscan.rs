//! The windows of all rules as expressions of Hyperscan's: what finds them in place of kernel and gates.
//!
//! A window is a sequence of sets of bytes, and so of classes; its length is fixed, so where it ends says where it begins.
//! It is told once at each place that has it in full, and of other places nothing: what Hyperscan is given must hold
//! [`SPAN`] bytes of every place that is asked for, and the byte before. Sets of all bytes at either end are left out, for
//! what is a word then stays one to Hyperscan.

use std::ffi::CString;
use std::fmt::Write;

use super::path::{PATH_LEN, Path};
use super::prefilter::{Target, windows};
use super::symbol::ByteSet;
use super::window::Trigger;
use crate::kernel::hyperscan::{Database, Mode, Refused, Room, ScanError};

/// Bytes that a window has from its place on, at most.
pub(crate) const SPAN: usize = PATH_LEN - 1;

/// The windows of a ruleset.
#[derive(Debug)]
pub(crate) struct Windows {
    database: Database,
    /// By expression.
    meant: Vec<Meant>,
}

/// What an expression stands for.
#[derive(Debug)]
struct Meant {
    target: Target,
    /// Bytes from the one before the window to the end of the expression.
    len: usize,
}

/// The windows can't be compiled.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Which rule's, where it is one's.
    pub(crate) rule: Option<u32>,
    /// What is wrong and what to do.
    pub(crate) reason: String,
}

impl Windows {
    /// Of rules by their triggers; none where there is nothing to look for.
    pub(crate) fn build<'a>(
        triggers: impl IntoIterator<Item = &'a Trigger>,
    ) -> Result<Option<Windows>, Fault> {
        let (mut expressions, mut meant) = (Vec::new(), Vec::new());
        for (path, target) in windows(triggers).0 {
            if let Some((expression, len)) = spell(path) {
                expressions.push(expression);
                meant.push(Meant { target, len });
            }
        }
        if meant.is_empty() {
            return Ok(None);
        }
        match Database::compile(&expressions, Mode::Block) {
            Ok(database) => Ok(Some(Windows { database, meant })),
            Err(refused) => Err(fault(&refused, &meant)),
        }
    }

    /// The windows of the first `places` of a text that begins with the byte before the first and goes on for [`SPAN`]
    /// bytes from the last on; in the order of their places, to which `first` is added.
    pub(crate) fn find(
        &self,
        room: &mut Room,
        text: &[u8],
        places: usize,
        first: u32,
        targets: &mut Vec<(u32, Target)>,
    ) -> Result<(), ScanError> {
        debug_assert_eq!(text.len(), places + SPAN, "each place has all its bytes");
        let known = targets.len();
        let found = self.database.scan(room, text, |found| {
            let Some(meant) = self.meant.get(found.expression as usize) else { return };
            // Without the sets that were left out an expression may be found where the text has no room for them.
            let place = (found.end as usize).checked_sub(meant.len).filter(|place| *place < places);
            targets.extend(place.map(|place| (first + place as u32, meant.target)));
        });
        if found.is_err() {
            targets.truncate(known);
            return found;
        }
        let new = targets.get_mut(known..).unwrap_or_default();
        new.sort_unstable();
        // One window may be there twice over, by several ways to write it.
        targets.dedup();
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.database.memory_bytes() + self.meant.len() * size_of::<Meant>()
    }
}

/// The window as an expression, and the bytes from its first set to the end of the expression; `None` when no text has it.
fn spell(path: &Path) -> Option<(CString, usize)> {
    if path.sets.contains(&ByteSet::EMPTY) {
        return None;
    }
    let telling = |set: &ByteSet| *set != ByteSet::ALL;
    // At least one is left: an expression without any would be found nowhere.
    let first = path.sets.iter().position(telling).unwrap_or(0);
    let len = path.sets.iter().rposition(telling).unwrap_or(0) + 1;
    let mut text = String::new();
    path.sets.get(first..len)?.iter().for_each(|set| class(set, &mut text));
    Some((CString::new(text).ok()?, len))
}

/// The set as a class: ranges of bytes.
fn class(set: &ByteSet, text: &mut String) {
    text.push('[');
    let mut bytes = set.bytes().peekable();
    while let Some(from) = bytes.next() {
        let mut to = from;
        while let Some(next) = bytes.next_if(|next| to.checked_add(1) == Some(*next)) {
            to = next;
        }
        // Writing to a string does not fail.
        let _ = write!(text, "\\x{from:02x}-\\x{to:02x}");
    }
    text.push(']');
}

fn fault(refused: &Refused, meant: &[Meant]) -> Fault {
    let rule = refused.expression.and_then(|index| meant.get(index)).map(|meant| meant.target.rule);
    let reason = match rule {
        Some(_) => {
            format!(
                "its windows can't be compiled by {refused}: change its start, or use our own first stages"
            )
        }
        None => format!("all rules together can't be compiled by {refused}: use our own first stages"),
    };
    Fault { rule, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(sets: &[ByteSet]) -> Path {
        Path { sets: sets.to_vec(), offset: 0, value_min: 0, exact: 0, chance: 0.0 }
    }

    fn spelled(sets: &[ByteSet]) -> Option<(String, usize)> {
        spell(&path(sets)).map(|(text, len)| (text.into_string().unwrap(), len))
    }

    #[test]
    fn sets_of_all_bytes_at_the_ends_are_left_out() {
        let (all, a) = (ByteSet::ALL, ByteSet::of(*b"abcx\xff"));
        let class = r"[\x61-\x63\x78-\x78\xff-\xff]";
        assert_eq!(spelled(&[all, a, all, a, all, all]), Some((format!(r"{class}[\x00-\xff]{class}"), 4)));
        assert_eq!(spelled(&[a]), Some((class.into(), 1)));
        assert_eq!(spelled(&[all, all]), Some((r"[\x00-\xff]".into(), 1)));
        assert_eq!(spelled(&[all, ByteSet::EMPTY, a]), None);
    }

    #[test]
    fn a_fault_names_the_rule() {
        let target = |rule| Target { rule, run: None, offset: 0, value_min: 0 };
        let meant: Vec<Meant> = (5..8).map(|rule| Meant { target: target(rule), len: 1 }).collect();
        let refused = |expression| Refused { expression, reason: "Pattern is too large.".into() };
        let one = fault(&refused(Some(1)), &meant);
        assert_eq!(one.rule, Some(6));
        assert!(one.reason.contains("Hyperscan: Pattern is too large.: change its start"), "{}", one.reason);
        let all = fault(&refused(None), &meant);
        assert!(all.rule.is_none() && all.reason.starts_with("all rules together"), "{}", all.reason);
    }

    /// Where the search gives up, nothing of it is left, and the caller looks for itself.
    #[test]
    fn a_search_that_fails_adds_nothing() {
        let target = Target { rule: 0, run: None, offset: 0, value_min: 0 };
        let streams = Database::compile(&[c"a".into()], Mode::Stream).unwrap();
        let windows = Windows { database: streams, meant: vec![Meant { target, len: 2 }] };
        let mut targets = vec![(3, target)];
        let text = [b'a'; 4 + SPAN];
        assert!(windows.find(&mut Room::default(), &text, 4, 7, &mut targets).is_err());
        assert_eq!(targets, [(3, target)]);
    }
}
