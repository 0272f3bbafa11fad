//! Claims to a subject, by expressions that an issuer's configuration gives.
//!
//! Each expression is compiled and type-checked when the configuration is read; what it gives is checked when a token
//! comes. One that fails, or gives what no subject has, proves nobody: there is no subject with half of its groups.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::objects::{Key, OptionalValue};
use cel::{Context, Env, Program, Value, extensions};
use serde_json::Map;
use sluice_policy::{Kind, Subject};

use super::Unproved;
use super::types::{Scope, Type, Variable};

/// Bytes of an expression.
pub const EXPRESSION_BYTES_MAX: usize = 4096;
/// Groups of one subject.
pub const GROUPS_MAX: usize = 256;
/// Bytes of a subject's id, a group, a purpose, a chain …
pub const NAME_BYTES_MAX: usize = 512;

/// What expressions of tokens may name.
const OF_TOKENS: &[Variable] = &[Variable { name: "claims", members: None }];
/// What expressions of client certificates may name.
const OF_CERTIFICATES: &[Variable] = &[Variable {
    name: "certificate",
    members: Some(&[
        ("subject", Type::Text),
        ("uris", Type::List),
        ("dns_names", Type::List),
        ("emails", Type::List),
        ("common_name", Type::Text),
        ("issuer", Type::Text),
        ("serial", Type::Text),
        ("fingerprint", Type::Text),
    ]),
}];

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // It fails only where a function is there already, which no test has seen.
    let _ = env.add_extension(extensions::strings);
    Arc::new(env)
});

/// What expressions are evaluated over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `claims`, of a token.
    Token,
    /// `certificate`, of a client.
    Certificate,
}

/// A part of a subject that an expression can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// [`Subject::id`].
    Subject,
    /// [`Subject::groups`].
    Groups,
    /// [`Subject::purpose`].
    Purpose,
    /// [`Subject::kind`].
    Kind,
    /// [`Subject::chain`].
    Chain,
    /// [`Subject::step`].
    Step,
    /// [`Subject::actor`].
    Actor,
    /// [`Subject::owner`].
    Owner,
}

impl Part {
    /// All of them, with their keys in a configuration.
    pub const NAMES: &'static [(&'static str, Part)] = &[
        ("subject", Part::Subject),
        ("groups", Part::Groups),
        ("purpose", Part::Purpose),
        ("kind", Part::Kind),
        ("chain", Part::Chain),
        ("step", Part::Step),
        ("actor", Part::Actor),
        ("owner", Part::Owner),
    ];

    /// What gives it where a configuration says nothing; empty: nothing does.
    #[must_use]
    pub fn default_text(self, source: Source) -> &'static str {
        match (source, self) {
            (Source::Token, Part::Subject) => "claims.sub",
            (Source::Token, Part::Groups) => "claims.?groups.orValue([])",
            (Source::Token, Part::Actor) => "claims.?act.?sub",
            (Source::Certificate, Part::Subject) => "certificate.subject",
            (Source::Token | Source::Certificate, _) => "",
        }
    }

    /// What an expression for it may give.
    fn fits(self, given: Type) -> bool {
        match (self, given) {
            (_, Type::Any) => true,
            (Part::Groups, Type::List | Type::Optional) => true,
            (Part::Groups, _) => false,
            (Part::Subject, Type::Text) => true,
            (Part::Subject, _) => false,
            (_, Type::Text | Type::Optional | Type::Null) => true,
            (_, _) => false,
        }
    }
}

/// An expression that gives one part.
#[derive(Clone)]
struct Expression {
    text: String,
    program: Arc<Program>,
}

/// How a subject is made of claims or of a certificate.
#[derive(Clone, Default)]
pub struct Mapping {
    expressions: Vec<(Part, Expression)>,
    kind: Kind,
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.expressions.iter().map(|(part, expression)| (part, &expression.text));
        f.debug_map().entries(texts).finish()
    }
}

impl Mapping {
    /// The mapping of an issuer that says nothing of it. `kind` is what its subjects are where no expression tells.
    #[must_use]
    pub fn new(source: Source, kind: Kind) -> Mapping {
        let mut mapping = Mapping { expressions: Vec::new(), kind };
        for (_, part) in Part::NAMES {
            // A test holds that each of these compiles.
            let _ = mapping.set(source, *part, part.default_text(source));
        }
        mapping
    }

