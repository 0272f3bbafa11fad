//! Operations of requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Acts, BucketIn, Cover, Protocol, Selector, SqlDialect, SqlPlace, Surface, path_model,
    statement_operations,
};
use crate::{BodyFacts, Facts, Statement};

fn facts(protocol: Protocol, method: &str, target: &str) -> Facts {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    };
    Facts {
        surface: Arc::new(Surface { protocol, ..Surface::default() }),
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
        body: Some(BodyFacts::default()),
        ..Facts::default()
    }
}

/// The most exact names of all acts.
fn exact(facts: &Facts) -> Vec<String> {
    Acts::of(facts).exact().map(|name| name.to_string()).collect()
}

#[test]
fn llm_calls() {
    for (method, path, wanted) in [
        ("POST", "/v1/chat/completions", "llm.chat"),
        ("POST", "/openai/deployments/d/chat/completions", "llm.chat"),
        ("POST", "/v1/responses", "llm.chat"),
        ("GET", "/v1/responses/resp_1", "llm.chat"),
        ("POST", "/v1/messages", "llm.chat"),
        ("POST", "/v1/messages/count_tokens", "llm.count"),
        ("POST", "/v1/messages/batches", "llm.batch"),
        ("POST", "/v1beta/models/gemini-2.0-flash:streamGenerateContent", "llm.chat"),
        ("POST", "/v1beta/models/text-embedding-004:embedContent", "llm.embed"),
        ("POST", "/model/anthropic.claude/converse-stream", "llm.chat"),
        ("POST", "/v1/embeddings", "llm.embed"),
        ("DELETE", "/v1/files/file-1", "llm.files"),
        ("GET", "/v1/files/file-1/content", "llm.files"),
        ("POST", "/v1/batches", "llm.batch"),
        ("GET", "/v1/models", "llm.models"),
        ("POST", "//v1//chat/completions/", "llm.chat"),
        ("POST", "/orders/messages", "http.post"),
        ("GET", "/", "http.get"),
    ] {
        assert_eq!(exact(&facts(Protocol::Auto, method, path)), [wanted], "{path}");
    }
    assert_eq!(exact(&facts(Protocol::Llm, "POST", "/anything")), ["llm.other"]);
    assert_eq!(exact(&facts(Protocol::Http, "POST", "/v1/chat/completions")), ["http.post"]);
}

#[test]
fn models_in_paths() {
    for (path, wanted) in [
        ("/v1beta/models/gemini-2.0-flash:generateContent", Some("gemini-2.0-flash")),
        ("/model/anthropic.claude-v2:1/converse", Some("anthropic.claude-v2:1")),
        ("/openai/deployments/prod/chat/completions", Some("prod")),
        ("/v1/models/gpt-4o", None),
        ("/v1/chat/completions", None),
    ] {
        assert_eq!(path_model(path), wanted, "{path}");
    }
}

