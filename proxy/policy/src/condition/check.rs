//! The types of an expression, its cost, and its names made flat.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators,
};
use regex_automata::meta::Regex;
use sluice_patterns::read::nearest;

use super::types::{From, Type, Variable};
use super::values::{PRESENT, label_of};
use super::{ConditionFault, MATCHES, STEPS_MAX};
use crate::FACT_LIMITS;

/// Bytes of an automaton that a regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Roots of variables; no iteration may take their names.
const ROOTS: &[&str] = &["subject", "request"];

/// What is known of a part of an expression.
#[derive(Clone, Debug)]
struct Known {
    kind: Type,
    /// Steps to compute it on the largest facts.
    steps: u64,
    /// Elements that it has on the largest facts.
    elements: u64,
}

impl Known {
    fn one(kind: Type, steps: u64) -> Known {
        Known { kind, steps, elements: 1 }
    }
}

/// The check of one expression.
pub(super) struct Check<'s> {
    info: &'s SourceInfo,
    pub(super) faults: Vec<ConditionFault>,
    pub(super) regexes: Vec<Regex>,
    pub(super) headers: Vec<String>,
    pub(super) reads_body: bool,
    pub(super) reads_risk: bool,
    /// Variables of the iterations that enclose a place.
    scope: Vec<(String, Known)>,
}

