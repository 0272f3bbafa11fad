//! `sluice scan`: finds values in files and says where they are, never what they are.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ignore::WalkBuilder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sluice_engine::{CompileOptions, Finding, Format, Masker, MaskerOptions, OnError, Ruleset, Scratch};

use crate::args::ScanArgs;
use crate::failure::Failure;
use crate::mask::compile;
use crate::terminal::{Terminal, tell, unwritable};

/// Exit code of `--fail` when something was found.
const FOUND: u8 = 3;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// One line of output.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    rule: &'a str,
    entity: &'a str,
    start: u64,
    end: u64,
    line: u64,
    column: u64,
    confidence: &'a str,
}

pub(crate) fn run(args: &ScanArgs, terminal: &Terminal) -> Result<u8, Failure> {
    let ruleset = compile(&args.packs, &CompileOptions::default())?;
    let mut scanner = Scanner {
        ruleset,
        format: args.format.into(),
        scratch: Scratch::new(),
        output: BufWriter::new(io::stdout().lock()),
        found: 0,
        unread: 0,
    };
    let bar = progress(terminal);
    match scanner.scan_all(&args.files, &bar) {
        Ok(()) => {}
        // Whoever read the output has enough; what was found still counts.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            return Ok(if args.fail && scanner.found > 0 { FOUND } else { 0 });
        }
        Err(e) => return Err(unwritable(e)),
    }
    bar.finish_and_clear();
    match (scanner.unread, args.fail && scanner.found > 0) {
        (0, true) => Ok(FOUND),
        (0, false) => Ok(0),
        (n, _) => Err(Failure::usage(format!("{n} files could not be read"))),
    }
}

/// Regular files of a walk; of what is named, all but directories: a named pipe or `<(…)` is read as well.
fn is_scanned(entry: &ignore::DirEntry) -> bool {
    entry.file_type().is_some_and(|t| t.is_file() || (entry.depth() == 0 && !t.is_dir()))
}

fn progress(terminal: &Terminal) -> ProgressBar {
    if !terminal.progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {pos} files, {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

struct Scanner<W: Write> {
    ruleset: Arc<Ruleset>,
    format: Format,
    scratch: Scratch,
    output: W,
    found: u64,
    unread: u64,
}

impl<W: Write> Scanner<W> {
    fn scan_all(&mut self, roots: &[PathBuf], bar: &ProgressBar) -> io::Result<()> {
        for root in roots {
            if root.as_os_str() == "-" {
                self.scan("-", &mut io::stdin().lock())?;
                continue;
            }
            // Files that are named are scanned whatever they are; only a walk leaves some out.
            for entry in WalkBuilder::new(root).sort_by_file_name(Ord::cmp).require_git(false).build() {
                match entry {
                    Ok(entry) if is_scanned(&entry) => {
                        bar.set_message(format!("{} values", self.found));
                        self.scan_file(entry.path())?;
                        bar.inc(1);
                    }
                    Ok(_) => {}
                    Err(e) => self.skip(&e.to_string(), bar),
                }
            }
        }
        self.output.flush()
    }

    fn skip(&mut self, reason: &str, bar: &ProgressBar) {
        self.unread += 1;
        bar.suspend(|| tell(format_args!("sluice: {reason}")));
    }

    fn scan_file(&mut self, path: &Path) -> io::Result<()> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(mut file) => self.scan(&name, &mut file),
            Err(e) => {
                self.skip(&format!("{name}: {e}"), &ProgressBar::hidden());
                Ok(())
            }
        }
    }

    /// Errors are those of the output; the input's are told and counted.
    fn scan(&mut self, name: &str, input: &mut dyn Read) -> io::Result<()> {
        let options = MaskerOptions { on_error: OnError::Text, ..MaskerOptions::default() };
        let mut masker = Masker::new(&self.ruleset, self.format, options);
        let mut places = Places::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut masked = Vec::new();
        loop {
            let read = match input.read(&mut buffer) {
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.skip(&format!("{name}: {e}"), &ProgressBar::hidden());
                    return Ok(());
                }
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            places.take(bytes);
            // With `OnError::Text` only gRPC fails: what is compressed in it could pass as text.
            let scanned = match read {
                0 => masker.finish(&mut self.scratch, &mut masked),
                _ => masker.push(&mut self.scratch, bytes, &mut masked),
            };
            masked.clear();
            let held = masker.held() as u64;
            for finding in masker.take_findings() {
                self.print(name, &finding, &mut places)?;
            }
            places.forget(held);
            if let Err(e) = scanned {
                self.skip(&format!("{name}: {e}"), &ProgressBar::hidden());
                return Ok(());
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn print(&mut self, file: &str, finding: &Finding, places: &mut Places) -> io::Result<()> {
        let Some(name) = self.ruleset.name(finding.rule) else { return Ok(()) };
        self.found += 1;
        let (line, column) = places.of(finding.start);
        let line = Line {
            file,
            rule: name.id,
            entity: name.entity,
            start: finding.start,
            end: finding.end,
            line,
            column,
            confidence: name.confidence.as_str(),
        };
        serde_json::to_writer(&mut self.output, &line)?;
        self.output.write_all(b"\n")
    }
}

/// Lines by offset, for as much of the input as can still be asked for.
#[derive(Default)]
struct Places {
    /// Bytes taken.
    at: u64,
    /// Line ends before `starts`.
    forgotten: u64,
    /// Where the last forgotten line begins.
    base: u64,
    /// Where later lines begin.
    starts: std::collections::VecDeque<u64>,
}

/// Line starts that are kept at most: a finding that began before the oldest of them gets that line.
const LINES_KEPT_MAX: usize = 1 << 20;

impl Places {
    fn take(&mut self, bytes: &[u8]) {
        let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        self.starts.extend(ends.map(|(index, _)| self.at + index as u64 + 1));
        self.at += bytes.len() as u64;
    }

    /// Line and column, from 1, of an offset.
    fn of(&self, offset: u64) -> (u64, u64) {
        let before = self.starts.partition_point(|start| *start <= offset);
        let start = match before.checked_sub(1).and_then(|i| self.starts.get(i)) {
            Some(start) => *start,
            None => self.base,
        };
        (self.forgotten + before as u64 + 1, offset.saturating_sub(start) + 1)
    }

    /// What lies before the last `held` bytes, and before the values that are still open, is not asked for again.
    /// A value may have begun a few kilobytes before what is held.
    fn forget(&mut self, held: u64) {
        const BEHIND: u64 = 64 * 1024;
        let keep = self.at.saturating_sub(held + BEHIND);
        while self.starts.len() > LINES_KEPT_MAX || self.starts.front().is_some_and(|s| *s < keep) {
            let Some(start) = self.starts.pop_front() else { return };
            self.base = start;
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns() {
        let mut places = Places::default();
        places.take(b"ab\ncd");
        places.take(b"e\n\nf");
        for (offset, place) in [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (2, 3)), (7, (3, 1)), (8, (4, 1))]
        {
            assert_eq!(places.of(offset), place, "{offset}");
        }
        places.take(&[b'x'; 100_000]);
        places.forget(0);
        assert_eq!(places.of(100_007), (4, 100_000));
    }
}
