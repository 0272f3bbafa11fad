//! Packs as files that come compiled.
//!
//! The engine keeps rules and what it makes of them; a pack's names, lines and examples are its notes.

use std::sync::Arc;

use sluice_engine::built::wire::{Damage, Reader, Writer};
use sluice_engine::{Built, BuiltError, ExactSet};

use crate::PackSet;
use crate::fault::{Fault, PackError};
use crate::field;
use crate::pack::{Example, LIMITS, Pack, PackRule, Places, place_together};

/// The fewest bytes of an example.
const EXAMPLE_BYTES_MIN: usize = 16;
/// The fewest bytes of a set of exact values.
const EXACT_BYTES_MIN: usize = 64;

impl Pack {
    /// The pack as a built one: a file that loads in milliseconds, by the same version of Sluice.
    ///
    /// ```
    /// use sluice_engine::CompileOptions;
    /// use sluice_patterns::{Pack, builtin};
    ///
    /// let pack = builtin::find("builtin:pii").ok_or("no such pack")?.load()?;
    /// let built = Pack::from_built("pii.built", &pack.build()?)?;
    /// assert_eq!(built.rules.len(), pack.rules.len());
    /// assert!(built.compile(&CompileOptions::default()).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Every fault of its rules.
    pub fn build(&self) -> Result<Vec<u8>, PackError> {
        match &self.built {
            Some(built) => Ok(built.to_bytes(&self.notes())),
            None => compile(&[self]).map(|built| built.to_bytes(&self.notes())),
        }
    }

    /// Reads a built pack; `file` names it in faults.
    ///
    /// # Errors
    /// It is damaged, of another version of Sluice, or no built pack.
    pub fn from_built(file: &str, bytes: &[u8]) -> Result<Pack, PackError> {
        let fault = |reason: String| PackError::new(vec![Fault { file: file.to_owned(), line: 0, reason }]);
        if bytes.len() > LIMITS.built_bytes_max {
            return Err(fault(format!("a built pack has at most {} bytes", LIMITS.built_bytes_max)));
        }
        let failed = |error: BuiltError| fault(error.to_string());
        let (built, notes) = Built::from_bytes(bytes).map_err(failed)?;
        read_notes(file, built, notes).map_err(|damage| failed(damage.into()))
    }

    fn notes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        [&self.name, &self.version, &self.description].into_iter().for_each(|text| out.text(text));
        for rule in &self.rules {
            out.text(&rule.source);
            out.size(rule.line);
            out.count(rule.examples.len());
            for example in &rule.examples {
                out.text(&example.text);
                out.texts(&example.matches);
                out.size(example.line);
            }
        }
        field::write(&self.fields, &mut out);
        out.count(self.exact.len());
        self.exact.iter().for_each(|set| set.write(&mut out));
        out.into_bytes()
    }
}

impl PackSet {
    /// All packs as a single built one, whose rules are laid out together: faster to scan with than one file each.
    ///
    /// # Errors
    /// Every fault of their rules.
    pub fn build(&self) -> Result<Vec<u8>, PackError> {
        let packs: Vec<&Pack> = self.packs().iter().collect();
        if let [pack] = packs.as_slice() {
            return pack.build();
        }
        let joined = |text: fn(&Pack) -> &str| packs.iter().map(|p| text(p)).collect::<Vec<_>>().join(" + ");
        let together = Pack {
            file: String::new(),
            name: joined(|pack| &pack.name),
            version: joined(|pack| &pack.version),
            description: joined(|pack| &pack.description),
            rules: packs.iter().flat_map(|pack| pack.rules.iter().cloned()).collect(),
            fields: packs.iter().flat_map(|pack| pack.fields.iter().cloned()).collect(),
            exact: packs.iter().flat_map(|pack| pack.exact.iter().cloned()).collect(),
            built: None,
        };
        compile(&packs).map(|built| built.to_bytes(&together.notes()))
    }
}

fn compile(packs: &[&Pack]) -> Result<Built, PackError> {
    let rules = packs.iter().flat_map(|pack| pack.rules.iter().map(|r| r.rule.clone()));
    Built::compile(rules.collect()).map_err(|error| place_together(packs, error.errors()))
}

fn read_notes(file: &str, built: Built, notes: &[u8]) -> Result<Pack, Damage> {
    let mut from = Reader::new(notes);
    let (name, version, description) = (from.text()?, from.text()?, from.text()?);
    let mut rules = Vec::with_capacity(built.rules().len());
    for rule in built.rules() {
        let source = from.text()?;
        let line = from.size(usize::MAX)?;
        let examples = from.list(EXAMPLE_BYTES_MIN, |from| {
            Ok(Example { text: from.text()?, matches: from.texts()?, line: from.size(usize::MAX)? })
        })?;
        rules.push(PackRule { rule: rule.clone(), source, examples, line, places: Places::default() });
    }
    let fields = field::read_built(&mut from)?;
    let exact = from.list(EXACT_BYTES_MIN, |from| ExactSet::read(from).map(Arc::new))?;
    from.end()?;
    let file = file.to_owned();
    Ok(Pack { file, name, version, description, rules, fields, exact, built: Some(Arc::new(built)) })
}
