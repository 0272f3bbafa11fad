//! The gate: what goes on, with what in it, and what does not, with a desk that the test plays by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use sluice_data::desk::{
    Answer, CREDENTIAL_FIELDS, Desk, DeskConfig, Question, Refusal, RefusalKind, Rulesets, Ruling, Secret,
    SetField,
};
use sluice_data::{
    Gateway, GatewayConfig, IoDriver, ListenAddress, ListenerConfig, RouteConfig, Routing, UpstreamConfig,
    UpstreamUrl,
};
use sluice_engine::{Action, CompileOptions, Confidence, Pattern, Rule, Ruleset, Strategy, Suppress};
use sluice_policy::{Access, Kind, Proof, Subject, Verdict};

const WAIT: Duration = Duration::from_secs(10);
const KEY: &str = "AKIAEZH5VTGLTMQAZX6T";

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park_timeout(WAIT);
    }
}

/// An upstream that answers everything with `reply`, and tells the requests, head and body.
fn upstream(reply: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, requests)) = (listener.local_addr().unwrap(), channel());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || serve(stream, reply, &sender));
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, reply: &str, requests: &Sender<String>) {
    while let Some(request) = message(&mut stream) {
        let _ = requests.send(request);
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// One message: its head, and the body that it announces.
fn message(stream: &mut TcpStream) -> Option<String> {
    let (mut came, mut byte) = (Vec::new(), [0]);
    let mut whole = None;
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        if whole.is_none() && text.ends_with("\r\n\r\n") {
            let head = text.to_ascii_lowercase();
            let len = head.split("content-length: ").nth(1).and_then(|l| l.split("\r\n").next());
            let len: usize = len.map_or(0, |len| len.parse().unwrap());
            whole = Some(if head.contains("chunked") { usize::MAX } else { came.len() + len });
        }
        let is_whole = match whole {
            Some(usize::MAX) => text.contains("\r\n0\r\n") && text.ends_with("\r\n\r\n"),
            Some(len) => came.len() >= len,
            None => false,
        };
        if is_whole {
            return Some(text);
        }
        match stream.read(&mut byte) {
            Ok(1) => came.push(byte[0]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

fn ruleset() -> Arc<Ruleset> {
    let rule = |id: &str, regex: &str, action, labels: &[&str]| Rule {
        id: id.into(),
        entity: id.into(),
        description: String::new(),
        pattern: Pattern::Regex(regex.into()),
        keywords: Vec::new(),
        near: 0,
        validators: Vec::new(),
        suppress: Suppress::default(),
        max_len: Some(20),
        confidence: Confidence::High,
        action,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        strategy: Strategy::Label,
        priority: None,
    };
    let rules = vec![
        rule("key", r"\bAKIA[0-9A-Z]{16}\b", Action::Mask, &[]),
        rule("pass", r"\bpassword\b", Action::Label, &["word:password"]),
    ];
    Ruleset::compile(rules, &CompileOptions::default()).unwrap()
}

struct Set {
    gateway: Gateway,
    requests: Receiver<String>,
    /// Questions as they were asked, `Debug`.
    asked: Receiver<String>,
    desk: Arc<Desk>,
}

/// A gateway whose desk answers by `decide`; one that gives nothing drops the question.
fn start(
    config: DeskConfig,
    reply: &'static str,
    decide: impl Fn(&Question) -> Option<Answer> + Send + 'static,
) -> Set {
    let (address, requests) = upstream(reply);
    let url: UpstreamUrl = format!("http://{address}").parse().unwrap();
    let routing =
        Routing::everything_to(UpstreamConfig::new("u", &url, None), RouteConfig::new("r", 0, ruleset()));
    let listener = ListenerConfig::new("l", ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    let mut gateway = GatewayConfig::new(listener, routing, Access::without_identity(true).unwrap());
    let desk = Arc::new(Desk::new(config));
    (gateway.shards, gateway.io, gateway.desk) = (1, IoDriver::Auto, Some(Arc::clone(&desk)));
    let (sender, asked) = channel();
    let taken = Arc::clone(&desk);
    thread::spawn(move || {
        loop {
            let question = block_on(taken.next());
            let _ = sender.send(format!("{:?}", question.asked.target));
            if let Some(answer) = decide(&question) {
                question.answer(answer);
            }
        }
    });
    Set { gateway: Gateway::start(gateway).unwrap(), requests, asked, desk }
}

impl Set {
    fn ask(&self, request: &str) -> String {
        let Some(ListenAddress::Tcp(address)) = self.gateway.addresses().first() else { panic!("TCP") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        message(&mut stream).expect("an answer comes")
    }

    fn nothing_went_on(&self) {
        assert!(self.requests.try_recv().is_err(), "something went upstream");
    }
}

fn go() -> Ruling {
    let verdict = Verdict {
        action: sluice_policy::Action::Allow,
        policies: vec!["p".into()],
        version: "v".into(),
        ..Verdict::default()
    };
    Ruling {
        subject: Arc::new(Subject {
            id: "alice".into(),
            kind: Kind::Human,
            proof: Proof::Token { jti: None },
            ..Subject::default()
        }),
        verdict: Arc::new(verdict),
        approval: None,
        rulesets: None,
        strip_fields: CREDENTIAL_FIELDS.map(str::to_owned).to_vec(),
        strip_query: Vec::new(),
        set_fields: Vec::new(),
        set_query: Vec::new(),
        remembered: None,
    }
}

fn allow(_: &Question) -> Option<Answer> {
    Some(Answer::Go(Arc::new(go())))
}

const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 20\r\n\r\nAKIAEZH5VTGLTMQAZX6T";

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: h\r\n{fields}connection: close\r\n\r\n")
}

fn post(target: &str, fields: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n{fields}connection: close\r\n\r\n{body}"
    )
}

#[test]
fn without_an_answer_nothing_goes_on() {
    let short = DeskConfig { answer_ms_max: 50, ..DeskConfig::default() };
    // A question that is dropped, and one that is kept and never answered.
    let dropped = start(short.clone(), OK, |_| None);
    let kept = start(short.clone(), OK, |question| {
        // It sits on it for longer than may be.
        thread::sleep(Duration::from_millis(120));
        allow(question)
    });
    for set in [&dropped, &kept] {
        let answer = set.ask(&get("/", ""));
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 1\r\n"), "{answer}");
        assert!(answer.contains("\"code\":\"overloaded\""), "{answer}");
        set.nothing_went_on();
    }
    // A desk at which nobody sits, with room for one question.
    let (address, requests) = upstream(OK);
    let url: UpstreamUrl = format!("http://{address}").parse().unwrap();
    let routing =
        Routing::everything_to(UpstreamConfig::new("u", &url, None), RouteConfig::new("r", 0, ruleset()));
    let listener = ListenerConfig::new("l", ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    let mut config = GatewayConfig::new(listener, routing, Access::without_identity(true).unwrap());
    let desk = Arc::new(Desk::new(DeskConfig { questions_max: 1, ..short }));
    (config.shards, config.desk) = (1, Some(Arc::clone(&desk)));
    let (gateway, (_, asked)) = (Gateway::start(config).unwrap(), channel());
    let set = Set { gateway, requests, asked, desk };
    for _ in 0..3 {
        assert!(set.ask(&get("/", "")).starts_with("HTTP/1.1 503"));
    }
    assert_eq!(set.desk.depth(), 1);
    let stats = set.gateway.stats().snapshot();
    assert_eq!((stats.verdicts_asked, stats.verdicts_missed), (3, 3));
    set.nothing_went_on();
}

#[test]
fn refusals_have_the_shape_and_the_words() {
    for (kind, status, code, grpc) in [
        (RefusalKind::Unauthenticated, 401, "unauthenticated", "16"),
        (RefusalKind::Denied, 403, "denied", "7"),
        (RefusalKind::ApprovalPending, 403, "approval_pending", "7"),
        (RefusalKind::ApprovalDenied, 403, "approval_denied", "7"),
        (RefusalKind::RateLimited, 429, "rate_limited", "8"),
        (RefusalKind::BadRequest, 400, "bad_request", "3"),
        (RefusalKind::Overloaded, 503, "overloaded", "14"),
    ] {
        let refusal = Refusal { kind, detail: "\"no\" \\ \u{7}é %".into(), retry_after_s: 7 };
        let set = start(DeskConfig::default(), OK, move |_| Some(Answer::Refused(refusal.clone())));
        for target in ["/x", "/v1/chat/completions", "/v1/messages"] {
            let answer = set.ask(&get(target, "authorization: Bearer secret-of-mine\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.contains("Retry-After: 7\r\n"), "{answer}");
            assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
            assert!(answer.contains(r#"\"no\" \\ \u0007é %"#), "{answer}");
            assert!(!answer.contains("secret-of-mine"));
            assert_eq!(answer.contains("WWW-Authenticate: Bearer\r\n"), status == 401);
        }
        let answer =
            set.ask(&post("/s/m", "te: trailers\r\n", "").replace("application/json", "application/grpc"));
        assert!(answer.contains(&format!("grpc-status: {grpc}\r\n")), "{answer}");
        assert!(answer.contains("grpc-message: \"no\" \\ %07%C3%A9 %25\r\n"), "{answer}");
        set.nothing_went_on();
    }
}

#[test]
fn the_callers_credential_goes_and_the_gateways_comes() {
    let set = start(DeskConfig::default(), OK, |question| {
        let (asked, mut ruling) = (&question.asked, go());
        assert_eq!((asked.route.as_str(), asked.upstream.as_str(), asked.method.as_str()), ("r", "u", "GET"));
        let value = |name: &str, value: &str| SetField { name: name.into(), value: Secret::new(value) };
        ruling.set_fields = vec![value("Authorization", "Bearer of-the-gateway"), value("X-Team", "ours")];
        ruling.set_query = vec![value("key", "a b&c")];
        assert_eq!(asked.credentials.len(), 4);
        ruling.strip_query = vec!["b".into()];
        Some(Answer::Go(Arc::new(ruling)))
    });
    let mine = "Authorization: Bearer mine\r\nX-Api-Key: mine\r\napi-key: mine\r\nx-goog-api-key: mine\r\nx_api_key: mine\r\nx-team: mine\r\n";
    let answer = set.ask(&get("/a?key=mine&b=1&k%65y=mine&c", mine));
    assert!(answer.contains("[key]"), "{answer}");
    let request = set.requests.recv_timeout(WAIT).unwrap();
    assert!(request.starts_with("GET /a?c&key=a%20b%26c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Authorization: Bearer of-the-gateway\r\n"), "{request}");
    assert!(request.contains("X-Team: ours\r\n") && !request.contains("mine"), "{request}");
}

#[test]
fn a_body_that_decides_is_held_and_goes_on_as_it_came() {
    let set = start(DeskConfig::default(), OK, |question| {
        let Some(body) = &question.body else { return Some(Answer::ReadBody) };
        assert_eq!(String::from_utf8_lossy(&body.plain), format!("{{\"password\": \"{KEY}\"}}"));
        assert_eq!(String::from_utf8_lossy(&body.masked), "{\"password\": \"[key]\"}");
        let labels: Vec<_> = body.labels.iter().map(|(label, n)| (label.as_str(), *n)).collect();
        assert_eq!(labels, [("entity:key", 1), ("entity:pass", 1), ("word:password", 1)]);
        allow(question)
    });
    let body = format!("{{\"password\": \"{KEY}\"}}");
    for fields in ["", "expect: 100-continue\r\n"] {
        let answer = set.ask(&post("/", fields, &body));
        assert!(answer.contains(" 200 ") || answer.contains("100 Continue"), "{answer}");
        let request = set.requests.recv_timeout(WAIT).unwrap();
        assert!(request.ends_with("\r\n\r\n{\"password\": \"[key]\"}"), "{request}");
    }
    let chunked =
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    set.ask(&format!(
        "{chunked}5\r\n{}\r\n{:x}\r\n{}\r\n0\r\nx-t: 1\r\n\r\n",
        &body[..5],
        body.len() - 5,
        &body[5..]
    ));
    let request = set.requests.recv_timeout(WAIT).unwrap();
    assert!(request.contains("{\"password\": \"[key]\"}") && request.contains("x-t: 1"), "{request}");
    // Without a body there is nothing to read, and that is asked all the same.
    let none = start(DeskConfig::default(), OK, |question| match &question.body {
        Some(body) if body.plain.is_empty() => allow(question),
        Some(_) => None,
        None => Some(Answer::ReadBody),
    });
    assert!(none.ask(&get("/", "")).contains(" 200 "));
}

#[test]
fn a_body_that_can_not_be_held_goes_nowhere() {
    let config = DeskConfig { body_bytes_max: 100, held_bytes_max: 250, ..DeskConfig::default() };
    let set = start(config, OK, |question| match question.body {
        Some(_) => allow(question),
        None => Some(Answer::ReadBody),
    });
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    // Three copies are kept of one: as it came, decoded, masked.
    for (len, status) in [(83, "200"), (84, "503"), (100, "503"), (101, "413")] {
        let answer = set.ask(&post("/", "", &text(len)));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{len}: {answer}");
        assert_eq!(set.requests.try_recv().is_ok(), status == "200");
    }
    let answer = set.ask(&post("/", "", "{\"a\": nope}"));
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    let twice = start(DeskConfig::default(), OK, |_| Some(Answer::ReadBody));
    assert!(twice.ask(&post("/", "", "{}")).starts_with("HTTP/1.1 503"), "it can't decide");
    set.nothing_went_on();
    twice.nothing_went_on();
}

#[test]
fn what_is_remembered_is_not_asked_again_until_things_change() {
    let set = start(DeskConfig::default(), OK, |_| {
        Some(Answer::Go(Arc::new(Ruling { remembered: Some(WAIT), ..go() })))
    });
    let times = || set.asked.try_iter().count();
    let alice = get("/", "authorization: Bearer alice\r\n");
    set.ask(&alice);
    set.ask(&alice);
    assert_eq!(times(), 1);
    set.ask(&get("/", "authorization: Bearer bob\r\n"));
    set.ask(&get("/?q", "authorization: Bearer alice\r\n"));
    set.ask(&get("/", ""));
    assert_eq!(times(), 3, "another caller, another target, nobody");
    set.desk.forget();
    set.ask(&alice);
    assert_eq!(times(), 1);
    let stats = set.gateway.stats().snapshot();
    assert_eq!((stats.verdicts_asked, stats.verdicts_remembered), (5, 1));
}

#[test]
fn a_reader_gets_what_is_revealed_and_the_size_that_is_allowed() {
    let set = start(DeskConfig::default(), OK, |question| {
        let mut ruling = go();
        let ruleset = &question.asked.ruleset;
        let revealing = Arc::new(ruleset.for_reader(|entity| entity == "key", None));
        ruling.rulesets = Some(Rulesets { request: Arc::clone(ruleset), response: revealing });
        let mut verdict = (*ruling.verdict).clone();
        verdict.limits.bytes_max = question.asked.target.strip_prefix("/").and_then(|n| n.parse().ok());
        ruling.verdict = Arc::new(verdict);
        Some(Answer::Go(Arc::new(ruling)))
    });
    let answer = set.ask(&post("/20", "", &format!("\"{KEY}\"")));
    assert!(answer.ends_with(KEY), "{answer}");
    assert!(set.requests.recv_timeout(WAIT).unwrap().ends_with("\"[key]\""), "what it sends is masked");
    let answer = set.ask(&get("/19", ""));
    assert!(answer.starts_with("HTTP/1.1 403") && !answer.contains(KEY), "{answer}");
    let matches = set.gateway.stats().snapshot().matches;
    assert_eq!(matches.get("key"), Some(&3), "revealed or not, it is counted");
}

#[test]
fn a_response_is_cut_to_its_fields_and_rows_or_not_passed_on() {
    const ROWS: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n[{\"a\":1,\"b\":\"x\"},{\"a\":\"AKIAEZH5VTGLTMQAZX6T\"}]";
    let cut = |question: &Question| {
        let (mut ruling, ruleset) = (go(), &question.asked.ruleset);
        let fields = sluice_engine::Fields::only(&["$[*].a".to_owned()], &[]).unwrap();
        let response = Arc::new(ruleset.for_reader(|_| false, Some(&fields)));
        let has_fields = question.asked.target.ends_with('f');
        ruling.rulesets = has_fields.then(|| Rulesets { request: Arc::clone(ruleset), response });
        let mut verdict = (*ruling.verdict).clone();
        verdict.limits.rows_max = question.asked.target.get(1..2).and_then(|n| n.parse().ok());
        ruling.verdict = Arc::new(verdict);
        Some(Answer::Go(Arc::new(ruling)))
    };
    let set = start(DeskConfig::default(), ROWS, cut);
    for (target, status, body) in [
        ("/f", "200", r#"[{"a":1,"b":null},{"a":"[key]"}]"#),
        ("/2f", "200", r#"[{"a":1,"b":null},{"a":"[key]"}]"#),
        ("/2", "200", r#"[{"a":1,"b":"x"},{"a":"[key]"}]"#),
        ("/1", "403", ""),
        ("/1f", "403", ""),
    ] {
        let answer = set.ask(&get(target, ""));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with(body),
            "{target}: {answer}"
        );
    }
    // In a text there are neither paths nor rows.
    let text = start(DeskConfig::default(), OK, cut);
    for (target, status) in [("/f", "403"), ("/9", "403"), ("/", "200")] {
        assert!(text.ask(&get(target, "")).starts_with(&format!("HTTP/1.1 {status}")), "{target}");
    }
}

#[test]
fn a_client_that_reads_events_is_told_that_it_waits() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 28\r\n\r\ndata: AKIAEZH5VTGLTMQAZX6T\n\n";
    let waits = |question: &Question| {
        let id = "apr_1".into();
        question.mailbox.put(Answer::Waiting { id, at_most: WAIT, reads_events: true });
        let refusal =
            Refusal { kind: RefusalKind::ApprovalDenied, detail: "not \"now\"".into(), retry_after_s: 0 };
        Some(if question.asked.target.contains("no") {
            Answer::Refused(refusal)
        } else {
            Answer::Go(Arc::new(go()))
        })
    };
    let begun = |answer: &str| {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{answer}");
        assert!(answer.contains(": waits for approval apr_1\n\n"), "{answer}");
    };
    let set = start(DeskConfig::default(), EVENTS, waits);
    let answer = set.ask(&get("/v1/chat/completions", ""));
    begun(&answer);
    assert!(answer.contains("data: [key]\n\n") && !answer.contains(KEY), "{answer}");
    assert!(set.requests.recv_timeout(WAIT).unwrap().contains("Accept-Encoding: identity\r\n"));
    for (target, event) in [
        ("/v1/chat/completions?no", "data: {\"error\":{\"message\":\"not \\\"now\\\"\""),
        (
            "/v1/messages?no",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"permission_error\"",
        ),
    ] {
        let answer = set.ask(&get(target, ""));
        begun(&answer);
        assert!(answer.contains(event), "{answer}");
    }
    set.nothing_went_on();
    // What is no stream of events can't follow one that has begun.
    let text = start(DeskConfig::default(), OK, waits);
    let answer = text.ask(&get("/v1/chat/completions", ""));
    begun(&answer);
    assert!(answer.contains("\"code\":\"upstream_unreachable\"") && !answer.contains("[key]"), "{answer}");
}

#[test]
fn facts_have_a_limit_and_must_be_text() {
    let set = start(DeskConfig { facts_bytes_max: 60, ..DeskConfig::default() }, OK, allow);
    set.desk.set_fields(vec!["x-purpose".into()]);
    let long = |len: usize| get("/", &format!("authorization: {}\r\n", "a".repeat(len)));
    assert!(set.ask(&long(59)).contains(" 200 "));
    assert!(set.ask(&long(60)).starts_with("HTTP/1.1 431"));
    assert_eq!(set.requests.try_iter().count(), 1);
    let Some(ListenAddress::Tcp(address)) = set.gateway.addresses().first() else { panic!("TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nx-purpose: \xff\r\nconnection: close\r\n\r\n").unwrap();
    assert!(message(&mut stream).unwrap().starts_with("HTTP/1.1 400"));
    set.nothing_went_on();
}
