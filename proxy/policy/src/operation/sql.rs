//! What statements of SQL do. What doesn't parse counts as a write.
//!
//! A statement is a read only where three things agree: its tree is a query, a `SHOW` or an `EXPLAIN` that runs nothing;
//! none of its words outside quotes is one that changes something, wherever it stands (`WITH x AS (DELETE …)`,
//! `SELECT … INTO`, `FOR UPDATE`); and each function that it calls is known to do nothing but compute. Two servers may
//! read one text in two ways, so where the dialect is not known, or a comment holds code for some servers, several
//! dialects must agree, and what one of them finds counts.

mod functions;

use sqlparser::ast::{BinaryOperator, Delete, Update};
use sqlparser::ast::{
    DescribeAlias, Expr, ObjectType, Query, SetExpr, Statement, TableFactor, UtilityOption, Value,
};
use sqlparser::dialect::{
    AnsiDialect, BigQueryDialect, ClickHouseDialect, Dialect, DuckDbDialect, GenericDialect, MsSqlDialect,
    MySqlDialect, PostgreSqlDialect, SQLiteDialect, SnowflakeDialect,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

/// A dialect of SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SqlDialect {
    /// Not known: what PostgreSQL and MySQL find in a text both counts.
    #[default]
    Generic,
    /// ISO SQL.
    Ansi,
    /// BigQuery.
    BigQuery,
    /// ClickHouse.
    ClickHouse,
    /// DuckDB.
    DuckDb,
    /// Microsoft SQL Server.
    MsSql,
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    PostgreSql,
    /// SQLite.
    Sqlite,
    /// Snowflake.
    Snowflake,
}

/// Dialects as configurations spell them.
pub const SQL_DIALECTS: &[(&str, SqlDialect)] = &[
    ("generic", SqlDialect::Generic),
    ("ansi", SqlDialect::Ansi),
    ("bigquery", SqlDialect::BigQuery),
    ("clickhouse", SqlDialect::ClickHouse),
    ("duckdb", SqlDialect::DuckDb),
    ("mssql", SqlDialect::MsSql),
    ("mysql", SqlDialect::MySql),
    ("postgresql", SqlDialect::PostgreSql),
    ("sqlite", SqlDialect::Sqlite),
    ("snowflake", SqlDialect::Snowflake),
];

/// How deep a statement may nest.
const DEPTH_MAX: usize = 64;

/// Names of a statement's operations, the most exact first.
type Names = &'static [&'static str];

const SELECT: Names = &["sql.select", "sql.read"];
const SHOW: Names = &["sql.show", "sql.read"];
const EXPLAIN: Names = &["sql.explain", "sql.read"];
const TRANSACTION: Names = &["sql.transaction"];
const SELECT_INTO: Names = &["sql.select_into", "sql.write"];
const CALL: Names = &["sql.call", "sql.write"];
const INSERT: Names = &["sql.insert", "sql.write"];
const UPDATE: Names = &["sql.update", "sql.write"];
const UPDATE_ALL: Names = &["sql.update_all", "sql.update", "sql.write"];
const DELETE: Names = &["sql.delete", "sql.write"];
const DELETE_ALL: Names = &["sql.delete_all", "sql.delete", "sql.write"];
const TRUNCATE: Names = &["sql.truncate", "sql.delete_all", "sql.delete", "sql.write"];
const MERGE: Names = &["sql.merge", "sql.write"];
const COPY: Names = &["sql.copy", "sql.write"];
const SET: Names = &["sql.set", "sql.write"];
const GRANT: Names = &["sql.grant", "sql.write"];
const CREATE: Names = &["sql.create", "sql.ddl", "sql.write"];
const ALTER: Names = &["sql.alter", "sql.ddl", "sql.write"];
const DROP: Names = &["sql.drop", "sql.ddl", "sql.write"];
const DROP_TABLE: Names = &["sql.drop_table", "sql.drop", "sql.ddl", "sql.write"];
/// A schema is a database in MySQL, and holds as much elsewhere.
const DROP_DATABASE: Names = &["sql.drop_database", "sql.drop", "sql.ddl", "sql.write"];
const OTHER: Names = &["sql.other", "sql.write"];
const UNKNOWN: Names = &["sql.unknown", "sql.write"];

