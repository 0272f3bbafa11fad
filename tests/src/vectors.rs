//! Tables of messages, right and wrong, and what either side must see of them: `tests/cases/*.toml`.
//!
//! A request's case says what a client sends and which requests of those reach upstream; each is answered with what
//! upstream has seen, so that no answer can be taken for another's. A response's case says what upstream answers and what
//! the client gets; the request after it must get its own answer. All cases of a table meet one gateway, and one pool.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;

use crate::checkout;
use crate::wire::{End, Wire};

/// What can be written short in a case.
const SHORT: [(&str, &str); 4] = [
    ("{post}", "POST /a HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n"),
    ("{get}", "GET /g HTTP/1.1\r\nHost: test\r\n"),
    ("{hidden}", "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("{planted}", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nplanted"),
];

/// Fields that every forwarded request has, and that are not told.
const USUAL: [&str; 4] = ["host", "content-type", "accept-encoding", "transfer-encoding"];

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Of requests.
    #[serde(default)]
    pub request: Vec<RequestCase>,
    /// Of responses.
    #[serde(default)]
    pub response: Vec<ResponseCase>,
}

/// What a client sends on a connection of its own before it ends its side.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestCase {
    /// The section of an RFC that says so: `9112 6.1`.
    pub section: String,
    /// What it is.
    pub what: String,
    /// What is sent.
    pub send: String,
    /// The requests that upstream sees, and that are answered with 200.
    #[serde(default)]
    pub passes: Vec<String>,
    /// The status that the client gets after those, before its connection is closed.
    pub refused: Option<u16>,
}

/// What upstream answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseCase {
    /// The section of an RFC that says so.
    pub section: String,
    /// What it is.
    pub what: String,
    /// The method of the request.
    #[serde(default = "get")]
    pub method: String,
    /// The bytes of the answer.
    pub answer: String,
    /// Upstream closes the connection after them.
    #[serde(default)]
    pub closes: bool,
    /// What the client gets: status and body; `broken` is a 502 or a body that is not complete.
    pub client: String,
}

fn get() -> String {
    "GET".to_owned()
}

impl Table {
    /// Reads `tests/cases/NAME.toml`.
    #[must_use]
    pub fn read(name: &str) -> Table {
        let path = checkout::root().join("tests/cases").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).expect("the table is there");
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

/// The bytes that a case means.
#[must_use]
pub fn filled(text: &str) -> String {
    SHORT.iter().fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}

/// A request as upstream has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// All of it in short: method, target, unusual fields; the body after `|`, trailers after `+`.
    pub text: String,
}

/// An upstream that reads strictly and writes down what it has read.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    /// Answers every request with the bytes that `answer` makes of it; where it says so, the connection is closed.
    #[must_use]
    pub fn start(answer: impl Fn(&Seen) -> (Vec<u8>, bool) + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || record(stream, &*answer, &log));
            }
        });
        Recorder { address, seen }
    }

    /// Its address as `--upstream` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was seen since this was last asked: whole requests, and what is none (`broken …`).
    #[must_use]
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no holder panics"))
    }
}

fn record(mut stream: TcpStream, answer: &dyn Fn(&Seen) -> (Vec<u8>, bool), log: &Mutex<Vec<Seen>>) {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match message(&buffer) {
            Ok(Some((message, len))) => {
                buffer.drain(..len);
                let seen = message.seen();
                let (bytes, closes) = answer(&seen);
                log.lock().expect("no holder panics").push(seen);
                if stream.write_all(&bytes).is_err() || closes {
                    return;
                }
            }
            Ok(None) => match stream.read(&mut chunk) {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                // What has come of another request is not one.
                _ => return,
            },
            Err(why) => {
                let text = format!("broken ({why}): {:?}", String::from_utf8_lossy(&buffer));
                log.lock().expect("no holder panics").push(Seen {
                    method: String::new(),
                    target: String::new(),
                    text,
                });
                return;
            }
        }
    }
}

/// A message as read from bytes.
struct Raw {
    line: String,
    fields: Vec<(String, String)>,
    body: Option<String>,
    trailers: Vec<(String, String)>,
}