impl<'s> Check<'s> {
    pub(super) fn new(info: &'s SourceInfo) -> Check<'s> {
        let (faults, regexes, headers, scope) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Check { info, faults, regexes, headers, reads_body: false, reads_risk: false, scope }
    }

    /// Checks the whole, which is true or false.
    pub(super) fn condition(&mut self, expression: &mut IdedExpr) {
        let id = expression.id;
        let known = self.expression(expression);
        if !Type::Bool.fits(&known.kind) {
            self.fault(id, format!("a condition is true or false; this is of type {}", known.kind));
        }
        if self.faults.is_empty() && known.steps > STEPS_MAX {
            let (steps, of) = (known.steps, FACT_LIMITS.groups_max);
            self.fault(
                id,
                format!(
                    "it could take {steps} steps on the largest facts, more than {STEPS_MAX}: nest fewer iterations \
                     over lists (a subject has up to {of} groups)"
                ),
            );
        }
    }

    fn fault(&mut self, id: u64, reason: impl Into<String>) -> Known {
        let at = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        self.faults.push(ConditionFault { at, reason: reason.into() });
        Known::one(Type::Any, 1)
    }

    fn expression(&mut self, expression: &mut IdedExpr) -> Known {
        let id = expression.id;
        if let Some(known) = self.variable(expression) {
            return known;
        }
        if let Expr::Call(call) = &mut expression.expr
            && call.func_name == operators::INDEX
        {
            let (known, label) = self.index(id, call);
            if let Some(label) = label {
                expression.expr = Expr::Ident(label);
            }
            return known;
        }
        match &mut expression.expr {
            Expr::Literal(literal) => self.literal(id, literal),
            Expr::Ident(name) => {
                let name = name.clone();
                self.identifier(id, &name)
            }
            Expr::Select(select) => self.select(id, select),
            Expr::List(list) => self.list(&mut list.elements),
            Expr::Call(call) => self.call(id, call),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::Map(_) | Expr::Struct(_) => {
                self.fault(id, "maps and structs can't be written in conditions")
            }
            Expr::Unspecified => self.fault(id, "not a condition"),
        }
    }

    fn literal(&mut self, id: u64, literal: &LiteralValue) -> Known {
        let kind = match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::UInt(_) => return self.fault(id, "numbers here have a sign: leave out the `u`"),
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                return self.fault(id, "no fact is of this type: compare with a string, number or bool");
            }
        };
        Known::one(kind, 1)
    }

    /// `subject.x` and `request.x`, with or without `has`, made one name.
    fn variable(&mut self, expression: &mut IdedExpr) -> Option<Known> {
        let Expr::Select(select) = &expression.expr else { return None };
        let Expr::Ident(root) = &select.operand.expr else { return None };
        if !ROOTS.contains(&root.as_str()) {
            return None;
        }
        let (name, is_test) = (format!("{root}.{}", select.field), select.test);
        let Some(variable) = Variable::of(&name) else {
            let (root, field) = (root.clone(), select.field.clone());
            let fields = Variable::fields(&root);
            let hint = match nearest(&field, &fields) {
                Some(near) => format!("; did you mean `{root}.{near}`?"),
                None => format!("; there are: {}", fields.join(", ")),
            };
            return Some(self.fault(expression.id, format!("`{root}` has no `{field}`{hint}")));
        };
        self.reads_body |= variable.from != From::Head;
        self.reads_risk |= variable.from == From::Risk;
        let elements = variable.elements_max as u64;
        if is_test {
            expression.expr = Expr::Ident(format!("{PRESENT}{name}"));
            return Some(Known::one(Type::Bool, elements));
        }
        expression.expr = Expr::Ident(name);
        Some(Known { kind: variable.kind(), steps: elements, elements })
    }

    fn identifier(&mut self, id: u64, name: &str) -> Known {
        if let Some((_, known)) = self.scope.iter().rev().find(|(variable, _)| variable == name) {
            return known.clone();
        }
        if ROOTS.contains(&name) {
            return self.fault(id, format!("`{name}` is no value itself: name a field of it"));
        }
        let hint = nearest(name, ROOTS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        self.fault(id, format!("nothing has the name `{name}`{hint}"))
    }

    /// A key of a map, behind a dot.
    fn select(&mut self, id: u64, select: &mut SelectExpr) -> Known {
        let of = self.expression(&mut select.operand);
        self.header(id, &select.operand, Some(&select.field));
        let found = match of.kind {
            Type::Map(value) => *value,
            Type::Any => Type::Any,
            other => return self.fault(id, format!("a value of type {other} has no fields")),
        };
        Known::one(if select.test { Type::Bool } else { found }, of.steps + 1)
    }

    /// Notes the header field that is read, which must be told before any request comes.
    fn header(&mut self, id: u64, of: &IdedExpr, key: Option<&str>) {
        if !matches!(&of.expr, Expr::Ident(name) if name == "request.headers") {
            return;
        }
        match key {
            Some(key) if key.bytes().any(|b| b.is_ascii_uppercase()) => {
                let lower = key.to_ascii_lowercase();
                self.fault(id, format!("names of fields are in lower case: write `{lower}`"));
            }
            Some(key) => self.headers.push(key.to_owned()),
            None => {
                self.fault(
                    id,
                    "a header field is named by a string, so that it is known which ones are read",
                );
            }
        }
    }

    fn list(&mut self, elements: &mut [IdedExpr]) -> Known {
        let mut of = Type::Any;
        let mut steps = 1u64;
        for element in elements.iter_mut() {
            let id = element.id;
            let known = self.expression(element);
            steps = steps.saturating_add(known.steps);
            if !of.fits(&known.kind) {
                self.fault(id, format!("a list of {of} can't hold a value of type {}", known.kind));
            }
            if of == Type::Any {
                of = known.kind;
            }
        }
        Known { kind: Type::List(Box::new(of)), steps, elements: elements.len() as u64 }
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Known {
        if call.func_name == "matches" {
            return self.matches(id, call);
        }
        let is_member = call.target.is_some();
        let parts = call.target.as_deref_mut().into_iter().chain(&mut call.args);
        let known: Vec<Known> = parts.map(|part| self.expression(part)).collect();
        match call.args.as_slice() {
            [key, of] if call.func_name == operators::IN => {
                let key = text_of(key).map(str::to_owned);
                self.header(id, of, key.as_deref());
            }
            arguments => {
                for argument in call.target.as_deref().into_iter().chain(arguments) {
                    self.header(id, argument, None);
                }
            }
        }
        let steps = known.iter().fold(1u64, |sum, known| sum.saturating_add(known.steps));
        let kinds: Vec<&Type> = known.iter().map(|known| &known.kind).collect();
        match result(&call.func_name, is_member, &kinds) {
            Some(kind) => {
                let work = known.iter().fold(0u64, |sum, known| sum.saturating_add(known.elements));
                let elements = if matches!(kind, Type::List(_)) { work } else { 1 };
                let is_over_lists = kinds.iter().any(|kind| matches!(kind, Type::List(_) | Type::Map(_)));
                let steps = if is_over_lists { steps.saturating_add(work) } else { steps };
                Known { kind, steps, elements }
            }
            None => {
                let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
                let name = shown(&call.func_name);
                self.fault(id, format!("{name} takes no ({})", kinds.join(", ")))
            }
        }
    }

    /// `list[0]`, `map["key"]`. A count that is asked for by a name that is written out is 0 where it is not there:
    /// then the name of that count stands for the whole.
    fn index(&mut self, id: u64, call: &mut CallExpr) -> (Known, Option<String>) {
        let [of, key] = call.args.as_mut_slice() else { return (self.fault(id, "not a condition"), None) };
        let (known, at) = (self.expression(of), self.expression(key));
        let literal = text_of(key);
        self.header(id, of, literal);
        if let (Expr::Ident(name), Some(literal)) = (&of.expr, literal)
            && let Some(label) = label_of(name, literal)
        {
            return (Known::one(Type::Int, 1), Some(label));
        }
        let steps = known.steps.saturating_add(at.steps).saturating_add(1);
        let found = match (known.kind, at.kind) {
            (Type::Map(value), Type::Text | Type::Any) => {
                Known { kind: *value, steps, elements: known.elements }
            }
            (Type::List(value), Type::Int | Type::Any) => Known::one(*value, steps),
            (Type::Any, _) => Known::one(Type::Any, steps),
            (of, key) => {
                self.fault(id, format!("a value of type {of} has no element of a key of type {key}"))
            }
        };
        (found, None)
    }

    /// `text.matches("pattern")`, compiled once.
    fn matches(&mut self, id: u64, call: &mut CallExpr) -> Known {
        let arguments = call.target.is_some() as usize + call.args.len();
        let Some(pattern) = call.args.last().filter(|_| arguments == 2) else {
            return self.fault(id, "`matches` takes a string and a pattern");
        };
        let Some(pattern) = text_of(pattern).map(str::to_owned) else {
            return self
                .fault(id, "the pattern of `matches` is written out, so that it can be compiled before");
        };
        let config =
            Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX)).hybrid_cache_capacity(REGEX_BYTES_MAX);
        match Regex::builder().configure(config).build(&pattern) {
            Ok(regex) => self.regexes.push(regex),
            Err(error) => {
                let reason = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
                return self.fault(id, format!("not a pattern: {}", reason.replace('\n', " ")));
            }
        }
        call.args.pop();
        let subject = match call.target.as_deref_mut() {
            Some(target) => self.expression(target),
            None => call.args.first_mut().map_or(Known::one(Type::Any, 1), |first| self.expression(first)),
        };
        if !Type::Text.fits(&subject.kind) {
            return self.fault(id, format!("`matches` takes a string, not a value of type {}", subject.kind));
        }
        let number = (self.regexes.len() - 1) as i64;
        call.args.push(IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(number.into())) });
        MATCHES.clone_into(&mut call.func_name);
        Known::one(Type::Bool, subject.steps.saturating_add(FACT_LIMITS.text_bytes_max as u64 / 64))
    }

    /// `exists`, `all`, `exists_one`, `map`, `filter`.
    fn comprehension(&mut self, id: u64, comprehension: &mut ComprehensionExpr) -> Known {
        let range = self.expression(&mut comprehension.iter_range);
        let element = match &range.kind {
            Type::List(of) => (**of).clone(),
            Type::Map(_) => Type::Text,
            Type::Any => Type::Any,
            other => return self.fault(id, format!("a value of type {other} can't be gone through")),
        };
        if matches!(&comprehension.iter_range.expr, Expr::Ident(name) if name == "request.headers") {
            return self
                .fault(id, "header fields are named one by one, so that it is known which ones are read");
        }
        let variable = comprehension.iter_var.clone();
        if ROOTS.contains(&variable.as_str()) || self.scope.iter().any(|(name, _)| *name == variable) {
            return self.fault(id, format!("`{variable}` has a meaning here already: take another name"));
        }
        let start = self.expression(&mut comprehension.accu_init);
        let depth = self.scope.len();
        self.scope.push((variable, Known::one(element, 1)));
        self.scope
            .push((comprehension.accu_var.clone(), Known { elements: range.elements, ..start.clone() }));
        let condition = self.expression(&mut comprehension.loop_cond);
        let step = self.expression(&mut comprehension.loop_step);
        // The first list that grows says of what it is.
        self.scope.truncate(depth);
        self.scope.push((comprehension.accu_var.clone(), Known { elements: range.elements, ..step.clone() }));
        let result = self.expression(&mut comprehension.result);
        self.scope.truncate(depth);
        let each = condition.steps.saturating_add(step.steps);
        let steps =
            range.steps.saturating_add(range.elements.saturating_mul(each)).saturating_add(result.steps);
        Known { kind: result.kind, steps, elements: range.elements }
    }
}

