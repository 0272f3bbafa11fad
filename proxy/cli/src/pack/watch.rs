//! `sluice pack test --watch`: the examples again, whenever a file changes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::test;
use crate::failure::Failure;
use crate::terminal::{Terminal, tell};

/// How often files are looked at: a person does not notice it, nor does the machine.
const EVERY: Duration = Duration::from_millis(300);

/// What tells that a file is another one.
type Seen = Vec<Option<(SystemTime, u64)>>;

/// Runs until the process is ended; faults are told and waited out.
pub(crate) fn run(names: &[String], terminal: &Terminal) -> Result<u8, Failure> {
    let mut last: Option<Seen> = None;
    loop {
        let seen = look(names);
        if last.as_ref() != Some(&seen) {
            match test(names, terminal) {
                Ok(_) => {}
                Err(failure) => failure.print(),
            }
            if !terminal.quiet {
                tell("sluice: waiting for a change; Ctrl-C ends");
            }
            last = Some(seen);
        }
        std::thread::sleep(EVERY);
    }
}

/// Of the files that are named, and of all in their folders: a pack may extend those beside it.
fn look(names: &[String]) -> Seen {
    let mut seen = Vec::new();
    for name in names.iter().filter(|name| !name.starts_with("builtin:")) {
        let folder = Path::new(name).parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "toml" || e == "built" || e == "txt"));
        paths.sort();
        paths.push(name.into());
        seen.extend(paths.iter().map(|path| {
            let metadata = path.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }));
    }
    seen
}