impl Raw {
    fn seen(&self) -> Seen {
        let mut words = self.line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut text = format!("{method} {target}");
        for (name, value) in &self.fields {
            let is_no_body = name == "content-length" && value == "0";
            if !USUAL.contains(&name.as_str()) && !is_no_body {
                text.push_str(&format!(" {name}: {value};"));
            }
        }
        text.push_str(&self.content());
        Seen { method: method.to_owned(), target: target.to_owned(), text }
    }

    fn content(&self) -> String {
        let mut text = self.body.as_ref().map(|body| format!(" | {body}")).unwrap_or_default();
        for (name, value) in &self.trailers {
            text.push_str(&format!(" + {name}: {value}"));
        }
        text
    }
}

/// Lines with CRLF and nothing else, and where they end: behind an empty one.
fn lines(bytes: &[u8]) -> Result<Option<(Vec<&str>, usize)>, &'static str> {
    let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..at]).map_err(|_| "not UTF-8")?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    let plain = |line: &&str| !line.contains(['\r', '\n', '\0']) && !line.starts_with([' ', '\t']);
    lines.iter().all(plain).then_some(Some((lines, at + 4))).ok_or("a line that is none")
}

fn fields(lines: &[&str]) -> Result<Vec<(String, String)>, &'static str> {
    let field = |line: &&str| {
        let (name, value) = line.split_once(": ").ok_or("not a field")?;
        let is_name = !name.is_empty() && !name.contains([' ', '\t']);
        is_name.then(|| (name.to_ascii_lowercase(), value.to_owned())).ok_or("not a name")
    };
    lines.iter().map(field).collect()
}

/// The request at the start of `bytes`, as a gateway writes it, and its length; `None` while it is not whole.
fn message(bytes: &[u8]) -> Result<Option<(Raw, usize)>, &'static str> {
    let Some((head, mut at)) = lines(bytes)? else { return Ok(None) };
    let fields_of_head = fields(&head[1..])?;
    let value =
        |name: &str| fields_of_head.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    let (coding, length): (Vec<&str>, Vec<&str>) = (value("transfer-encoding"), value("content-length"));
    let mut raw = Raw { line: head[0].to_owned(), fields: Vec::new(), body: None, trailers: Vec::new() };
    match (coding.as_slice(), length.as_slice()) {
        ([], [] | ["0"]) => {}
        ([], [length]) => {
            let len: usize = length.parse().map_err(|_| "not a length")?;
            let Some(body) = bytes.get(at..at + len) else { return Ok(None) };
            raw.body = Some(String::from_utf8_lossy(body).into_owned());
            at += len;
            raw.fields = fields_of_head.into_iter().filter(|(name, _)| name != "content-length").collect();
            return Ok(Some((raw, at)));
        }
        (["chunked"], []) => {
            let mut body = Vec::new();
            loop {
                let rest = &bytes[at..];
                let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
                let digits = std::str::from_utf8(&rest[..end]).map_err(|_| "not a size")?;
                let size = usize::from_str_radix(digits, 16).map_err(|_| "not a size")?;
                at += end + 2;
                if size == 0 {
                    break;
                }
                let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
                body.extend_from_slice(chunk.strip_suffix(b"\r\n").ok_or("no end of a chunk")?);
                at += size + 2;
            }
            if bytes[at..].starts_with(b"\r\n") {
                at += 2;
            } else {
                let Some((trailers, len)) = lines(&bytes[at..])? else { return Ok(None) };
                raw.trailers = fields(&trailers)?;
                at += len;
            }
            raw.body = Some(String::from_utf8_lossy(&body).into_owned());
        }
        _ => return Err("two framings"),
    }
    raw.fields = fields_of_head;
    Ok(Some((raw, at)))
}

/// What a client got on a connection, all read: statuses, with the bodies of 200s.
fn answers(wire: &mut Wire) -> Vec<String> {
    let mut answers = Vec::new();
    while let Some(head) = wire.try_head() {
        let status = head.status();
        if status == 200 {
            let message = wire.body_of(head);
            let cut = if message.end == End::Truncated { "cut " } else { "" };
            answers.push(format!("200 {cut}{}", message.text()));
        } else {
            if status >= 200 {
                wire.body_of(head);
            }
            answers.push(status.to_string());
        }
    }
    answers
}

