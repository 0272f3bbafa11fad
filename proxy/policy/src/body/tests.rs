//! What bodies say, and those that are refused.

use std::sync::Arc;

use super::Unreadable;
use crate::{BodyFacts, Facts, SqlPlace, Surface};

const JSON: &str = "application/json";

fn read(path: &str, content_type: &str, body: &str) -> Result<BodyFacts, Unreadable> {
    let facts = Facts { method: "POST".to_owned(), path: path.to_owned(), ..Facts::default() };
    BodyFacts::read(&facts, content_type, body.as_bytes())
}

#[test]
fn what_each_api_says() {
    let chat = "/v1/chat/completions";
    for (path, body, model, offered, called) in [
        (chat, r#"{"model":"gpt-4o","messages":[]}"#, Some("gpt-4o"), vec![], vec![]),
        (
            chat,
            r#"{"model":"m","tools":[{"type":"function","function":{"name":"search"}},{"type":"custom","custom":{"name":"sh"}}],
                "messages":[{"role":"assistant","tool_calls":[{"function":{"name":"send"}}]},{"role":"tool","tool_call_id":"1"}]}"#,
            Some("m"),
            vec!["search", "sh"],
            vec!["send"],
        ),
        (
            chat,
            r#"{"model":"m","functions":[{"name":"f"}],"messages":[{"function_call":{"name":"g"}},{"role":"function","name":"h"}]}"#,
            Some("m"),
            vec!["f"],
            vec!["g", "h"],
        ),
        (
            "/v1/responses",
            r#"{"model":"m","tools":[{"type":"web_search"},{"type":"mcp","server_label":"s"},{"type":"function","name":"f"}],
                "input":[{"type":"function_call","name":"g"},{"type":"web_search_call"},"text"]}"#,
            Some("m"),
            vec!["web_search", "mcp:s", "f"],
            vec!["g", "web_search"],
        ),
        (
            "/v1/messages",
            r#"{"model":"claude","tools":[{"name":"f"}],"mcp_servers":[{"name":"s"}],"messages":[{"role":"assistant",
                "content":[{"type":"text"},{"type":"tool_use","name":"g"},{"type":"server_tool_use","name":"web_search"}]}]}"#,
            Some("claude"),
            vec!["f", "mcp:s"],
            vec!["g", "web_search"],
        ),
        (
            "/v1beta/models/gemini-2.0-flash:generateContent",
            r#"{"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]},{"googleSearch":{}}],
                "contents":[{"parts":[{"functionCall":{"name":"h"}}]}]}"#,
            Some("gemini-2.0-flash"),
            vec!["f", "g", "googleSearch"],
            vec!["h"],
        ),
        (
            "/model/anthropic.claude-v2/converse",
            r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f"}}]},"messages":[{"content":[{"toolUse":{"name":"g"}}]}]}"#,
            Some("anthropic.claude-v2"),
            vec!["f"],
            vec!["g"],
        ),
        ("/mcp", r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#, None, vec![], vec!["t"]),
    ] {
        let facts = read(path, JSON, body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(facts.model.as_deref(), model, "{body}");
        assert_eq!(facts.tools_offered, offered, "{body}");
        assert_eq!(facts.tools_called, called, "{body}");
        assert_eq!(facts.bytes, body.len() as u64);
    }
}