/// All names that are given here.
pub(super) const NAMES: &[&str] = &[
    "sql.read",
    "sql.write",
    "sql.ddl",
    "sql.select",
    "sql.select_into",
    "sql.show",
    "sql.explain",
    "sql.transaction",
    "sql.insert",
    "sql.update",
    "sql.update_all",
    "sql.delete",
    "sql.delete_all",
    "sql.truncate",
    "sql.merge",
    "sql.copy",
    "sql.call",
    "sql.set",
    "sql.grant",
    "sql.create",
    "sql.alter",
    "sql.drop",
    "sql.drop_table",
    "sql.drop_database",
    "sql.other",
    "sql.unknown",
];

/// Words that change something, and what they may come to where a text can't be read as a whole.
const WORDS: &[(&str, &[Names])] = &[
    ("INSERT", &[INSERT]),
    ("REPLACE", &[INSERT]),
    ("UPDATE", &[UPDATE_ALL]),
    ("DELETE", &[DELETE_ALL]),
    ("TRUNCATE", &[TRUNCATE]),
    ("MERGE", &[MERGE]),
    ("INTO", &[SELECT_INTO]),
    ("DROP", &[DROP]),
    ("ALTER", &[ALTER]),
    ("CREATE", &[CREATE]),
    ("RENAME", &[ALTER]),
    ("GRANT", &[GRANT]),
    ("REVOKE", &[GRANT]),
    ("COPY", &[COPY]),
    ("LOAD", &[COPY]),
    ("UNLOAD", &[COPY]),
    ("CALL", &[CALL]),
    ("DO", &[CALL]),
    ("EXEC", &[CALL]),
    ("EXECUTE", &[CALL]),
    ("ATTACH", &[OTHER]),
    ("DETACH", &[OTHER]),
    ("VACUUM", &[OTHER]),
    ("LOCK", &[OTHER]),
    ("SET", &[SET]),
    ("RESET", &[SET]),
];

/// What each statement of a text does, each with its names from the most exact on. At least one.
#[must_use]
pub fn statement_operations(text: &str, dialect: SqlDialect) -> Vec<Vec<&'static str>> {
    // Code for some servers only, in what is a comment to others.
    let has_hints = text.contains("/*!") || text.contains("/*M!");
    let dialects: &[SqlDialect] = match dialect {
        SqlDialect::Generic => &[SqlDialect::PostgreSql, SqlDialect::MySql],
        _ => &[dialect],
    };
    let mut found = Vec::new();
    for dialect in dialects {
        read(text, dialect.parser(), &mut found);
    }
    if has_hints || found.is_empty() {
        add(&mut found, UNKNOWN);
        words_of(text, &GenericDialect {}).iter().for_each(|names| add(&mut found, names));
    }
    found.into_iter().map(<[_]>::to_vec).collect()
}

impl SqlDialect {
    fn parser(self) -> &'static dyn Dialect {
        match self {
            SqlDialect::Generic => &GenericDialect {},
            SqlDialect::Ansi => &AnsiDialect {},
            SqlDialect::BigQuery => &BigQueryDialect {},
            SqlDialect::ClickHouse => &ClickHouseDialect {},
            SqlDialect::DuckDb => &DuckDbDialect {},
            SqlDialect::MsSql => &MsSqlDialect {},
            SqlDialect::MySql => &MySqlDialect {},
            SqlDialect::PostgreSql => &PostgreSqlDialect {},
            SqlDialect::Sqlite => &SQLiteDialect {},
            SqlDialect::Snowflake => &SnowflakeDialect {},
        }
    }
}

fn add(found: &mut Vec<Names>, names: Names) {
    if !found.contains(&names) {
        found.push(names);
    }
}