#[test]
fn object_stores() {
    use BucketIn::{Host, Path};
    for (bucket, method, target, wanted) in [
        (Path, "GET", "/", &["s3.list"][..]),
        (Path, "GET", "/b", &["s3.list"]),
        (Path, "GET", "/b?list-type=2&prefix=x", &["s3.list"]),
        (Path, "GET", "/b/k/l", &["s3.get"]),
        (Path, "HEAD", "/b/k", &["s3.get"]),
        (Path, "PUT", "/b", &["s3.create_bucket"]),
        (Path, "PUT", "/b/k", &["s3.put"]),
        (Path, "PUT", "/b/k?partNumber=1&uploadId=u", &["s3.put"]),
        (Path, "POST", "/b/k?uploads", &["s3.put"]),
        (Path, "POST", "/b?delete", &["s3.delete_object"]),
        (Path, "DELETE", "/b/k", &["s3.delete_object"]),
        (Path, "DELETE", "/b", &["s3.delete_bucket"]),
        (Path, "DELETE", "/b/", &["s3.delete_bucket"]),
        // A store that merges slashes deletes the bucket, one that does not an object.
        (Path, "DELETE", "//b", &["s3.delete_object", "s3.delete_bucket"]),
        (Path, "DELETE", "/b?policy", &["s3.config_write"]),
        (Path, "PUT", "/b/k?acl", &["s3.config_write"]),
        (Path, "GET", "/b?policy", &["s3.config_read"]),
        (Path, "PUT", "/b?unheard-of", &["s3.config_write"]),
        (Host, "DELETE", "/", &["s3.delete_bucket"]),
        (Host, "DELETE", "/k", &["s3.delete_object"]),
        (Host, "GET", "/", &["s3.list"]),
    ] {
        assert_eq!(exact(&facts(Protocol::ObjectStore(bucket), method, target)), wanted, "{method} {target}");
    }
    let mut copy = facts(Protocol::ObjectStore(Path), "PUT", "/b/k");
    copy.headers = BTreeMap::from([("x-amz-copy-source".to_owned(), "/other/secret".to_owned())]);
    assert_eq!(exact(&copy), ["s3.put", "s3.copy"]);
}

#[test]
fn secrets_and_grpc() {
    for (method, target, wanted) in [
        ("GET", "/v1/secret/data/app", "secret.read"),
        ("LIST", "/v1/secret/metadata/app", "secret.list"),
        ("GET", "/v1/secret/metadata/app?list=true", "secret.list"),
        ("POST", "/v1/secret/data/app", "secret.write"),
        ("POST", "/v1/secret/destroy/app", "secret.delete"),
        ("DELETE", "/v1/secret/data/app", "secret.delete"),
        ("PUT", "/v1/sys/seal", "secret.admin"),
        ("POST", "/v1/auth/token/create", "secret.admin"),
        ("POST", "//v1/sys/seal", "secret.admin"),
    ] {
        assert_eq!(exact(&facts(Protocol::Secrets, method, target)), [wanted], "{method} {target}");
    }
    let mut call = facts(Protocol::Auto, "POST", "/pkg.Service/Delete");
    call.media_type = "application/grpc+proto".to_owned();
    assert_eq!(exact(&call), ["grpc:pkg.Service/Delete"]);
    assert_eq!(exact(&facts(Protocol::Grpc, "POST", "/pkg.Service/a/b")), ["grpc.unknown"]);
}

#[test]
fn a_method_in_a_methods_place_is_an_act_too() {
    let mut sneaky = facts(Protocol::Auto, "POST", "/x?_method=put");
    sneaky.headers = BTreeMap::from([("x-http-method-override".to_owned(), "delete".to_owned())]);
    assert_eq!(exact(&sneaky), ["http.post", "http.delete", "http.put"]);
}

/// All names of a text's statements.
fn names(text: &str, dialect: SqlDialect) -> Vec<&'static str> {
    statement_operations(text, dialect).concat()
}

#[test]
fn reads_are_reads() {
    for text in [
        "SELECT 1",
        "select a, count(*) from t where b = 'x; DROP TABLE t' group by a having sum(c) > 1 order by a limit 5",
        "SELECT * FROM a JOIN (SELECT id FROM b) AS c ON a.id = c.id -- DELETE",
        "WITH x AS (SELECT 1) SELECT * FROM x UNION ALL SELECT 2",
        "SELECT \"delete\" FROM t",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
    ] {
        let found = statement_operations(text, SqlDialect::PostgreSql);
        assert!(found.iter().all(|names| names.contains(&"sql.read")), "{text}: {found:?}");
    }
}

