//! `sluice sessions`: the record, listed, shown, replayed and exported.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sluice_audit::{
    Archive, Entry, Piece, Record, VerdictName, asciicast, chain, har, replay, rfc3339, visible,
};
use sluice_control::{Filter, Index, Session};

use crate::args::{ExportArgs, ListArgs, RecordArgs, ReplayArgs, SessionsCommand, VerdictArg};
use crate::audit::{encryption_key, time};
use crate::failure::Failure;
use crate::terminal::{print, unwritable};

/// Where the index is, where nothing is said: beside the segments.
const INDEX_FILE: &str = "index.sqlite";

pub(crate) fn run(command: &SessionsCommand) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::work(format!("can't read the index: {e}")))?;
    runtime.block_on(async {
        match command {
            SessionsCommand::List(args) => list(args).await,
            SessionsCommand::Show { record, id } => show(&entries(record, id).await?),
            SessionsCommand::Replay(args) => run_replay(args).await,
            SessionsCommand::Export(args) => export(args).await,
            SessionsCommand::Chain { record, id, json } => show_chain(record, id, *json).await,
            SessionsCommand::Index { record } => rebuild(record).await,
        }
    })
}

fn index_file(args: &RecordArgs) -> PathBuf {
    args.index.clone().unwrap_or_else(|| args.dir.join(INDEX_FILE))
}

async fn open(args: &RecordArgs) -> Result<Index, Failure> {
    if !args.dir.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", args.dir.display())));
    }
    let archive = Archive::new(&args.dir, encryption_key(&args.key)?);
    Index::open(&index_file(args), archive).await.map_err(Failure::work)
}

async fn rebuild(args: &RecordArgs) -> Result<u8, Failure> {
    let file = index_file(args);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::work(format!("{}: {e}", file.display())));
            }
            Ok(()) | Err(_) => {}
        }
    }
    open(args).await.map(|_| 0)
}

async fn list(args: &ListArgs) -> Result<u8, Failure> {
    let verdict = args.verdict.map(|verdict| match verdict {
        VerdictArg::Allow => VerdictName::Allow,
        VerdictArg::Mask => VerdictName::Mask,
        VerdictArg::Approve => VerdictName::Approve,
        VerdictArg::Block => VerdictName::Block,
    });
    let filter = Filter {
        subject: args.subject.clone(),
        since_ns: time(args.since.as_deref())?,
        until_ns: time(args.until.as_deref())?,
        upstream: args.upstream.clone(),
        verdict,
        policy: args.policy.clone(),
        entity: args.entity.clone(),
        chain: args.chain.clone(),
        limit: args.limit,
    };
    let found = open(&args.record).await?.list(&filter).await.map_err(Failure::work)?;
    for session in &found {
        if args.json {
            print(serde_json::to_string(session).map_err(Failure::work)?)?;
        } else {
            print(visible(&line(session)))?;
        }
    }
    Ok(0)
}

/// A session in a line.
fn line(session: &Session) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let status = session.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (method, target) = (text(&session.method), text(&session.target));
    format!(
        "{} {} {} {} {} {} {method} {target} masked={} records={}",
        rfc3339(session.started_ns),
        session.session,
        text(&session.subject),
        text(&session.upstream),
        text(&session.verdict),
        status,
        session.spans,
        session.records
    )
}

async fn entries(args: &RecordArgs, id: &str) -> Result<Vec<Entry>, Failure> {
    let found = open(args).await?.entries(id).await.map_err(Failure::work)?;
    if found.is_empty() {
        return Err(Failure::work(format!("there is no session {id} in the record")));
    }
    Ok(found)
}

fn records(entries: Vec<Entry>) -> Vec<Record> {
    entries.into_iter().map(|entry| entry.record).collect()
}

fn show(entries: &[Entry]) -> Result<u8, Failure> {
    for entry in entries {
        let value: serde_json::Value = serde_json::from_str(&entry.json).map_err(Failure::work)?;
        print(serde_json::to_string_pretty(&value).map_err(Failure::work)?)?;
    }
    Ok(0)
}

async fn run_replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let pieces = replay(&records(entries(&args.record, &args.id).await?));
    let began = Instant::now();
    let mut out = std::io::stdout();
    let mut is_open = false;
    for piece in &pieces {
        if args.speed > 0.0 {
            let due = Duration::from_nanos(piece.at_ns).div_f64(args.speed);
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
        let written = write_piece(&mut out, piece, is_open).and_then(|()| out.flush());
        match written {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            Err(e) => return Err(unwritable(e)),
            Ok(()) => is_open = true,
        }
    }
    print("")?;
    Ok(0)
}

fn write_piece(out: &mut impl Write, piece: &Piece, is_open: bool) -> std::io::Result<()> {
    let text = visible(&piece.text);
    if piece.goes_on && is_open {
        return write!(out, "{text}");
    }
    let seconds = piece.at_ns as f64 / 1e9;
    write!(out, "{}+{seconds:.3}s {}: {text}", if is_open { "\n" } else { "" }, piece.voice.label())
}

async fn export(args: &ExportArgs) -> Result<u8, Failure> {
    let entries = entries(&args.record, &args.id).await?;
    if args.jsonl {
        for entry in &entries {
            print(&entry.json)?;
        }
    } else if args.asciicast {
        print(asciicast(&records(entries)).trim_end())?;
    } else {
        print(serde_json::to_string_pretty(&har(&records(entries))).map_err(Failure::work)?)?;
    }
    Ok(0)
}

async fn show_chain(args: &RecordArgs, id: &str, json: bool) -> Result<u8, Failure> {
    let mut index = open(args).await?;
    let filter = Filter { chain: Some(id.to_owned()), limit: 10_000, ..Filter::default() };
    let mut sessions = Vec::new();
    for session in index.list(&filter).await.map_err(Failure::work)? {
        sessions.push(records(index.entries(&session.session).await.map_err(Failure::work)?));
    }
    let steps = chain(&sessions);
    if steps.is_empty() {
        return Err(Failure::work(format!("there is no chain {id} in the record")));
    }
    for (at, step) in steps.iter().enumerate() {
        if json {
            print(serde_json::to_string(step).map_err(Failure::work)?)?;
            continue;
        }
        let verdict = step.verdict.map_or("-", VerdictName::name);
        let name = step.step.as_deref().unwrap_or("-");
        let mut text = format!(
            "{} {} {name} {verdict} {} {}",
            at + 1,
            rfc3339(step.wall_ns),
            step.session,
            step.request
        );
        if !step.tools.is_empty() {
            text += &format!(" asks for {}", step.tools.join(", "));
        }
        if step.is_privileged {
            let led_by = step.led_by.as_ref().and_then(|led| steps.iter().position(|s| s.session == *led));
            let by = led_by.map_or_else(|| "nothing before it".to_owned(), |at| format!("step {}", at + 1));
            text += &format!(" PRIVILEGED, led to by {by}");
        }
        print(visible(&text))?;
    }
    Ok(0)
}
