//! `sluice approvals`: the queue of approvals, through the admin API.
//!
//! Who decides is proved by a token, as anyone who asks the gateway is; it is read from a file or the environment, never
//! from the command line, which others on the machine can see. What the server says is shown without control characters:
//! a request under approval must not be able to write on the approver's terminal.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::terminal::{Terminal, print};

/// How long the admin server may take to answer.
const ANSWER_S_MAX: u64 = 30;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// The admin server where nothing else is said.
const ADMIN: &str = "http://127.0.0.1:9090";

/// Approvals: list and show what waits, approve, deny, revoke.
///
/// The admin server is told by --admin or SLUICE_ADMIN [default: http://127.0.0.1:9090]; who you are, by the token in
/// --token-file or SLUICE_TOKEN.
///
/// Exit: 0 done; 1 it was refused, or the server does not answer; 2 usage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sluice approvals list --group dba\n  sluice approvals approve 3f0c… --reason 'ticket 4711'"
)]
pub(crate) struct ApprovalsArgs {
    /// The admin server: http://HOST:PORT or https://…
    #[arg(long, global = true, value_name = "URL")]
    admin: Option<String>,
    /// The file that holds your token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// JSON, as the API gives it
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List approvals, newest first
    List(ListArgs),
    /// Show one: who asks, what for, and the masked request
    Show {
        /// The approval
        id: String,
    },
    /// Agree
    Approve(DeedArgs),
    /// Say no
    Deny(DeedArgs),
    /// Take a grant or window back
    Revoke(DeedArgs),
    /// Take back what you have asked for
    Cancel(DeedArgs),
    /// Override the people who are asked; a review stays open until someone else closes it
    BreakGlass(DeedArgs),
    /// Close the review of a broken glass
    Review(DeedArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// pending, approved, denied, expired, cancelled, consumed, revoked, or all
    #[arg(long, default_value = "pending")]
    state: String,
    /// To this upstream
    #[arg(long)]
    upstream: Option<String>,
    /// Of this operation
    #[arg(long)]
    operation: Option<String>,
    /// Of this account: issuer:id
    #[arg(long)]
    subject: Option<String>,
    /// Pending ones that wait for this group
    #[arg(long)]
    group: Option<String>,
    /// Of at least this risk
    #[arg(long, value_name = "N")]
    risk_min: Option<u32>,
    /// The next page, as the page before has named it
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// So many of them
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

#[derive(Debug, Args)]
struct DeedArgs {
    /// The approval
    id: String,
    /// Why: it is kept in the record
    #[arg(long)]
    reason: String,
}

pub(crate) fn run(args: &ApprovalsArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let client = Client::new(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::work(format!("can't start: {e}")))?;
    runtime.block_on(async {
        match &args.command {
            Command::List(list) => {
                let read = client.get("", &query(list)).await?;
                if args.json { print(pretty(&read)) } else { show_list(&read) }
            }
            Command::Show { id } => {
                let read = client.get(&format!("/{}", checked(id)?), &[]).await?;
                if args.json { print(pretty(&read)) } else { show_one(&read) }
            }
            Command::Approve(deed) => client.act("approve", deed, args.json, terminal).await,
            Command::Deny(deed) => client.act("deny", deed, args.json, terminal).await,
            Command::Revoke(deed) => client.act("revoke", deed, args.json, terminal).await,
            Command::Cancel(deed) => client.act("cancel", deed, args.json, terminal).await,
            Command::BreakGlass(deed) => client.act("break-glass", deed, args.json, terminal).await,
            Command::Review(deed) => client.act("review", deed, args.json, terminal).await,
        }
    })?;
    Ok(0)
}

/// An id goes into a path.
fn checked(id: &str) -> Result<&str, Failure> {
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id.then_some(id).ok_or_else(|| Failure::usage("an id of an approval has letters and digits only"))
}

fn query(list: &ListArgs) -> Vec<(&'static str, String)> {
    let texts = [
        ("upstream", &list.upstream),
        ("operation", &list.operation),
        ("subject", &list.subject),
        ("group", &list.group),
        ("after", &list.after),
    ];
    let given = texts.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value)));
    let risk = list.risk_min.map(|n| ("risk_min", n.to_string()));
    let always = [("state", list.state.clone()), ("limit", list.limit.to_string())];
    always.into_iter().chain(given).chain(risk).collect()
}

