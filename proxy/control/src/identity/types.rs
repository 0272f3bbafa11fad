//! Types of CEL expressions, checked before any of them runs.
//!
//! The `cel` crate finds a wrong name or type when it evaluates, which is too late for a configuration. Claims are of any
//! type, so that what comes of them is only known then; all else is known here: names, functions and how many arguments
//! they have, operators, and what the whole of it is.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Known when it is evaluated.
    Any,
    Text,
    Number,
    Truth,
    Bytes,
    Null,
    List,
    Map,
    /// An optional value, as `claims.?name` is.
    Optional,
    /// A point in time, or a span of it.
    Time,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::Text => "a string",
            Type::Number => "a number",
            Type::Truth => "true or false",
            Type::Bytes => "bytes",
            Type::Null => "null",
            Type::List => "a list",
            Type::Map => "a map",
            Type::Optional => "an optional value",
            Type::Time => "a time",
        }
    }

    fn is(self, wanted: Type) -> bool {
        self == wanted || self == Type::Any || wanted == Type::Any
    }
}

/// A variable that expressions may name, and its members where they are known.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) members: Option<&'static [(&'static str, Type)]>,
}

/// A function: its name, what it is called on, its arguments, what it gives.
type Signature = (&'static str, Option<Type>, &'static [Type], Type);

use Type::{Any, List, Map, Null, Number, Optional, Text, Time, Truth};

const FUNCTIONS: &[Signature] = &[
    ("size", None, &[Any], Number),
    ("size", Some(Any), &[], Number),
    ("contains", Some(Text), &[Text], Truth),
    ("startsWith", Some(Text), &[Text], Truth),
    ("endsWith", Some(Text), &[Text], Truth),
    ("matches", Some(Text), &[Text], Truth),
    ("matches", None, &[Text, Text], Truth),
    ("string", None, &[Any], Text),
    ("int", None, &[Any], Number),
    ("uint", None, &[Any], Number),
    ("double", None, &[Any], Number),
    ("bool", None, &[Any], Truth),
    ("bytes", None, &[Any], Type::Bytes),
    ("dyn", None, &[Any], Any),
    ("type", None, &[Any], Any),
    ("timestamp", None, &[Any], Time),
    ("duration", None, &[Any], Time),
    ("charAt", Some(Text), &[Number], Text),
    ("indexOf", Some(Text), &[Text], Number),
    ("indexOf", Some(Text), &[Text, Number], Number),
    ("lastIndexOf", Some(Text), &[Text], Number),
    ("lastIndexOf", Some(Text), &[Text, Number], Number),
    ("join", Some(List), &[], Text),
    ("join", Some(List), &[Text], Text),
    ("lowerAscii", Some(Text), &[], Text),
    ("upperAscii", Some(Text), &[], Text),
    ("trim", Some(Text), &[], Text),
    ("replace", Some(Text), &[Text, Text], Text),
    ("replace", Some(Text), &[Text, Text, Number], Text),
    ("split", Some(Text), &[Text], List),
    ("split", Some(Text), &[Text, Number], List),
    ("substring", Some(Text), &[Number], Text),
    ("substring", Some(Text), &[Number, Number], Text),
    ("orValue", Some(Optional), &[Any], Any),
    ("or", Some(Optional), &[Optional], Optional),
    ("hasValue", Some(Optional), &[], Truth),
    ("value", Some(Optional), &[], Any),
    ("optional.of", None, &[Any], Optional),
    ("optional.ofNonZeroValue", None, &[Any], Optional),
    ("optional.none", None, &[], Optional),
    ("!_", None, &[Truth], Truth),
    ("-_", None, &[Number], Number),
    ("_&&_", None, &[Truth, Truth], Truth),
    ("_||_", None, &[Truth, Truth], Truth),
    ("_==_", None, &[Any, Any], Truth),
    ("_!=_", None, &[Any, Any], Truth),
    ("@in", None, &[Any, List], Truth),
    ("@in", None, &[Any, Map], Truth),
    ("_[_]", None, &[List, Number], Any),
    ("_[_]", None, &[Map, Any], Any),
    ("_[?_]", None, &[Any, Any], Optional),
    ("_?._", None, &[Map, Any], Optional),
    ("_?._", None, &[Optional, Any], Optional),
    ("@not_strictly_false", None, &[Truth], Truth),
];

/// Operators whose two sides are of one type.
const ALIKE: &[(&str, &[Type], Option<Type>)] = &[
    ("_+_", &[Number, Text, List, Type::Bytes, Time], None),
    ("_-_", &[Number, Time], None),
    ("_*_", &[Number], None),
    ("_/_", &[Number], None),
    ("_%_", &[Number], None),
    ("_<_", &[Number, Text, Truth, Type::Bytes, Time], Some(Truth)),
    ("_<=_", &[Number, Text, Truth, Type::Bytes, Time], Some(Truth)),
    ("_>_", &[Number, Text, Truth, Type::Bytes, Time], Some(Truth)),
    ("_>=_", &[Number, Text, Truth, Type::Bytes, Time], Some(Truth)),
];

/// Names in scope: the variables, and those of the comprehensions around an expression.
pub(super) struct Scope<'v> {
    variables: &'v [Variable],
    inner: Vec<(String, Type)>,
}