#[test]
fn what_is_no_read() {
    for (text, wanted) in [
        ("DROP DATABASE prod", "sql.drop_database"),
        ("drop schema public cascade", "sql.drop_database"),
        ("SELECT 1; DROP DATABASE prod", "sql.drop_database"),
        ("DROP DATABASE prod WITH (FORCE)", "sql.drop_database"),
        ("DROP/**/DATABASE/**/prod", "sql.drop_database"),
        ("DROP TABLE t", "sql.drop_table"),
        ("DELETE FROM t", "sql.delete_all"),
        ("DELETE FROM t WHERE 1 = 1", "sql.delete_all"),
        ("DELETE FROM t WHERE (true)", "sql.delete_all"),
        ("DELETE FROM t WHERE id = id OR x = 2", "sql.delete_all"),
        ("DELETE FROM t WHERE id = 3", "sql.delete"),
        ("UPDATE t SET a = 1", "sql.update_all"),
        ("UPDATE t SET a = 1 WHERE id = 3", "sql.update"),
        ("TRUNCATE t", "sql.truncate"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "sql.delete_all"),
        ("SELECT * INTO u FROM t", "sql.select_into"),
        ("SELECT * FROM t FOR UPDATE", "sql.write"),
        ("SELECT pg_read_file('/etc/passwd')", "sql.call"),
        ("SELECT set_config('a', 'b', false)", "sql.call"),
        ("SELECT own.lower('a')", "sql.call"),
        ("SELECT * FROM dblink('x', 'y') AS t(a int)", "sql.call"),
        ("EXPLAIN ANALYZE DELETE FROM t", "sql.delete_all"),
        ("CREATE TABLE t AS SELECT 1", "sql.ddl"),
        ("ALTER TABLE t ADD COLUMN c int", "sql.alter"),
        ("GRANT ALL ON t TO bob", "sql.grant"),
        ("SET ROLE admin", "sql.set"),
        ("COPY t TO PROGRAM 'sh'", "sql.copy"),
        ("CALL f()", "sql.call"),
        ("DO $$ BEGIN DELETE FROM t; END $$", "sql.write"),
        ("INSERT INTO t VALUES (1)", "sql.insert"),
        ("VACUUM FULL", "sql.write"),
        ("not sql at all", "sql.unknown"),
        ("", "sql.unknown"),
        ("SELECT 'open", "sql.unknown"),
        ("SELEKT 1; DROP DATABASE prod", "sql.drop_database"),
    ] {
        for dialect in [SqlDialect::PostgreSql, SqlDialect::Generic] {
            let found = names(text, dialect);
            assert!(found.contains(&wanted), "{text}: {found:?}");
            let is_covered = statement_operations(text, dialect).iter().all(|n| n.contains(&"sql.read"));
            assert!(!is_covered, "{text}: {found:?}");
        }
    }
}

#[test]
fn two_servers_two_readings() {
    // A comment to PostgreSQL, code to MySQL.
    let text = "SELECT 1 /*!50000 ; DROP DATABASE prod */";
    for dialect in [SqlDialect::PostgreSql, SqlDialect::MySql, SqlDialect::Generic] {
        assert!(names(text, dialect).contains(&"sql.drop_database"), "{dialect:?}");
    }
    // A string to MySQL up to the second quote, to PostgreSQL up to the first.
    let text = r"SELECT 'a\'; DROP DATABASE prod; -- '";
    assert!(names(text, SqlDialect::Generic).contains(&"sql.drop_database"));
}

#[test]
fn statements_nest_to_a_limit() {
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(names(&nested(10), SqlDialect::PostgreSql).contains(&"sql.read"));
    assert!(names(&nested(5_000), SqlDialect::PostgreSql).contains(&"sql.unknown"));
}

fn selector(names: &[&str]) -> Selector {
    let mut selector = Selector::default();
    names.iter().for_each(|name| selector.add(name).unwrap_or_else(|e| panic!("{name}: {e}")));
    selector
}