/// The admin server, and who asks it.
struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    fn new(args: &ApprovalsArgs) -> Result<Client, Failure> {
        let named = args.admin.clone().or_else(|| std::env::var("SLUICE_ADMIN").ok());
        let admin = named.unwrap_or_else(|| ADMIN.to_owned());
        let url = reqwest::Url::parse(&admin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Failure::usage("--admin is http://HOST:PORT or https://…"))?;
        let token = token(args.token_file.as_deref())?;
        if token.is_some() && url.scheme() == "http" && !is_loopback(&url) {
            let reason = "the token would cross the network in plain text: the admin server is reached by https, or \
                          on this machine";
            return Err(Failure::usage(reason));
        }
        // Nobody else has chosen a provider in this command.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(ANSWER_S_MAX))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| Failure::work("can't set up TLS"))?;
        Ok(Client { http, base: format!("{}/api/v1/approvals", admin.trim_end_matches('/')), token })
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.send(self.http.get(format!("{}{path}", self.base)).query(query)).await
    }

    async fn act(&self, what: &str, deed: &DeedArgs, json: bool, terminal: &Terminal) -> Result<(), Failure> {
        let url = format!("{}/{}/{what}", self.base, checked(&deed.id)?);
        let read = self.send(self.http.post(url).json(&json!({ "reason": deed.reason }))).await?;
        if json {
            return print(pretty(&read));
        }
        let state = text(&read, "/state");
        print(format_args!("{} {}", text(&read, "/id"), terminal.mark(state != "denied", &state)))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|e| {
            let why = if e.is_timeout() { "does not answer in time" } else { "can't be reached" };
            Failure::work(format!("the admin server at {} {why}", self.base))
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|_| Failure::work("the admin server broke off"))?;
        let read: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(read);
        }
        let detail = text(&read, "/detail");
        let detail = if detail.is_empty() { "the admin server has no approvals".to_owned() } else { detail };
        Err(Failure::work(format!("{detail} (status {})", status.as_u16())))
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(file) = file else {
        return Ok(std::env::var("SLUICE_TOKEN").ok().filter(|token| !token.is_empty()));
    };
    let mut token = String::new();
    let read = std::fs::File::open(file).and_then(|f| f.take(TOKEN_BYTES_MAX).read_to_string(&mut token));
    read.map_err(|e| Failure::usage(format!("can't read the token in {}: {e}", file.display())))?;
    Ok(Some(token.trim().to_owned()))
}

fn pretty(read: &Value) -> String {
    // JSON escapes control characters by itself.
    serde_json::to_string_pretty(read).unwrap_or_default()
}

/// The text at a place, as a terminal may show it.
fn text(read: &Value, pointer: &str) -> String {
    let text = read.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    shown(text)
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' || is_mark(c) { '\u{FFFD}' } else { c }).collect()
}

/// Characters that turn the order of what is shown.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}')
}

