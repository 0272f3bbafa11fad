//! The canonical form against RFC 8785, the vectors of docs/canonical-request.md, and those who would have one digest
//! stand for two requests.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const DOCUMENT: &str = include_str!("../../../../../docs/canonical-request.md");

fn json(text: &str) -> Result<String, Uncanonical> {
    json::canonical(text.as_bytes())
}

fn digest(kind: &str, body: &[u8]) -> Result<RequestDigest, Uncanonical> {
    let fields: &[(&str, &[u8])] = &[("content-type", kind.as_bytes())];
    canonical_digest(&CanonicalParts { method: "POST", path: "/v1/x", query: None, fields, body })
}

fn of_target(path: &str, query: Option<&str>) -> Result<RequestDigest, Uncanonical> {
    canonical_digest(&CanonicalParts { method: "GET", path, query, fields: &[], body: b"" })
}

fn of_fields(fields: &[(&str, &[u8])]) -> Result<RequestDigest, Uncanonical> {
    canonical_digest(&CanonicalParts { method: "GET", path: "/", query: None, fields, body: b"" })
}

/// RFC 8785, appendix B.
#[test]
fn numbers_are_those_of_the_rfc() {
    for (bits, wanted) in [
        (0x0000_0000_0000_0000_u64, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let spelled = format!("{:e}", f64::from_bits(bits));
        assert_eq!(json(&spelled).as_deref(), Ok(wanted), "{spelled}");
    }
}

/// RFC 8785, sections 3.2.2 and 3.2.3.
#[test]
fn values_are_those_of_the_rfc() {
    let text = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
    let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                  \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(json(text).as_deref(), Ok(wanted));
    let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
    assert_eq!(
        json(keys).as_deref(),
        Ok("{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}")
    );
}

#[test]
fn whole_numbers_beyond_doubles_stay_apart() {
    let apart = ["9007199254740992", "9007199254740993", "9007199254740994", "1e400", "1e401", "-1e400"];
    let read: Vec<String> = apart.iter().map(|text| json(text).unwrap()).collect();
    for (n, one) in read.iter().enumerate() {
        assert!(read.iter().skip(n + 1).all(|other| other != one), "{one}");
    }
    assert_eq!(json("9007199254740993"), json("9007199254740993.0"));
    assert_eq!(json("9007199254740993"), json("90071992547409930e-1"));
}

#[test]
fn json_that_can_be_read_in_two_ways_is_refused() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"[{"model":"x","model":"y"}]"#,
        r#"{"":1,"":2}"#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800\u0041""#,
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "",
        " ",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "{a:1}",
        "'a'",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x10",
        "NaN",
        "Infinity",
        "-",
        "--1",
        "tru",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\\x41\"",
        "\"\\u12G4\"",
        "\"\\u+123\"",
        "\"open",
        "// a\n1",
        "\u{feff}1",
        "1e99999999999999",
        "\u{a0}1",
    ] {
        assert!(json(text).is_err(), "{text:?}");
    }
    assert!(json::canonical(b"\"\xff\"").is_err());
    assert!(json::canonical(b"\"\xed\xa0\x80\"").is_err());
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| json(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    assert!(nested(json::DEPTH_MAX).is_ok());
    assert!(nested(json::DEPTH_MAX + 1).is_err());
}

#[test]
fn bodies_have_a_limit() {
    let at = vec![b'x'; BODY_BYTES_MAX];
    assert!(digest("text/plain", &at).is_ok());
    let beyond = vec![b'x'; BODY_BYTES_MAX + 1];
    assert!(digest("text/plain", &beyond).is_err());
}