    /// Takes an expression for a part, in place of the one before; an empty one takes it away.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set(&mut self, source: Source, part: Part, text: &str) -> Result<(), String> {
        let expression = match text.trim() {
            "" if part == Part::Subject => return Err("a subject needs an expression".to_owned()),
            "" => None,
            _ => Some(compile(source, part, text)?),
        };
        self.expressions.retain(|(other, _)| *other != part);
        self.expressions.extend(expression.map(|expression| (part, expression)));
        Ok(())
    }

    /// The text of each expression, in the order of [`Part`].
    pub fn texts(&self) -> impl Iterator<Item = (Part, &str)> {
        let find = |part| self.expressions.iter().find(move |(other, _)| *other == part);
        Part::NAMES.iter().filter_map(move |(_, part)| Some((*part, find(*part)?.1.text.as_str())))
    }

    /// What a subject is where no expression tells.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The subject of these claims; its issuer and proof are left as they are in [`Subject::default`].
    pub(super) fn of_claims(&self, claims: &Map<String, serde_json::Value>) -> Result<Subject, Unproved> {
        self.subject("claims", object(claims))
    }

    /// The subject of a certificate.
    pub(super) fn of_certificate(&self, owner: &sluice_data::PeerIdentity) -> Result<Subject, Unproved> {
        let list = |names: &[String]| Value::from(names.iter().map(String::as_str).collect::<Vec<_>>());
        let fingerprint: String = owner.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        let members = [
            ("subject", Value::from(owner.subject.as_str())),
            ("uris", list(&owner.uris)),
            ("dns_names", list(&owner.dns_names)),
            ("emails", list(&owner.emails)),
            ("common_name", Value::from(owner.common_name.as_deref().unwrap_or_default())),
            ("issuer", Value::from(owner.issuer.as_str())),
            ("serial", Value::from(owner.serial.as_str())),
            ("fingerprint", Value::from(fingerprint)),
        ];
        let members: HashMap<Key, Value> =
            members.into_iter().map(|(name, value)| (Key::from(name), value)).collect();
        self.subject("certificate", Value::Map(members.into()))
    }

    fn subject(&self, name: &str, value: Value) -> Result<Subject, Unproved> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.add_variable_from_value(name, value);
        let mut subject = Subject { kind: self.kind, ..Subject::default() };
        for (part, expression) in &self.expressions {
            // An error may quote the claims: it is not passed on.
            let given = expression.program.execute(&context).map_err(|_| Unproved::Subject)?;
            put(&mut subject, *part, given)?;
        }
        if subject.id.is_empty() { Err(Unproved::Subject) } else { Ok(subject) }
    }
}

fn compile(source: Source, part: Part, text: &str) -> Result<Expression, String> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes"));
    }
    let program = ENV.compile(text).map_err(|errors| {
        let first = errors.errors.first().map_or("it can't be read", |error| error.msg.as_str());
        format!("not valid CEL: {first}")
    })?;
    let variables = match source {
        Source::Token => OF_TOKENS,
        Source::Certificate => OF_CERTIFICATES,
    };
    let root: &IdedExpr = program.expression();
    let given = Scope::new(variables).check(root)?;
    if !part.fits(given) {
        let wanted = if part == Part::Groups { "a list of strings" } else { "a string" };
        return Err(format!("it must give {wanted}"));
    }
    Ok(Expression { text: text.to_owned(), program: Arc::new(program) })
}

/// Claims as a value of CEL. Numbers without a fraction are `int`, as in the JSON of CEL's own tests.
fn object(claims: &Map<String, serde_json::Value>) -> Value {
    let members: HashMap<Key, Value> =
        claims.iter().map(|(name, value)| (Key::from(name.as_str()), of_json(value))).collect();
    Value::Map(members.into())
}

fn of_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Value::Int(number),
            (None, Some(number), _) => Value::UInt(number),
            (None, None, number) => Value::Float(number.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::from(items.iter().map(of_json).collect::<Vec<_>>()),
        serde_json::Value::Object(members) => object(members),
    }
}

/// Sets one part of a subject.
fn put(subject: &mut Subject, part: Part, given: Value) -> Result<(), Unproved> {
    let Some(given) = unwrapped(given)? else {
        // The groups of a token that names none are none; a subject it must name.
        return if part == Part::Subject { Err(Unproved::Subject) } else { Ok(()) };
    };
    if part == Part::Groups {
        subject.groups = groups(&given)?;
        return Ok(());
    }
    let text = name(&given)?;
    match part {
        Part::Subject => subject.id = text,
        Part::Groups => {}
        Part::Purpose => subject.purpose = Some(text),
        Part::Kind => {
            let kinds = [Kind::Human, Kind::Service, Kind::Agent];
            subject.kind = kinds.into_iter().find(|kind| kind.name() == &*text).ok_or(Unproved::Subject)?;
        }
        Part::Chain => subject.chain = Some(text),
        Part::Step => subject.step = Some(text),
        Part::Actor => subject.actor = Some(text),
        Part::Owner => subject.owner = Some(text),
    }
    Ok(())
}

/// What an optional value holds; `null` and nothing are the same.
fn unwrapped(given: Value) -> Result<Option<Value>, Unproved> {
    match given {
        Value::Null => Ok(None),
        Value::Opaque(_) => {
            let optional: &OptionalValue = (&given).try_into().map_err(|_| Unproved::Subject)?;
            Ok(optional.value().filter(|value| !matches!(value, Value::Null)).cloned())
        }
        given => Ok(Some(given)),
    }
}

fn groups(given: &Value) -> Result<Vec<Arc<str>>, Unproved> {
    let Value::List(items) = given else { return Err(Unproved::Subject) };
    if items.len() > GROUPS_MAX {
        return Err(Unproved::Subject);
    }
    let sorted: BTreeSet<Arc<str>> = items.iter().map(name).collect::<Result<_, _>>()?;
    Ok(sorted.into_iter().collect())
}

/// A name as records and policies have them: not empty, without control characters.
fn name(given: &Value) -> Result<Arc<str>, Unproved> {
    let Value::String(text) = given else { return Err(Unproved::Subject) };
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if is_name { Ok(Arc::from(text.as_str())) } else { Err(Unproved::Subject) }
}