impl<'v> Scope<'v> {
    pub(super) fn new(variables: &'v [Variable]) -> Scope<'v> {
        Scope { variables, inner: Vec::new() }
    }

    /// What an expression gives.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&mut self, expression: &IdedExpr) -> Result<Type, String> {
        match &expression.expr {
            Expr::Unspecified => Err("it is empty".to_owned()),
            Expr::Literal(literal) => Ok(of_literal(literal)),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.check(element).map(drop))?;
                Ok(List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.check(&entry.key)?;
                        self.check(&entry.value)?;
                    }
                }
                Ok(Map)
            }
            Expr::Struct(_) => Err("there are no types to construct here".to_owned()),
            Expr::Comprehension(inner) => {
                if !self.inner.is_empty() {
                    return Err("a loop inside a loop would take too long".to_owned());
                }
                let range = self.check(&inner.iter_range)?;
                if !range.is(List) && !range.is(Map) {
                    return Err(format!("{} can't be gone through", range.name()));
                }
                let initial = self.check(&inner.accu_init)?;
                self.inner.push((inner.accu_var.clone(), initial));
                self.inner.push((inner.iter_var.clone(), Any));
                let done = [&inner.loop_cond, &inner.loop_step, &inner.result].map(|e| self.check(e));
                self.inner.clear();
                let [condition, step, result] = done;
                (condition?, step?);
                result
            }
        }
    }

    fn name(&self, name: &str) -> Result<Type, String> {
        if let Some((_, inner)) = self.inner.iter().rev().find(|(inner, _)| inner == name) {
            return Ok(*inner);
        }
        if self.variables.iter().any(|variable| variable.name == name) {
            return Ok(Map);
        }
        let known: Vec<String> = self.variables.iter().map(|v| format!("`{}`", v.name)).collect();
        Err(format!("unknown name `{name}`: there is {}", known.join(" and ")))
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Type, String> {
        let operand = self.check(&select.operand)?;
        if !operand.is(Map) && operand != Optional {
            return Err(format!("`.{}`: {} has no members", select.field, operand.name()));
        }
        let member = match &select.operand.expr {
            // A member of an optional value is optional too.
            _ if operand == Optional => Optional,
            Expr::Ident(name) => self.member(name, &select.field)?,
            _ => Any,
        };
        Ok(if select.test { Truth } else { member })
    }

    /// A member of a variable whose members are known.
    fn member(&self, name: &str, field: &str) -> Result<Type, String> {
        let variable = self.variables.iter().find(|variable| variable.name == name);
        let Some(members) = variable.and_then(|variable| variable.members) else { return Ok(Any) };
        let found = members.iter().find(|(member, _)| *member == field).map(|(_, of)| *of);
        found.ok_or_else(|| {
            let known: Vec<&str> = members.iter().map(|(member, _)| *member).collect();
            format!("`{name}` has no `{field}`; it has {}", known.join(", "))
        })
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type, String> {
        let name = self.function(call);
        let receiver = match &call.target {
            Some(target) if name == call.func_name => Some(self.check(target)?),
            Some(_) | None => None,
        };
        let arguments: Vec<Type> =
            call.args.iter().map(|argument| self.check(argument)).collect::<Result<_, _>>()?;
        if name == "_?_:_" {
            return conditional(&arguments);
        }
        if let Some((_, types, gives)) = ALIKE.iter().find(|(operator, ..)| *operator == name) {
            return alike(&name, types, *gives, &arguments);
        }
        let mut overloads = FUNCTIONS.iter().filter(|(known, ..)| *known == name).peekable();
        if overloads.peek().is_none() {
            return Err(format!("unknown function `{name}`"));
        }
        let fits = |(_, on, takes, _): &&Signature| {
            on.is_some() == receiver.is_some()
                && receiver.zip(*on).is_none_or(|(receiver, on)| receiver.is(on))
                && takes.len() == arguments.len()
                && arguments.iter().zip(takes.iter()).all(|(argument, takes)| argument.is(*takes))
        };
        overloads.find(fits).map(|(.., gives)| *gives).ok_or_else(|| {
            let given: Vec<&str> = receiver.iter().chain(&arguments).map(|given| given.name()).collect();
            format!("`{name}` does not take {}", given.join(" and "))
        })
    }

    /// The name of a function; `optional.of` is one, though it is written as a call on a name.
    fn function(&self, call: &CallExpr) -> String {
        match call.target.as_ref().map(|target| &target.expr) {
            Some(Expr::Ident(space)) if space == "optional" && self.name(space).is_err() => {
                format!("{space}.{}", call.func_name)
            }
            _ => call.func_name.clone(),
        }
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Truth,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Number,
        LiteralValue::Null => Null,
        LiteralValue::String(_) => Text,
    }
}

fn conditional(arguments: &[Type]) -> Result<Type, String> {
    let [condition, then, otherwise] = arguments else { return Err("`?` needs both ways".to_owned()) };
    if !condition.is(Truth) {
        return Err(format!("`?` asks {}", condition.name()));
    }
    Ok(if then == otherwise { *then } else { Any })
}

fn alike(name: &str, types: &[Type], gives: Option<Type>, arguments: &[Type]) -> Result<Type, String> {
    let [left, right] = arguments else { return Err(format!("`{name}` has two sides")) };
    let known = if *left == Any { *right } else { *left };
    let fits = left.is(*right) && (known == Any || types.contains(&known));
    if !fits {
        let operator = name.trim_matches('_');
        return Err(format!("`{operator}` does not take {} and {}", left.name(), right.name()));
    }
    Ok(gives.unwrap_or(known))
}