fn text_of(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// How people write an operator or function.
fn shown(name: &str) -> String {
    let operator = name.trim_start_matches('@').replace('_', "");
    let is_operator = name.contains('_') && !operator.chars().any(char::is_alphanumeric);
    format!("`{}`", if is_operator { operator.as_str() } else { name.trim_start_matches('@') })
}

/// Functions that are called on a value or with it.
const EITHER: &[&str] = &["size"];

/// The type of a call, where it takes values of these types.
fn result(name: &str, is_member: bool, kinds: &[&Type]) -> Option<Type> {
    if is_member {
        let is_text = |kind: &Type| Type::Text.fits(kind);
        return match (name, kinds) {
            ("contains" | "startsWith" | "endsWith", [a, b]) if is_text(a) && is_text(b) => Some(Type::Bool),
            _ if EITHER.contains(&name) => result(name, false, kinds),
            _ => None,
        };
    }
    match (name, kinds) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => both_bool(a, b),
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [a]) => {
            Type::Bool.fits(a).then_some(Type::Bool)
        }
        (operators::CONDITIONAL, [test, a, b]) => {
            let wider = if **a == Type::List(Box::new(Type::Any)) { b } else { a };
            (Type::Bool.fits(test) && a.fits(b)).then(|| (*wider).clone())
        }
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => {
            (a.fits(b) || (a.is_number() && b.is_number())).then_some(Type::Bool)
        }
        (
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
            [a, b],
        ) => {
            let texts = Type::Text.fits(a) && Type::Text.fits(b);
            (texts || (a.is_number() && b.is_number())).then_some(Type::Bool)
        }
        (operators::IN, [a, Type::List(of)]) => of.fits(a).then_some(Type::Bool),
        (operators::IN, [a, Type::Map(_)]) => Type::Text.fits(a).then_some(Type::Bool),
        (operators::IN, [_, Type::Any]) => Some(Type::Bool),
        (operators::ADD, [a, b]) if a.fits(b) && !matches!(a, Type::Bool | Type::Map(_)) => Some(
            if matches!(a, Type::Any) || **a == Type::List(Box::new(Type::Any)) { b } else { a }
                .to_owned()
                .clone(),
        ),
        (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE, [a, b])
            if a.is_number() && a.fits(b) =>
        {
            Some((*a).clone())
        }
        (operators::MODULO, [Type::Int, Type::Int]) => Some(Type::Int),
        (operators::NEGATE, [a]) if a.is_number() => Some((*a).clone()),
        ("size", [Type::Text | Type::List(_) | Type::Map(_) | Type::Any]) => Some(Type::Int),
        ("int", [Type::Int | Type::Double | Type::Text | Type::Any]) => Some(Type::Int),
        ("double", [Type::Int | Type::Double | Type::Text | Type::Any]) => Some(Type::Double),
        ("string", [Type::Bool | Type::Int | Type::Double | Type::Text | Type::Any]) => Some(Type::Text),
        _ => None,
    }
}

fn both_bool(a: &Type, b: &Type) -> Option<Type> {
    (Type::Bool.fits(a) && Type::Bool.fits(b)).then_some(Type::Bool)
}