/// Adds what a text does as one dialect reads it.
fn read(text: &str, dialect: &dyn Dialect, found: &mut Vec<Names>) {
    let parsed = Parser::new(dialect)
        .with_recursion_limit(DEPTH_MAX)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statements());
    match parsed {
        Ok(statements) if !statements.is_empty() => {
            let first = found.len();
            statements.iter().for_each(|statement| statement_names(statement, found));
            let is_read = found.iter().skip(first).any(|names| is_of_read(names));
            if is_read || found.len() == first {
                // A tree that is a read must hold no word that is none; one that is a write has been told already.
                doubts(text, dialect, found);
            }
        }
        // Nothing at all, or nothing that is known.
        Ok(_) | Err(_) => {
            add(found, UNKNOWN);
            words_of(text, dialect).iter().for_each(|names| add(found, names));
        }
    }
}

fn is_of_read(names: Names) -> bool {
    names.contains(&"sql.read")
}

/// Adds what the words of a text tell, which its tree may not: a write inside of a read, a function with effects.
fn doubts(text: &str, dialect: &dyn Dialect, found: &mut Vec<Names>) {
    let Ok(tokens) = Tokenizer::new(dialect, text).tokenize() else {
        add(found, UNKNOWN);
        return;
    };
    let is_write = |word: &Word| word.quote_style.is_none() && names_of(&word.value).is_some();
    let has_write = tokens.iter().any(|token| matches!(token, Token::Word(word) if is_write(word)));
    // Where the tree found a write beside the read, the word is that one's.
    if has_write && found.iter().all(|names| is_of_read(names) || *names == TRANSACTION) {
        words_in(&tokens).iter().for_each(|names| add(found, names));
    }
    if functions::has_unknown(&tokens) {
        add(found, CALL);
    }
}

fn names_of(word: &str) -> Option<&'static [Names]> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, names)| *names)
}

/// What the words of a text may come to.
fn words_of(text: &str, dialect: &dyn Dialect) -> Vec<Names> {
    if let Ok(tokens) = Tokenizer::new(dialect, text).tokenize() {
        return words_in(&tokens);
    }
    // Not even words can be told from strings: every word counts.
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let tokens: Vec<Token> = words.map(|word| Token::make_word(word, None)).collect();
    words_in(&tokens)
}

fn words_in(tokens: &[Token]) -> Vec<Names> {
    let mut found = Vec::new();
    let words = tokens.iter().filter_map(|token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.as_str()),
        _ => None,
    });
    let mut has_drop = false;
    for word in words {
        for names in names_of(word).unwrap_or_default() {
            add(&mut found, names);
        }
        has_drop |= word.eq_ignore_ascii_case("DROP");
        if has_drop && (word.eq_ignore_ascii_case("DATABASE") || word.eq_ignore_ascii_case("SCHEMA")) {
            add(&mut found, DROP_DATABASE);
        }
        if has_drop && word.eq_ignore_ascii_case("TABLE") {
            add(&mut found, DROP_TABLE);
        }
    }
    found
}