fn ok(text: &str) -> Vec<u8> {
    crate::wire::ok("text/plain", text)
}

/// Runs the requests of a table against gateways that `start` makes before an upstream's URL.
pub fn check_requests<G>(table: &Table, start: impl Fn(&str) -> (G, SocketAddr)) {
    let upstream = Recorder::start(|seen| (ok(&seen.text), false));
    let (_gateway, address) = start(&upstream.url());
    let mut wrong = Vec::new();
    for (n, case) in table.request.iter().enumerate() {
        let mut client = Wire::connect(address);
        // It may be refused before all of it is sent.
        client.try_send(filled(&case.send));
        client.end_sending();
        let got = answers(&mut client);
        let next = format!("/next/{n}");
        let mut other = Wire::connect(address);
        let answer = other.exchange(format!("GET {next} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let seen: Vec<String> =
            upstream.take().into_iter().filter(|s| s.target != next).map(|seen| seen.text).collect();
        let passes: Vec<String> = case.passes.iter().map(|text| filled(text)).collect();
        let mut wanted: Vec<String> = passes.iter().map(|text| format!("200 {text}")).collect();
        wanted.extend(case.refused.map(|status| status.to_string()));
        if got != wanted || seen != passes || answer.text() != format!("GET {next}") {
            let RequestCase { section, what, .. } = case;
            wrong.push(format!(
                "{section}: {what}\n  client: {got:?}\n  upstream: {seen:?}\n  after: {:?}",
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.request.len(), wrong.join("\n"));
}

/// Runs the responses of a table.
pub fn check_responses<G>(table: &Table, start: impl Fn(&str) -> (G, SocketAddr)) {
    let scripts: Vec<(Vec<u8>, bool)> =
        table.response.iter().map(|case| (filled(&case.answer).into_bytes(), case.closes)).collect();
    let upstream = Recorder::start(move |seen| {
        let number = seen.target.strip_prefix("/v/").and_then(|n| n.parse::<usize>().ok());
        number.and_then(|n| scripts.get(n).cloned()).unwrap_or_else(|| (ok(&seen.text), false))
    });
    let (_gateway, address) = start(&upstream.url());
    let mut wrong = Vec::new();
    for (n, case) in table.response.iter().enumerate() {
        let mut client = Wire::connect(address);
        client.send(format!("{} /v/{n} HTTP/1.1\r\nHost: test\r\n\r\n", case.method));
        let (got, mut is_open) = answer_to(&mut client, &case.method);
        // Its own answer, on this connection where that goes on, and on another one.
        let mut own = Vec::new();
        for next in [format!("/own/{n}"), format!("/other/{n}")] {
            if !std::mem::replace(&mut is_open, false) {
                client = Wire::connect(address);
            }
            let answer = client.exchange(format!("GET {next} HTTP/1.1\r\nHost: test\r\n\r\n"));
            if answer.text() != format!("GET {next}") {
                own.push(answer.text().to_owned());
            }
        }
        let seen = upstream.take().len();
        let is_broken = got == "502" || got.starts_with("200 cut");
        let is_wanted = if case.client == "broken" { is_broken } else { got == filled(&case.client) };
        if !is_wanted || !own.is_empty() || seen != 3 {
            let ResponseCase { section, what, client, .. } = case;
            wrong.push(format!(
                "{section}: {what}\n  wanted {client:?}, got {got:?}, then {own:?}; {seen} requests"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.response.len(), wrong.join("\n"));
}

/// Status, body and trailers of a final response, and whether the connection goes on.
fn answer_to(client: &mut Wire, method: &str) -> (String, bool) {
    let Some(head) = client.try_head() else { return ("nothing".to_owned(), false) };
    let closes = head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let status = head.status();
    if method == "HEAD" {
        return (status.to_string(), !closes);
    }
    let message = client.body_of(head);
    let is_cut = message.end == End::Truncated;
    if status != 200 {
        return (status.to_string(), !closes && !is_cut);
    }
    let cut = if is_cut { "cut " } else { "" };
    let raw = Raw { line: String::new(), fields: Vec::new(), body: None, trailers: message.trailers.clone() };
    (format!("200 {cut}{}{}", message.text(), raw.content()), !closes && !is_cut)
}