#[test]
fn numbers_and_streams() {
    for (body, tokens, stream) in [
        (r#"{"max_tokens":10,"stream":true}"#, Some(10), true),
        (r#"{"max_tokens":10,"max_completion_tokens":20,"n":3}"#, Some(60), false),
        (r#"{"generationConfig":{"maxOutputTokens":7}}"#, Some(7), false),
        (r#"{"inferenceConfig":{"maxTokens":8.0},"stream":null}"#, Some(8), false),
        (r#"{"max_tokens":-1}"#, Some(u64::MAX), false),
        (r#"{}"#, None, false),
    ] {
        let facts = read("/v1/chat/completions", JSON, body).unwrap();
        assert_eq!((facts.max_tokens, facts.stream), (tokens, stream), "{body}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let chat = "/v1/chat/completions";
    for (path, body) in [
        (chat, r#"{"model":"a","model":"b"}"#),
        (chat, r#"{"model":"a","\u006dodel":"b"}"#),
        (chat, r#"{"model":"a","Model":"b"}"#),
        (chat, r#"{"MODEL":"b"}"#),
        (chat, "{\"max_to\u{212A}ens\":5}"),
        (chat, "{\"\u{17F}tream\":true}"),
        (chat, r#"{"model":"a","models":["b"]}"#),
        (chat, r#"{"model":["a"]}"#),
        (chat, r#"{"model":"a","modelId":"b"}"#),
        (chat, r#"{"model":"a"}{"model":"b"}"#),
        (chat, r#"{"model":"a"} x"#),
        (chat, "\u{feff}{\"model\":\"a\"}"),
        (chat, r#"[{"model":"a"}]"#),
        (chat, r#"{"model":"a","stream":"true"}"#),
        (chat, r#"{"model":"a","max_tokens":"5"}"#),
        (chat, r#"{"model":"a","max_tokens":5.5}"#),
        (chat, r#"{"tools":[{"function":{"name":"a","name":"b"}}]}"#),
        (chat, r#"{"tools":[{"function":{"name":"a","NAME":"b"}}]}"#),
        (chat, r#"{"tools":[{"function":{"name":1}}]}"#),
        (
            chat,
            r#"{"messages":[{"role":"assistant","tool_calls":[],"tool_calls":[{"function":{"name":"x"}}]}]}"#,
        ),
        (chat, r#"{"messages":[{"Tool_Calls":[{"function":{"name":"x"}}]}]}"#),
        (chat, r#"{"a":{"b":1,"b":2}}"#),
        (chat, "{'model':'a'}"),
        (chat, r#"{"model":"a",}"#),
        (chat, r#"{"model":"\ud800"}"#),
        (chat, "model=a"),
        ("/v1beta/models/a:generateContent", r#"{"model":"b"}"#),
        ("/openai/deployments/a/chat/completions", r#"{"model":"b"}"#),
        ("/mcp", r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t","name":"u"}}"#),
        ("/mcp", r#"{"jsonrpc":"2.0","method":"tools/call","params":{}}"#),
    ] {
        assert!(read(path, JSON, body).is_err(), "{path} {body}");
    }
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    assert!(read(chat, JSON, &format!(r#"{{"messages":{deep}}}"#)).is_err());
}

#[test]
fn the_media_type_decides_nothing_on_an_llms_path() {
    for content_type in ["text/plain", "", "application/x-www-form-urlencoded", "application/octet-stream"] {
        let facts = read("/v1/chat/completions", content_type, r#"{"model":"a"}"#).unwrap();
        assert_eq!(facts.model.as_deref(), Some("a"), "{content_type}");
        assert!(read("/v1/chat/completions", content_type, "model=a").is_err(), "{content_type}");
    }
    assert_eq!(read("/upload", "image/png", "\u{0}").unwrap().model, None);
    assert_eq!(read("/v1/chat/completions", JSON, "").unwrap(), BodyFacts::default());
}

#[test]
fn forms_in_parts() {
    let part =
        |head: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
    let audio = |body: &str| read("/v1/audio/transcriptions", "multipart/form-data; boundary=B", body);
    let file = part("name=\"file\"; filename=\"a.wav\"", "RIFF");
    let model = part("name=\"model\"", "whisper-1");
    assert_eq!(audio(&format!("{file}{model}--B--\r\n")).unwrap().model.as_deref(), Some("whisper-1"));
    for body in [
        format!("{model}{model}--B--"),
        format!("{model}{}--B--", part("name=\"MODEL\"", "x")),
        format!("{model}{}--B--", part("name=\"a\"; name=\"model\"", "x")),
        format!("{model}{}--B--", part("name*=utf-8''model", "x")),
        format!("{model}--C--"),
        format!("x{model}--B--"),
        model.replace("\r\n", "\n"),
        "--B\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nx\r\n--B--".to_owned(),
    ] {
        assert!(audio(&body).is_err(), "{body}");
    }
    assert!(read("/v1/audio/transcriptions", "multipart/form-data", &model).is_err());
}

#[test]
fn where_sql_stands() {
    let read = |place: SqlPlace, content_type: &str, body: &str| {
        let surface = Arc::new(Surface { sql: vec![place], ..Surface::default() });
        let facts =
            Facts { surface, method: "POST".to_owned(), path: "/query".to_owned(), ..Facts::default() };
        let read = BodyFacts::read(&facts, content_type, body.as_bytes()).unwrap();
        read.statements.into_iter().map(|s| s.0).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(read(SqlPlace::Body, "text/plain", "SELECT 1"), ["SELECT 1"]);
    assert_eq!(read(SqlPlace::Body, "text/plain", " "), none);
    let json = || SqlPlace::Json("/a~1b/sql".to_owned());
    assert_eq!(read(json(), JSON, r#"{"a/b":{"sql":"SELECT 1"}}"#), ["SELECT 1"]);
    assert_eq!(read(json(), JSON, r#"{"a/b":{"sql":["SELECT 1","SELECT 2"]}}"#), ["SELECT 1", "SELECT 2"]);
    assert_eq!(read(json(), JSON, r#"{"a/b":{"sql":["SELECT 1",2]}}"#), none);
    assert_eq!(read(json(), "text/plain", r#"{"a/b":{"sql":"SELECT 1","SQL":"DROP TABLE t"}}"#), none);
    let form = || SqlPlace::Form("q".to_owned());
    let urlencoded = "application/x-www-form-urlencoded";
    assert_eq!(read(form(), urlencoded, "q=SELECT+1&x=2&%71=DROP%20TABLE%20t"), ["SELECT 1", "DROP TABLE t"]);
    assert_eq!(read(form(), urlencoded, "Q=SELECT+1"), none);
}

#[test]
fn nothing_of_a_body_is_shown() {
    let error = read("/v1/chat/completions", JSON, r#"{"hunter2":1,"hunter2":2}"#).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert!(!format!("{:?}", super::json::parse(br#"{"hunter2":1}"#)).contains("hunter2"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
        let facts = Facts { path: "/v1/audio/x".to_owned(), ..Facts::default() };
        for content_type in [JSON, "multipart/form-data; boundary=B", "application/x-www-form-urlencoded"] {
            let _ = BodyFacts::read(&facts, content_type, &body);
        }
    }
}