fn number(read: &Value, pointer: &str) -> i64 {
    read.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn seconds_left(read: &Value, now_ms: i64) -> String {
    match number(read, "/expires_ms").saturating_sub(now_ms) / 1_000 {
        s @ ..=-1 => format!("{} s ago", -s),
        s @ 0..90 => format!("{s} s"),
        s => format!("{} min", s / 60),
    }
}

fn show_list(read: &Value) -> Result<(), Failure> {
    let now_ms = number(read, "/now_ms");
    let empty = Vec::new();
    for approval in read.get("approvals").and_then(Value::as_array).unwrap_or(&empty) {
        let columns = [
            text(approval, "/id"),
            text(approval, "/state"),
            seconds_left(approval, now_ms),
            format!("risk {}", number(approval, "/risk")),
            text(approval, "/subject"),
            text(approval, "/upstream"),
            text(approval, "/operation"),
        ];
        // A tab or line break inside a column would make another one.
        print(columns.map(|column| column.replace('\n', " ")).join("\t"))?;
    }
    let after = text(read, "/after");
    if !after.is_empty() && std::io::stdout().is_terminal() {
        print(format_args!("more: --after {after}"))?;
    }
    Ok(())
}

fn show_one(read: &Value) -> Result<(), Failure> {
    let list = |pointer: &str| {
        let all = read.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().filter_map(Value::as_str).map(shown).collect::<Vec<_>>().join(", ")
    };
    let each = |pointer: &str, line: &dyn Fn(&Value) -> String| {
        let all = read.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().map(line).collect::<Vec<_>>().join("; ")
    };
    let labels = read.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(label, n)| shown(&format!("{label} × {n}"))).collect();
    let facts = [
        ("state", text(read, "/state")),
        ("kind", text(read, "/kind")),
        ("ends in", seconds_left(read, number(read, "/now_ms"))),
        (
            "who",
            format!(
                "{}:{} ({})",
                text(read, "/subject/issuer"),
                text(read, "/subject/id"),
                text(read, "/subject/kind")
            ),
        ),
        ("proved by", text(read, "/subject/proof")),
        ("owner", text(read, "/subject/owner")),
        ("actor", text(read, "/subject/actor")),
        ("groups", list("/subject/groups")),
        ("purpose", text(read, "/subject/purpose")),
        ("chain", text(read, "/subject/chain")),
        ("steps so far", list("/steps")),
        ("operation", text(read, "/operation")),
        ("upstream", text(read, "/upstream")),
        ("policies", list("/policies")),
        (
            "risk",
            format!(
                "{} {}",
                number(read, "/risk/score"),
                each("/risk/parts", &|part| {
                    format!("{} {}", text(part, "/name"), number(part, "/score"))
                })
            ),
        ),
        ("found in it", labels.join(", ")),
        ("unmasked", list("/scope/reveal")),
        ("asked because", text(read, "/asked_because")),
        (
            "waits for",
            each("/waits_for", &|w| {
                format!("{}: {} of {}", text(w, "/group"), number(w, "/missing"), number(w, "/min"))
            }),
        ),
        ("agreed", each("/votes", &|vote| format!("{}: {}", text(vote, "/who"), text(vote, "/reason")))),
        ("last reason", text(read, "/reason")),
        ("sha-256", text(read, "/digest")),
    ];
    print(format_args!("approval {}", text(read, "/id")))?;
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        print(format_args!("  {name:<14} {}", value.replace('\n', "\n                 ")))?;
    }
    let request = text(read, "/request");
    if request.is_empty() { Ok(()) } else { print(format_args!("the request, masked:\n{request}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_writes_on_the_terminal() {
        assert_eq!(
            shown("a\u{1b}[2Jb\r\u{9b}31m\u{202e}c\nd"),
            "a\u{FFFD}[2Jb\u{FFFD}\u{FFFD}31m\u{FFFD}c\nd"
        );
    }

    #[test]
    fn ids_are_no_paths() {
        for (id, good) in [("3f0c", true), ("", false), ("../keys", false), ("a?b", false), ("a%2fb", false)]
        {
            assert_eq!(checked(id).is_ok(), good, "{id}");
        }
    }

    #[test]
    fn tokens_cross_no_network_in_the_clear() {
        for (url, near) in [
            ("http://127.0.0.1:9090", true),
            ("http://[::1]:9090", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1:9090", false),
            ("http://localhost.evil.example", false),
        ] {
            assert_eq!(is_loopback(&reqwest::Url::parse(url).unwrap()), near, "{url}");
        }
    }
}
