//! A statement that is put together: its text from this code alone, its values bound.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

enum Value {
    Text(String),
    Number(i64),
}

/// A statement with `$1`, `$2` …, which both databases read. sqlx's own builder writes `?` for any database.
pub(super) struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    pub(super) fn new(text: &'static str) -> Statement {
        Statement { text: text.to_owned(), values: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &'static str) -> &mut Statement {
        self.text.push_str(text);
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Statement {
        self.value(Value::Text(value.to_owned()))
    }

    pub(super) fn number(&mut self, value: i64) -> &mut Statement {
        self.value(Value::Number(value))
    }

    fn value(&mut self, value: Value) -> &mut Statement {
        self.values.push(value);
        self.text.push_str(&format!("${}", self.values.len()));
        self
    }

    pub(super) fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }
}