/// Adds what a statement does. Statements that are not named here are writes.
fn statement_names(statement: &Statement, found: &mut Vec<Names>) {
    match statement {
        Statement::Query(query) => query_names(query, found),
        Statement::Explain { analyze, statement, options, .. } => {
            let runs = *analyze || options.as_ref().is_some_and(|all| all.iter().any(is_analyze));
            add(found, EXPLAIN);
            if runs {
                statement_names(statement, found);
            }
        }
        Statement::ExplainTable { describe_alias, .. } => match describe_alias {
            DescribeAlias::Describe | DescribeAlias::Explain | DescribeAlias::Desc => add(found, SHOW),
        },
        Statement::ShowFunctions { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowVariables { .. }
        | Statement::ShowCreate { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowViews { .. }
        | Statement::ShowCollation { .. } => add(found, SHOW),
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. } => add(found, TRANSACTION),
        Statement::Insert(_) => add(found, INSERT),
        Statement::Update(update) => add(found, update_names(update)),
        Statement::Delete(delete) => add(found, delete_names(delete)),
        Statement::Truncate(_) => add(found, TRUNCATE),
        Statement::Merge(_) => add(found, MERGE),
        Statement::Copy { .. } | Statement::CopyIntoSnowflake { .. } | Statement::LoadData { .. } => {
            add(found, COPY);
        }
        Statement::Call(_) | Statement::Execute { .. } => add(found, CALL),
        Statement::Set(_) | Statement::Use(_) | Statement::Pragma { .. } => add(found, SET),
        Statement::Grant(_) | Statement::Revoke(_) | Statement::Deny(_) => add(found, GRANT),
        Statement::Drop { object_type, .. } => add(found, drop_names(*object_type)),
        Statement::CreateTable(_)
        | Statement::CreateView(_)
        | Statement::CreateIndex(_)
        | Statement::CreateDatabase { .. }
        | Statement::CreateSchema { .. }
        | Statement::CreateFunction(_)
        | Statement::CreateRole(_)
        | Statement::CreateTrigger(_) => add(found, CREATE),
        Statement::AlterTable(_)
        | Statement::AlterView { .. }
        | Statement::AlterIndex { .. }
        | Statement::AlterRole { .. }
        | Statement::AlterSchema(_) => add(found, ALTER),
        other => other_names(other, found),
    }
}

/// A statement by the word that it begins with.
fn other_names(statement: &Statement, found: &mut Vec<Names>) {
    let text = statement.to_string();
    let first = text.split_whitespace().next().unwrap_or_default();
    let names = match names_of(first) {
        Some(names) => names,
        None => &[OTHER],
    };
    names.iter().for_each(|names| add(found, names));
}

fn is_analyze(option: &UtilityOption) -> bool {
    option.name.value.eq_ignore_ascii_case("analyze")
}

fn drop_names(object: ObjectType) -> Names {
    match object {
        ObjectType::Database | ObjectType::Schema => DROP_DATABASE,
        ObjectType::Table => DROP_TABLE,
        ObjectType::Collation
        | ObjectType::View
        | ObjectType::MaterializedView
        | ObjectType::Index
        | ObjectType::Role
        | ObjectType::Sequence
        | ObjectType::Stage
        | ObjectType::Type
        | ObjectType::User
        | ObjectType::Stream
        | ObjectType::Warehouse => DROP,
    }
}

fn delete_names(delete: &Delete) -> Names {
    if delete.selection.as_ref().is_none_or(is_always) { DELETE_ALL } else { DELETE }
}

fn update_names(update: &Update) -> Names {
    if update.selection.as_ref().is_none_or(is_always) { UPDATE_ALL } else { UPDATE }
}

/// Adds what a query does, and the statements in it.
fn query_names(query: &Query, found: &mut Vec<Names>) {
    for table in query.with.iter().flat_map(|with| &with.cte_tables) {
        query_names(&table.query, found);
    }
    set_names(&query.body, found);
}

fn set_names(set: &SetExpr, found: &mut Vec<Names>) {
    match set {
        SetExpr::Select(select) => {
            add(found, if select.into.is_some() { SELECT_INTO } else { SELECT });
            let joined = select.from.iter().flat_map(|from| from.joins.iter().map(|join| &join.relation));
            for table in select.from.iter().map(|from| &from.relation).chain(joined) {
                if let TableFactor::Derived { subquery, .. } = table {
                    query_names(subquery, found);
                }
            }
        }
        SetExpr::Query(query) => query_names(query, found),
        SetExpr::SetOperation { left, right, .. } => {
            set_names(left, found);
            set_names(right, found);
        }
        SetExpr::Values(_) | SetExpr::Table(_) => add(found, SELECT),
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => statement_names(statement, found),
    }
}

/// Whether a condition plainly holds for every row: it names no column, or compares one with itself.
fn is_always(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => is_always(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => is_always(left) || is_always(right),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => is_always(left) && is_always(right),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq | BinaryOperator::GtEq | BinaryOperator::LtEq,
            right,
        } if left == right => true,
        other => is_constant(other),
    }
}

fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => is_constant(inner),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) | Expr::IsTrue(inner) | Expr::IsNotFalse(inner) => {
            is_constant(inner)
        }
        Expr::Between { expr, low, high, .. } => is_constant(expr) && is_constant(low) && is_constant(high),
        _ => false,
    }
}