#[test]
fn what_lists_cover() {
    let chat = |tools: Option<&[&str]>| {
        let mut chat = facts(Protocol::Auto, "POST", "/v1/chat/completions");
        chat.body = tools.map(|tools| BodyFacts {
            tools_called: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            ..BodyFacts::default()
        });
        chat
    };
    let query = |text: Option<&str>| {
        let mut query = facts(Protocol::Http, "POST", "/query");
        query.surface = Arc::new(Surface { sql: vec![SqlPlace::Body], ..(*query.surface).clone() });
        query.body = text
            .map(|text| BodyFacts { statements: vec![Statement(text.to_owned())], ..BodyFacts::default() });
        query
    };
    use Cover::{NeedsBody, No, Yes};
    for (list, facts, covers, touches) in [
        (&["llm.chat"][..], chat(None), Yes, Yes),
        (&["llm.chat"], chat(Some(&["x"])), Yes, Yes),
        (&["llm.embed"], chat(None), No, No),
        (&["http.write"], chat(Some(&["x"])), Yes, Yes),
        (&["llm.chat", "tool:a*"], chat(None), NeedsBody, Yes),
        (&["llm.chat", "tool:a*"], chat(Some(&["ab", "ac"])), Yes, Yes),
        (&["llm.chat", "tool:a*"], chat(Some(&["ab", "b"])), No, Yes),
        (&["tool:b"], chat(None), No, NeedsBody),
        (&["tool:b"], chat(Some(&["a", "b"])), No, Yes),
        (&["tool:b"], chat(Some(&["a"])), No, No),
        (&["sql.read"], query(None), NeedsBody, NeedsBody),
        (&["sql.read"], query(Some("SELECT 1")), Yes, Yes),
        (&["sql.read"], query(Some("SELECT 1; DELETE FROM t")), No, Yes),
        (&["sql.delete_all"], query(Some("SELECT 1; DELETE FROM t")), No, Yes),
        (&["http.post"], query(Some("DROP DATABASE x")), Yes, Yes),
        (&["http.post", "sql.read"], query(Some("DROP DATABASE x")), No, Yes),
        (&["sql.read"], facts(Protocol::Http, "GET", "/"), No, No),
        (&["*"], query(Some("DROP DATABASE x")), Yes, Yes),
    ] {
        let acts = Acts::of(&facts);
        assert_eq!(selector(list).covers(&acts), covers, "{list:?} {acts:?}");
        assert_eq!(selector(list).touches(&acts), touches, "{list:?} {acts:?}");
    }
}

#[test]
fn sql_that_is_not_found_is_a_write() {
    let mut query = facts(Protocol::Http, "GET", "/query?Q=x");
    query.surface = Arc::new(Surface { sql: vec![SqlPlace::Query("q".to_owned())], ..Surface::default() });
    assert_eq!(selector(&["sql.read"]).covers(&Acts::of(&query)), Cover::No);
    query.query = vec![("q".to_owned(), "SELECT 1".to_owned()), ("q".to_owned(), "DROP TABLE t".to_owned())];
    assert_eq!(selector(&["sql.read"]).covers(&Acts::of(&query)), Cover::No);
    query.query.pop();
    assert_eq!(selector(&["sql.read"]).covers(&Acts::of(&query)), Cover::Yes);
}

#[test]
fn names_that_are_none() {
    for name in
        ["", "chat", "llm.chatt", "sql", "sql:read", "http.GET", "http.", "s3.delete", "to*", "tool.x", "*x"]
    {
        assert!(Selector::default().add(name).is_err(), "{name}");
    }
    for name in
        ["*", "http.*", "http.get", "llm.*", "tool:x", "tool:*", "grpc:a.B/*", "sql.drop*", "secret.read"]
    {
        assert!(Selector::default().add(name).is_ok(), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n]{0,80}") {
        for (_, dialect) in crate::SQL_DIALECTS {
            proptest::prop_assert!(!statement_operations(&text, *dialect).is_empty());
        }
    }

    /// Whatever surrounds it, a statement of its own that drops a database is seen.
    #[test]
    fn a_drop_is_seen_beside_anything(before in "[a-zA-Z0-9 ,.=<>()*]{0,30}") {
        let text = format!("{before}; DROP DATABASE prod");
        proptest::prop_assert!(names(&text, SqlDialect::PostgreSql).contains(&"sql.drop_database"));
    }
}
