//! What of an exchange is recorded, and that what can't be recorded does not go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sluice_audit::{Archive, Cursor, LogOptions, Recorder, RecorderOptions, SigningKey, Writer};
use sluice_data::{
    Gateway, GatewayConfig, ListenAddress, ListenerConfig, Recording, RouteConfig, Routing, UpstreamConfig,
    UpstreamUrl,
};
use sluice_engine::{Action, CompileOptions, Confidence, Pattern, Rule, Ruleset, Strategy, Suppress};
use sluice_policy::Access;

const WAIT: Duration = Duration::from_secs(10);
const KEY: &str = "AKIAEZH5VTGLTMQAZX6T";

/// An upstream that answers each request with its key, and tells that it was asked.
fn upstream() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, asked)) = (listener.local_addr().unwrap(), channel());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut byte = [0];
                let mut came = Vec::new();
                while matches!(stream.read(&mut byte), Ok(1)) {
                    came.push(byte[0]);
                    if came.ends_with(b"\r\n\r\n") || came.ends_with(b"}") {
                        let _ = sender.send(());
                        let body = format!("{{\"key\":\"{KEY}\"}}");
                        let len = body.len();
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\nset-cookie: s={KEY}\r\nx-key: {KEY}\r\nconnection: close\r\n\r\n"
                        );
                        let _ = stream.write_all((head + &body).as_bytes());
                        return;
                    }
                }
            });
        }
    });
    (address, asked)
}

fn ruleset() -> std::sync::Arc<Ruleset> {
    let rule = Rule {
        id: "key".into(),
        entity: "key".into(),
        description: String::new(),
        pattern: Pattern::Regex(r"\bAKIA[0-9A-Z]{16}\b".into()),
        keywords: Vec::new(),
        near: 0,
        validators: Vec::new(),
        suppress: Suppress::default(),
        max_len: Some(20),
        confidence: Confidence::High,
        action: Action::Mask,
        labels: Vec::new(),
        strategy: Strategy::Label,
        priority: None,
    };
    Ruleset::compile(vec![rule], &CompileOptions::default()).unwrap()
}

struct Set {
    gateway: Gateway,
    asked: Receiver<()>,
    recorder: Recorder,
    writer: Writer,
    folder: PathBuf,
}

fn start(name: &str, is_strict: bool) -> Set {
    let folder = std::env::temp_dir().join(format!("sluice-recording-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let key = SigningKey::load_or_create(&folder.join("key.pem")).unwrap();
    let options = RecorderOptions::new(LogOptions::new(folder.join("record"), key));
    let (recorder, writer) = Recorder::start(options).unwrap();
    let (address, asked) = upstream();
    let url: UpstreamUrl = format!("http://{address}").parse().unwrap();
    let routing =
        Routing::everything_to(UpstreamConfig::new("u", &url, None), RouteConfig::new("r", 0, ruleset()));
    let listener = ListenerConfig::new("l", ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    let mut config = GatewayConfig::new(listener, routing, Access::without_identity(true).unwrap());
    config.shards = 1;
    config.recording = Some(Recording {
        recorder: recorder.clone(),
        strict: is_strict,
        strict_response: is_strict,
        digests: None,
    });
    Set { gateway: Gateway::start(config).unwrap(), asked, recorder, writer, folder }
}

impl Set {
    fn ask(&self) -> String {
        let Some(ListenAddress::Tcp(address)) = self.gateway.addresses().first() else { panic!("TCP") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let body = format!("{{\"k\":\"{KEY}\"}}");
        let len = body.len();
        let head = format!(
            "POST /p?q={KEY} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {len}\r\nauthorization: Bearer token-of-mine\r\nx-mine: {KEY}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut came = Vec::new();
        let _ = stream.read_to_end(&mut came);
        String::from_utf8_lossy(&came).into_owned()
    }
}

/// The records of a folder, as they are hashed.
fn lines(folder: &Path) -> Vec<String> {
    let mut tail = Archive::new(folder, None).tail(Cursor::default());
    let mut lines = Vec::new();
    while let Some((_, entries)) = tail.next_block().unwrap() {
        lines.extend(entries.into_iter().map(|entry| entry.json));
    }
    lines
}

#[test]
fn an_exchange_is_recorded_masked_before_it_is_passed_on() {
    for is_strict in [true, false] {
        let set = start(if is_strict { "strict" } else { "relaxed" }, is_strict);
        let answer = set.ask();
        assert!(answer.contains("{\"key\":\"[key]\"}"), "{answer}");
        set.asked.recv_timeout(WAIT).unwrap();
        let Set { gateway, recorder, writer, folder, .. } = set;
        gateway.join(Duration::from_millis(500));
        // Head and body of the request, head and body of the response, the end.
        drop(recorder);
        writer.close().unwrap();
        let lines = lines(&folder.join("record"));
        assert_eq!(lines.len(), 5, "{lines:#?}");
        let all = lines.join("\n");
        assert!(!all.contains(KEY) && !all.contains("token-of-mine"), "{all}");
        for part in ["\"kind\":\"request\"", "/p?q=[key]", "[not recorded]", "\"kind\":\"end\"", "complete"] {
            assert!(all.contains(part), "{part}: {all}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn what_can_not_be_recorded_does_not_go_on() {
    let set = start("closed", true);
    let Set { gateway, asked, recorder, writer, folder } = set;
    writer.close().unwrap();
    let other = start("unused", true);
    let set = Set { gateway, asked, recorder, writer: other.writer, folder: folder.clone() };
    let answer = set.ask();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("could not be recorded"), "{answer}");
    assert!(set.asked.try_recv().is_err(), "something went upstream");
    assert!(set.recorder.stats().refused > 0);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::remove_dir_all(&other.folder).unwrap();
}
