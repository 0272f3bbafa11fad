//! Conditions: CEL expressions over the facts of a request.
//!
//! An expression is parsed by the crate `cel`, then checked here, for that crate has no checker: each name, field,
//! operator and call has a type, and the whole is true or false. Names are flattened on the way (`request.path` is one
//! variable), so that evaluation reads facts where they lie and builds nothing that is not asked for. What an
//! expression may cost is bounded when it is read: its length, its depth, and the steps that it could take at the
//! limits of facts; a regular expression is compiled once, by an engine that takes linear time.
//!
//! The library has `timestamp`, `duration`, `bytes`, optionals and struct literals too. They are left out: no fact has
//! such a type, and what is not there can't be got wrong.

mod check;
mod types;
mod values;

use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::common::types::CelString;
use cel::parser::{Expression, Parser};
use cel::{Context, Env, ExecutionError, Value};
use regex_automata::meta::Regex;

pub(crate) use values::Values;

/// Bytes of an expression.
pub(crate) const CONDITION_BYTES_MAX: usize = 4 * 1024;
/// How deep an expression may nest.
const DEPTH_MAX: u16 = 32;
/// Steps that an expression may take on the largest facts: some milliseconds.
pub(crate) const STEPS_MAX: u64 = 200_000;
/// The name under which compiled regular expressions are called; no expression can spell it.
const MATCHES: &str = "@matches";

/// A condition, checked.
pub(crate) struct Condition {
    expression: Expression,
    regexes: Arc<[Regex]>,
    /// Header fields that it reads, in lower case.
    pub(crate) headers: Vec<String>,
    /// It reads what only a body says.
    pub(crate) reads_body: bool,
    /// It reads the score, which may depend on what went before.
    pub(crate) reads_risk: bool,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("reads_body", &self.reads_body).finish_non_exhaustive()
    }
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionFault {
    /// Bytes before the place.
    pub(crate) at: usize,
    pub(crate) reason: String,
}

/// Why a condition came to nothing. No value of a fact is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A key that is not there.
    NoKey,
    /// A number that does not fit.
    Number,
    /// An element that is not there.
    Index,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Failure::NoKey => "a value is asked for that is not there",
            Failure::Number => "a number is out of range, or divided by zero",
            Failure::Index => "an element is asked for that is not there",
            Failure::Other => "it can't be computed",
        }
    }
}

impl From<ExecutionError> for Failure {
    fn from(error: ExecutionError) -> Failure {
        match error {
            ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) => Failure::NoKey,
            ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..) => Failure::Number,
            ExecutionError::IndexOutOfBounds(_) => Failure::Index,
            _ => Failure::Other,
        }
    }
}

fn environment() -> Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    Arc::clone(
        ENVIRONMENT.get_or_init(|| Arc::new(Env::default().with_optional_support(false).with_stdlib())),
    )
}

impl Condition {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(source: &str) -> Result<Condition, Vec<ConditionFault>> {
        if source.len() > CONDITION_BYTES_MAX {
            let reason = format!("a condition has at most {CONDITION_BYTES_MAX} bytes");
            return Err(vec![ConditionFault { at: 0, reason }]);
        }
        let parser = Parser::default().enable_optional_syntax(false).max_recursion_depth(DEPTH_MAX);
        let (mut expression, info) = parser.parse_with_source_info(source).map_err(|errors| {
            let fault = |error: &cel::ParseError| ConditionFault {
                at: byte_of(source, error.pos.0, error.pos.1),
                reason: format!("not a condition: {}", error.msg),
            };
            errors.errors.iter().map(fault).collect::<Vec<_>>()
        })?;
        let mut check = check::Check::new(&info);
        check.condition(&mut expression);
        let check::Check { faults, regexes, headers, reads_body, reads_risk, .. } = check;
        if faults.is_empty() {
            Ok(Condition { expression, regexes: regexes.into(), headers, reads_body, reads_risk })
        } else {
            Err(faults)
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Where it came to nothing.
    pub(crate) fn holds(&self, values: &Values<'_>) -> Result<bool, Failure> {
        let mut context = Context::with_env(environment());
        context.set_variable_resolver(values);
        if !self.regexes.is_empty() {
            let regexes = Arc::clone(&self.regexes);
            let call = move |text: Arc<String>, number: i64| -> bool {
                let regex = usize::try_from(number).ok().and_then(|number| regexes.get(number));
                regex.is_some_and(|regex| regex.is_match(text.as_bytes()))
            };
            context.add_function(MATCHES, call).map_err(|_| Failure::Other)?;
        }
        match Value::resolve(&self.expression, &context)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(Failure::Other),
        }
    }
}

/// The byte at a line and column, both from 1 as the parser tells them.
fn byte_of(source: &str, line: isize, column: isize) -> usize {
    let lines = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let before: usize = source.split_inclusive('\n').take(lines).map(str::len).sum();
    (before + usize::try_from(column).unwrap_or(0).saturating_sub(1)).min(source.len())
}

/// A string that borrows a fact.
fn text(text: &str) -> CelString<'_> {
    CelString::from(text)
}

#[cfg(test)]
mod tests;