#[test]
fn what_means_the_same_has_one_digest() {
    let same = |kind: &str, a: &str, b: &str| {
        assert_eq!(digest(kind, a.as_bytes()).unwrap(), digest(kind, b.as_bytes()).unwrap(), "{a} and {b}");
    };
    let j = "application/json";
    same(j, r#"{"a":1,"b":[1,2]}"#, " {\"b\" : [1 ,2.0],\n\"a\":1e0} ");
    same(j, r#""\u0041\/""#, r#""A/""#);
    same(j, "-0", "0");
    same("application/vnd.x+json", "[10]", "[1e1]");
    same("application/x-www-form-urlencoded", "a=%41+b&c", "a=A%20b&c=");
    let multipart = |boundary: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--{boundary}--\r\n"
        );
        digest(&format!("multipart/form-data; boundary={boundary}"), body.as_bytes()).unwrap()
    };
    assert_eq!(multipart("one"), multipart("another"));
    assert_eq!(of_target("/%61%2f", Some("q=%7e")), of_target("/a%2F", Some("q=~")));
    assert_eq!(
        of_fields(&[("X-Team", b" a "), ("accept", b"b")]),
        of_fields(&[
            ("Accept", b"b"),
            ("x-team", b"a"),
            ("traceparent", b"00-1"),
            ("Authorization", b"Bearer x")
        ])
    );
    assert_eq!(
        digest("application/json; charset=UTF-8", b"1").unwrap(),
        digest("Application/JSON;charset=\"utf-8\"", b"1").unwrap()
    );
}

#[test]
fn what_means_something_else_has_another_digest() {
    let bodies: Vec<(&str, &[u8])> = vec![
        ("application/json", b"{\"a\":1}"),
        ("application/json", b"{\"a\":2}"),
        ("application/json", b"{\"a\":\"1\"}"),
        ("application/json", b"{\"a\":[1]}"),
        ("application/json", b"{\"a\":null}"),
        ("application/json", b"{\"a\":1,\"b\":1}"),
        ("application/json", b"{\"A\":1}"),
        ("application/json", b"{\"a\\u0000\":1}"),
        ("application/json", b"{\"a\":1.0000000000000002}"),
        ("application/json", b"{\"a\":9007199254740992}"),
        ("application/json", b"{\"a\":9007199254740993}"),
        ("application/json", "{\"\u{e9}\":1}".as_bytes()),
        ("application/json", "{\"e\u{301}\":1}".as_bytes()),
        ("application/json", b""),
        ("application/x-ndjson", b"{\"a\":1}"),
        ("application/x-ndjson", b"{\"a\":1}\n{\"a\":1}"),
        ("text/plain", b"{\"a\":1}"),
        ("text/plain", b" {\"a\":1}"),
        ("application/x-www-form-urlencoded", b"a=1&b=2"),
        ("application/x-www-form-urlencoded", b"b=2&a=1"),
        ("application/x-www-form-urlencoded", b"a=1&a=1"),
        ("application/x-www-form-urlencoded", b"a=1%26b=2"),
        ("application/x-www-form-urlencoded", b"a1=&b=2"),
        ("application/x-protobuf", b"\x08\x01"),
        ("application/x-protobuf", b"\x08\x81\x00"),
        ("multipart/form-data; boundary=b", b"--b\r\nA: 1\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nA: 1\r\n\r\nx\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nA: 1\r\n\r\n\r\n--b\r\nA: 1\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--"),
    ];
    let mut digests: Vec<RequestDigest> =
        bodies.iter().map(|(kind, body)| digest(kind, body).unwrap()).collect();
    for (path, query) in [
        ("/a/b", None),
        ("/a%2Fb", None),
        ("/a/b/", None),
        ("/a//b", None),
        ("/A/b", None),
        ("/a/b", Some("")),
        ("/a/b", Some("c=1&d=2")),
        ("/a/b", Some("d=2&c=1")),
        ("/a/b", Some("c=1+2")),
        ("/a/b", Some("c=1%202")),
        ("/a/b", Some("c=1%2B2")),
    ] {
        digests.push(of_target(path, query).unwrap());
    }
    let fields: Vec<Vec<(&str, &[u8])>> = vec![
        vec![("x-http-method-override", b"DELETE")],
        vec![("x-a", b"1"), ("x-a", b"2")],
        vec![("x-a", b"2"), ("x-a", b"1")],
        vec![("x-a", b"1, 2")],
        vec![("x-a", b"1x-b2")],
        vec![("x-a", b"1"), ("x-b", b"2")],
        vec![("range", b"bytes=0-1")],
        vec![("cookie", b"a=b")],
        vec![("if-match", b"*")],
    ];
    digests.extend(fields.iter().map(|fields| of_fields(fields).unwrap()));
    for (n, one) in digests.iter().enumerate() {
        assert!(digests.iter().skip(n + 1).all(|other| other != one), "number {n} has a twin");
    }
}

