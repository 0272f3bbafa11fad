//! Commands quoted in the documents run.
//!
//! Every fenced block marked `sh` is run by bash (`-euo pipefail`) from the root of the checkout, with `sluice` on the path
//! and `$TMPDIR` a folder of its own, in the order of its document. A block behind the line
//! `<!-- in the background until "TEXT" -->` is a server: it runs until it has printed TEXT, is left running for the blocks
//! after it, and is ended by SIGINT, upon which it must exit with 0. Blocks that can't be run here are marked otherwise
//! (`text`, `console`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sluice_tests::checkout;
use sluice_tests::process::{Build, binary};

/// How long a server may take to print what it is waited for; it may have to be compiled first.
const START_S_MAX: u64 = 900;

/// A block of commands.
#[derive(Debug)]
struct Block {
    line: usize,
    commands: String,
    until: Option<String>,
}

/// The blocks of a document that are run.
fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    let (mut fenced, mut until) = (false, None);
    for (index, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            if fenced {
                blocks.extend(open.take());
            } else if info.trim() == "sh" {
                open = Some(Block { line: index + 1, commands: String::new(), until: until.take() });
            }
            fenced = !fenced;
        } else if let Some(block) = &mut open {
            block.commands.push_str(line);
            block.commands.push('\n');
        } else if !line.trim().is_empty() {
            let marker = line.trim().strip_prefix("<!-- in the background until \"");
            until = marker.and_then(|rest| rest.strip_suffix("\" -->")).map(String::from);
        }
    }
    blocks
}

/// Runs the blocks of one document.
struct Run {
    document: PathBuf,
    scratch: PathBuf,
    servers: Vec<(usize, Child, Receiver<String>)>,
}

impl Run {
    fn of(document: &Path) -> Run {
        let name = document.display().to_string().replace(['/', '.'], "-");
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).expect("a scratch folder can be made");
        Run { document: document.to_path_buf(), scratch, servers: Vec::new() }
    }

    /// A shell that runs these commands, in a process group of its own.
    fn shell(&self, commands: &str) -> Command {
        let binary = binary(Build::Release);
        let folder = binary.parent().expect("a binary stands in a folder").display().to_string();
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(checkout::root())
            .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("TMPDIR", &self.scratch)
            .stdin(Stdio::null())
            .process_group(0);
        shell
    }

    fn block(&mut self, block: &Block) {
        let place = format!("{}:{}", self.document.display(), block.line);
        let Some(until) = &block.until else {
            let output = self.shell(&block.commands).output().expect("bash runs");
            assert!(
                output.status.success(),
                "{place}: {}\n{}\n{}{}",
                output.status,
                block.commands,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            return;
        };
        let commands = format!("exec 2>&1; exec {}", block.commands);
        let mut child = self.shell(&commands).stdout(Stdio::piped()).spawn().expect("bash runs");
        let output = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut printed = Vec::new();
        loop {
            match lines.recv_timeout(Duration::from_secs(START_S_MAX)) {
                Ok(line) => printed.push(line),
                Err(e) => panic!("{place}: {e} before {until:?}; printed {printed:#?}"),
            }
            if printed.last().is_some_and(|line| line.contains(until.as_str())) {
                break;
            }
        }
        self.servers.push((block.line, child, lines));
    }

    /// Ends the servers as a person would.
    fn end(mut self) {
        for (line, mut child, lines) in std::mem::take(&mut self.servers) {
            let group = format!("-{}", child.id());
            assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("kill runs").success());
            while lines.recv_timeout(Duration::from_secs(30)).is_ok() {}
            let status = child.wait().expect("it ends");
            assert!(status.success(), "{}:{line}: {status}", self.document.display());
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.servers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn blocks_are_found_with_their_markers() {
    let text =
        "# T\n```sh\na\n```\n<!-- in the background until \"up\" -->\n\n```sh\nb\nc\n```\n```text\nd\n```\n";
    let found: Vec<(usize, String, Option<String>)> =
        blocks(text).into_iter().map(|b| (b.line, b.commands, b.until)).collect();
    assert_eq!(found, [(2, "a\n".into(), None), (7, "b\nc\n".into(), Some("up".into()))]);
}

#[test]
fn the_readme_holds_the_two_commands() {
    let readme = checkout::read(Path::new("README.md"));
    assert!(readme.contains("cargo run --release -p sluice -- demo"), "the README says how to see it work");
    let all: String = blocks(&readme).into_iter().map(|block| block.commands).collect();
    assert!(all.contains("sluice demo") && all.contains("sluice mask"), "the two commands are run");
}

#[test]
fn every_quoted_command_runs() {
    // One after the other: documents use the same ports.
    for document in checkout::files_with_extension("md") {
        let mut run = Run::of(&document);
        for block in blocks(&checkout::read(&document)) {
            eprintln!("{}:{}", document.display(), block.line);
            run.block(&block);
        }
        run.end();
    }
}
