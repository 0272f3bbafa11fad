//! Packs put together to one ruleset.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sluice_engine::{CompileOptions, Field, Ruleset};

use crate::fault::{Fault, PackError};
use crate::pack::compile_together;
use crate::sign::{TRUST_VARIABLE, Trust};
use crate::{Pack, builtin};

/// One or more packs, in the order in which overlaps of equal rules are settled.
///
/// ```
/// use sluice_patterns::PackSet;
///
/// let packs = PackSet::load(&["builtin:pii"])?;
/// assert!(packs.packs()[0].rules.iter().any(|rule| rule.rule.id == "email"));
/// assert!(PackSet::load(&["builtin:nothing"]).is_err());
/// # Ok::<(), sluice_patterns::SetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackSet {
    packs: Vec<Pack>,
}

/// Why packs can't be put together.
#[derive(Clone, Debug)]
pub enum SetError {
    /// Faults in their files.
    Packs(PackError),
    /// No built-in pack has this name; those that there are.
    Unknown(String),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Packs(error) => error.fmt(f),
            SetError::Unknown(name) => {
                let names: Vec<&str> = builtin::ALL.iter().map(|b| b.name).collect();
                write!(f, "there is no pack `{name}`: built in are {}", names.join(", "))
            }
        }
    }
}

impl std::error::Error for SetError {}

/// Loads a pack by the name that commands take: `builtin:NAME` or a path.
///
/// # Errors
/// There is no such built-in pack, or the file's faults.
pub fn load(name: &str) -> Result<Pack, SetError> {
    let pack = load_unchecked(name)?;
    pack.check().map_err(SetError::Packs)?;
    Ok(pack)
}

fn load_unchecked(name: &str) -> Result<Pack, SetError> {
    load_trusted(name, 0, &Trust::anyone())
}

/// As [`load`], unchecked, of a pack that so many others extend, one the other.
pub(crate) fn load_at(name: &str, depth: usize) -> Result<Pack, SetError> {
    load_trusted(name, depth, &Trust::anyone())
}

fn load_trusted(name: &str, depth: usize, trust: &Trust) -> Result<Pack, SetError> {
    if name.starts_with("builtin:") {
        let builtin = builtin::find(name).ok_or_else(|| SetError::Unknown(name.to_owned()))?;
        return builtin.load_unchecked().map_err(SetError::Packs);
    }
    Pack::read_at(Path::new(name), depth, trust).map_err(SetError::Packs)
}

impl PackSet {
    /// Loads packs by name; none: those of [`builtin::DEFAULT`]. Where `SLUICE_PACK_KEYS` names keys, files must be signed
    /// with one of them ([`crate::sign`]).
    ///
    /// # Errors
    /// The faults of all of them; where there is none but in rules that don't compile, [`PackSet::compile`] tells
    /// those.
    pub fn load<S: AsRef<str>>(names: &[S]) -> Result<PackSet, SetError> {
        let unread = |reason| {
            let file = TRUST_VARIABLE.to_owned();
            SetError::Packs(PackError::new(vec![Fault { file, line: 0, reason }]))
        };
        PackSet::load_trusted(names, &Trust::from_env().map_err(unread)?)
    }

    /// As [`PackSet::load`], with files only as `trust` has them, whatever the environment says.
    ///
    /// # Errors
    /// As there.
    pub fn load_trusted<S: AsRef<str>>(names: &[S], trust: &Trust) -> Result<PackSet, SetError> {
        let named = names.iter().map(AsRef::as_ref);
        let names: Vec<&str> = if names.is_empty() { builtin::DEFAULT.to_vec() } else { named.collect() };
        let (mut packs, mut faults) = (Vec::new(), Vec::new());
        for name in names {
            match load_trusted(name, 0, trust) {
                Ok(pack) => packs.push(pack),
                Err(SetError::Packs(error)) => faults.extend(error.faults().iter().cloned()),
                Err(unknown) => return Err(unknown),
            }
        }
        let set = PackSet { packs };
        faults.extend(set.duplicates());
        if faults.is_empty() {
            return Ok(set);
        }
        let others = set.packs.iter().filter_map(|p| p.check().err());
        faults.extend(others.flat_map(|e| e.faults().to_vec()));
        Err(SetError::Packs(PackError::new(faults)))
    }

    /// The packs, in order.
    #[must_use]
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Compiles all rules together.
    ///
    /// # Errors
    /// What only the options make a fault: a rule with the strategy `token` and no key.
    pub fn compile(&self, options: &CompileOptions) -> Result<Arc<Ruleset>, PackError> {
        compile_together(&self.packs.iter().collect::<Vec<_>>(), options)
    }

    /// Rules and fields whose id another one has.
    fn duplicates(&self) -> Vec<Fault> {
        let mut seen: std::collections::HashMap<&str, Fault> = std::collections::HashMap::new();
        let mut faults = Vec::new();
        let mut take = |id, here: &dyn Fn(String) -> Fault| match seen.get(id) {
            Some(Fault { file, line: 0, .. }) => {
                faults.push(here(format!("the id `{id}` is taken in {file}")));
            }
            Some(Fault { file, line, .. }) => {
                faults.push(here(format!("the id `{id}` is taken at {file}:{line}")));
            }
            None => {
                seen.insert(id, here(String::new()));
            }
        };
        for pack in &self.packs {
            for rule in &pack.rules {
                take(rule.rule.id.as_str(), &|reason| pack.fault(rule, Field::Id, reason));
            }
            for field in &pack.fields {
                take(field.rule.id.as_str(), &|reason| pack.field_fault(field, reason));
            }
        }
        faults
    }
}