#[test]
fn what_readers_differ_in_is_refused() {
    for path in ["/a/../b", "/./a", "/%2e%2E/b", "/a/.%2e", "/%", "/%4", "/%zz"] {
        assert!(of_target(path, None).is_err(), "{path}");
    }
    assert!(of_target("/", Some("%")).is_err());
    for body in ["a=%", "a=%4", "%zz=1"] {
        assert!(digest("application/x-www-form-urlencoded", body.as_bytes()).is_err(), "{body}");
    }
    let kind = "multipart/form-data; boundary=b";
    for body in [
        "--b--",
        "x--b\r\n\r\nx\r\n--b--",
        "--b\r\n\r\nx\r\n--b--x",
        "--b\r\n\r\nx",
        "--b\n\nx\n--b--",
        "--b\r\nA: 1\r\na: 2\r\n\r\nx\r\n--b--",
        "--b\r\nA: 1\r\n folded\r\n\r\nx\r\n--b--",
        "--b \r\n\r\nx\r\n--b--",
        "--b\r\nA: 1\r\n--b--",
    ] {
        let is_empty = body == "--b--";
        assert_eq!(digest(kind, body.as_bytes()).is_err(), !is_empty, "{body:?}");
    }
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=\"\"",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset=\"utf-8",
        "application/json; a",
    ] {
        assert!(digest(kind, b"--b--").is_err(), "{kind}");
    }
    let twice: &[(&str, &[u8])] = &[("content-type", b"application/json"), ("Content-Type", b"text/plain")];
    assert!(of_fields(twice).is_err());
}

/// The fenced block behind the heading `## Test vectors` is a list of requests, each with its digest.
#[test]
fn the_documents_vectors_hold() {
    let (_, behind) = DOCUMENT.split_once("## Test vectors").unwrap();
    let (_, block) = behind.split_once("```json\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let vectors: Vec<Value> = serde_json::from_str(block).unwrap();
    assert!(vectors.len() >= 8, "{}", vectors.len());
    for vector in &vectors {
        let text = |name: &str| vector[name].as_str();
        let fields: Vec<(&str, &[u8])> = vector["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap().as_bytes()))
            .collect();
        let read = canonical_digest(&CanonicalParts {
            method: text("method").unwrap(),
            path: text("path").unwrap(),
            query: text("query"),
            fields: &fields,
            body: text("body").unwrap().as_bytes(),
        });
        match text("sha256") {
            Some(wanted) => assert_eq!(read.unwrap().to_string(), wanted, "{vector}"),
            None => assert!(read.is_err(), "{vector}"),
        }
    }
}

#[test]
fn the_fields_left_out_are_sorted() {
    // They are searched by halves.
    for name in ["accept-encoding", "authorization", "te", "x-request-id", "x-stainless-retry-count"] {
        assert!(!counts(name), "{name}");
    }
    for name in ["accept", "content-type", "cookie", "anthropic-version", "x-amz-target", "x-forwarde"] {
        assert!(counts(name), "{name}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Canonical text is JSON, says the same, and is its own canonical form.
    #[test]
    fn canonical_text_is_stable(value in value()) {
        let once = json(&value.to_string()).unwrap();
        prop_assert_eq!(json(&once).unwrap(), once.clone());
        prop_assert_eq!(json(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), once);
    }

    #[test]
    fn no_bytes_make_it_panic(
        kind in "(application/json|multipart/x; boundary=b|application/x-www-form-urlencoded|application/x-ndjson|.{0,20})",
        body in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'-'), Just(b'%'), Just(b'\r'), Just(b'\n')
        ], 0..64),
    ) {
        let _ = digest(&kind, &body);
    }
}
