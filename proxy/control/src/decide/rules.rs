//! The rules that one reader is masked by: those of the route, but for what a verdict reveals and cuts away.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use sluice_data::desk::Rulesets;
use sluice_engine::{FieldError, Fields, Ruleset};
use sluice_policy::{FieldList, Verdict};

use crate::reload::lock;

/// Rulesets that are kept; with more they are made anew.
const KEPT_MAX: usize = 256;

/// What makes rulesets alike: whose they are (its address, which is not another's while it is kept), what they reveal,
/// what they let leave.
type Alike = (usize, BTreeSet<Arc<str>>, Option<FieldsKey>);

/// Paths that are allowed, and those that are dropped.
type FieldsKey = (Vec<String>, Vec<String>);

/// Rulesets for readers, made once.
#[derive(Debug, Default)]
pub(crate) struct ReaderRules(Mutex<HashMap<Alike, (Arc<Ruleset>, Rulesets)>>);

impl ReaderRules {
    /// The rules for a reader under this verdict; `None`: those of the route.
    ///
    /// # Errors
    /// A path of the verdict's fields is none.
    pub(crate) fn of(
        &self,
        ruleset: &Arc<Ruleset>,
        verdict: &Verdict,
    ) -> Result<Option<Rulesets>, FieldError> {
        if verdict.reveal.is_empty() && verdict.fields.is_none() {
            return Ok(None);
        }
        let list = verdict.fields.as_deref();
        let alike: Alike = (
            Arc::as_ptr(ruleset).addr(),
            verdict.reveal.clone(),
            list.map(|FieldList { allow, drop }| (allow.clone(), drop.clone())),
        );
        if let Some((_, known)) = lock(&self.0).get(&alike) {
            return Ok(Some(known.clone()));
        }
        let fields = list.map(|FieldList { allow, drop }| Fields::only(allow, drop)).transpose()?;
        let is_revealed = |entity: &str| verdict.reveal.contains(entity);
        let request = if verdict.reveal.is_empty() {
            Arc::clone(ruleset)
        } else {
            Arc::new(ruleset.for_reader(is_revealed, None))
        };
        let response = match &fields {
            Some(_) => Arc::new(ruleset.for_reader(is_revealed, fields.as_ref())),
            None => Arc::clone(&request),
        };
        let made = Rulesets { request, response };
        let mut kept = lock(&self.0);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        // With the ruleset itself, so that its address stays its own.
        kept.insert(alike, (Arc::clone(ruleset), made.clone()));
        Ok(Some(made))
    }
}
