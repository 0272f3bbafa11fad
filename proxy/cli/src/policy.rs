//! `sluice policy`: check, test, explain.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use sluice_control::Config;
use sluice_patterns::Fault;
use sluice_policy::cases::{self, Report};
use sluice_policy::{Action, Decision, Explanation, FILE_BYTES_MAX, PolicySet, Request, Verdict};

use crate::args::PolicyCommand;
use crate::failure::Failure;
use crate::terminal::{Terminal, print, tell};

/// Most bytes of a request that is explained.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn run(command: &PolicyCommand, terminal: &Terminal) -> Result<u8, Failure> {
    match command {
        PolicyCommand::Check { files } => check(files, terminal),
        PolicyCommand::Test { config, covered, cases } => test(config, *covered, cases, terminal),
        PolicyCommand::Explain { config, request } => explain(config, request),
    }
}

fn check(files: &[impl AsRef<Path>], terminal: &Terminal) -> Result<u8, Failure> {
    let mut texts = Vec::new();
    for path in files {
        let path = path.as_ref();
        texts.push((path.display().to_string(), text_of(path, FILE_BYTES_MAX as u64)?));
    }
    let named: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let set = PolicySet::read(&named).map_err(Failure::faults)?;
    let (policies, version) = (set.ids().count(), set.version());
    for (name, _) in &texts {
        print(format_args!("{name}: {}", terminal.mark(true, "ok")))?;
    }
    terminal.note(format_args!("sluice: {policies} policies, version {version}"));
    Ok(0)
}

/// The policies that a configuration names.
fn policies(config: &Path) -> Result<Arc<PolicySet>, Failure> {
    let config = Config::read(config).map_err(Failure::faults)?;
    config.warnings.iter().for_each(tell);
    let name = config.name;
    config
        .policies
        .ok_or_else(|| Failure::usage(format!("{name} names no policies: `policies = [\"policy.toml\"]`")))
}

fn test(config: &Path, covered: bool, path: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let set = policies(config)?;
    let name = path.display().to_string();
    let text = text_of(path, FILE_BYTES_MAX as u64)?;
    let all = cases::read(&name, &text).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
        Failure::faults(lines.join("\n"))
    })?;
    let Report { cases, failures, uncovered, policies } = cases::run(&set, &all);
    for (case, line, why) in &failures {
        print(format_args!("{name}:{line}: {}: case `{case}`: {why}", terminal.mark(false, "FAILED")))?;
    }
    for id in &uncovered {
        print(format_args!("{name}: no case is decided by `{id}`"))?;
    }
    let is_good = failures.is_empty() && (!covered || uncovered.is_empty());
    let word = terminal.mark(is_good, if is_good { "ok" } else { "FAILED" });
    let (good, known) = (cases - failures.len(), policies - uncovered.len());
    print(format_args!(
        "{name}: {word}: {good} of {cases} cases hold, {known} of {policies} policies are covered"
    ))?;
    Ok(u8::from(!is_good))
}

fn explain(config: &Path, path: &Path) -> Result<u8, Failure> {
    let set = policies(config)?;
    let name = path.display().to_string();
    let text = text_of(path, REQUEST_BYTES_MAX)?;
    let request: Request = serde_json::from_str(&text)
        .map_err(|error| Failure::faults(format!("{name}:{}: not a request: {error}", error.line())))?;
    let facts = request.facts().map_err(|error| Failure::faults(format!("{name}: {error}")))?;
    let Explanation { decision, operations, policies } = set.explain(&facts);
    // A request here has a body, if an empty one: nothing is left to read.
    let Decision::Decided(verdict) = decision else { return Err(Failure::work("nothing is decided")) };
    print(shown(&verdict))?;
    for names in operations {
        print(format_args!("operation: {}", names.join(", ")))?;
    }
    for policy in policies {
        print(policy)?;
    }
    Ok(0)
}

/// A verdict as JSON.
fn shown(verdict: &Verdict) -> String {
    let approvers: Vec<serde_json::Value> = match &verdict.action {
        Action::Approve(terms) => {
            terms.groups.iter().map(|(group, min)| json!({ "group": **group, "min": min })).collect()
        }
        Action::Allow | Action::Block => Vec::new(),
    };
    let names =
        |names: &mut dyn Iterator<Item = &Arc<str>>| names.map(|name| json!(**name)).collect::<Vec<_>>();
    let limits = &verdict.limits;
    let fields = verdict.fields.as_ref().map(|list| json!({ "allow": list.allow, "drop": list.drop }));
    let shadow = verdict.shadow.iter().map(|(id, action)| json!({ "id": **id, "action": action }));
    let risk = verdict.risk.parts.iter().map(|(part, weight)| json!({ "part": **part, "weight": weight }));
    let shown = json!({
        "action": verdict.action.name(),
        "policies": names(&mut verdict.policies.iter()),
        "reason": verdict.reason,
        "version": *verdict.version,
        "approvers": approvers,
        "reveal": names(&mut verdict.reveal.iter()),
        "fields": fields,
        "limits": {
            "bytes_max": limits.bytes_max, "rows_max": limits.rows_max, "spans_max": limits.spans_max,
        },
        "risk": { "score": verdict.risk.score, "parts": risk.collect::<Vec<_>>() },
        "shadow": shadow.collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

/// A file, or standard input, as text of bounded length.
fn text_of(path: &Path, most: u64) -> Result<String, Failure> {
    let name = path.display();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?)
    };
    let mut bytes = Vec::new();
    let read = source.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(Failure::usage(format!("{name}: it has more than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name}: it is not UTF-8 text")))
}
