//! Types of conditions, and what names stand for.

use std::fmt;

use crate::FACT_LIMITS;

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    Text,
    List(Box<Type>),
    Map(Box<Type>),
    /// Of an empty list, and of what has a fault already: fits everything.
    Any,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Double => f.write_str("double"),
            Type::Text => f.write_str("string"),
            Type::List(of) => write!(f, "list({of})"),
            Type::Map(of) => write!(f, "map(string, {of})"),
            Type::Any => f.write_str("dyn"),
        }
    }
}

impl Type {
    /// Whether a value of the other type can stand where this one is wanted.
    pub(super) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => a.fits(b),
            _ => self == other,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Double | Type::Any)
    }
}

/// Where a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Head,
    Body,
    /// The body, and what went before.
    Risk,
}

/// A field of `subject` or `request`.
pub(super) struct Variable {
    pub(super) name: &'static str,
    kind: Kind,
    pub(super) from: From,
    /// How many elements it may have.
    pub(super) elements_max: usize,
}

/// [`Type`], as a constant can say it.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Int,
    Text,
    Texts,
    TextByText,
    TextsByText,
    IntByText,
}

impl Variable {
    pub(super) fn of(name: &str) -> Option<&'static Variable> {
        VARIABLES.iter().find(|variable| variable.name == name)
    }

    /// The fields of `subject.` or `request.`.
    pub(super) fn fields(root: &str) -> Vec<&'static str> {
        let of_root = VARIABLES.iter().filter_map(|variable| variable.name.split_once('.'));
        of_root.filter(|(of, _)| *of == root).map(|(_, field)| field).collect()
    }

    pub(super) fn kind(&self) -> Type {
        match self.kind {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Text => Type::Text,
            Kind::Texts => Type::List(Box::new(Type::Text)),
            Kind::TextByText => Type::Map(Box::new(Type::Text)),
            Kind::TextsByText => Type::Map(Box::new(Type::List(Box::new(Type::Text)))),
            Kind::IntByText => Type::Map(Box::new(Type::Int)),
        }
    }
}

const fn head(name: &'static str, kind: Kind, elements_max: usize) -> Variable {
    Variable { name, kind, from: From::Head, elements_max }
}

const fn body(name: &'static str, kind: Kind, elements_max: usize) -> Variable {
    Variable { name, kind, from: From::Body, elements_max }
}

const VARIABLES: &[Variable] = &[
    head("subject.issuer", Kind::Text, 1),
    head("subject.id", Kind::Text, 1),
    head("subject.groups", Kind::Texts, FACT_LIMITS.groups_max),
    head("subject.purpose", Kind::Text, 1),
    head("subject.kind", Kind::Text, 1),
    head("subject.chain", Kind::Text, 1),
    head("subject.step", Kind::Text, 1),
    head("subject.actor", Kind::Text, 1),
    head("subject.owner", Kind::Text, 1),
    head("subject.anonymous", Kind::Bool, 1),
    head("request.upstream", Kind::Text, 1),
    head("request.route", Kind::Text, 1),
    head("request.method", Kind::Text, 1),
    head("request.path", Kind::Text, 1),
    head("request.media_type", Kind::Text, 1),
    head("request.query", Kind::TextsByText, FACT_LIMITS.query_max),
    head("request.headers", Kind::TextByText, FACT_LIMITS.headers_max),
    body("request.operations", Kind::Texts, FACT_LIMITS.tools_max + 2 * FACT_LIMITS.statements_max),
    body("request.model", Kind::Text, 1),
    body("request.tools", Kind::Texts, FACT_LIMITS.tools_max),
    body("request.tools_offered", Kind::Texts, FACT_LIMITS.tools_max),
    body("request.tools_called", Kind::Texts, FACT_LIMITS.tools_max),
    body("request.max_tokens", Kind::Int, 1),
    body("request.stream", Kind::Bool, 1),
    body("request.labels", Kind::IntByText, FACT_LIMITS.labels_max),
    body("request.counts", Kind::IntByText, FACT_LIMITS.labels_max),
    body("request.bytes", Kind::Int, 1),
    Variable { name: "request.risk", kind: Kind::Int, from: From::Risk, elements_max: 1 },
];
