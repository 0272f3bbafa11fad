//! What standard output and standard error may show, and who may leave.
//!
//! A reader of the output that has left (`sluice pack list | head -1`) has enough: nothing is said, and the command
//! ends with the exit code it would have had. One of standard error that has left is never a reason to fail.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::failure::Failure;

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to write to people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    color: bool,
    pub(crate) quiet: bool,
    /// Standard error is a terminal: progress may be shown.
    pub(crate) progress: bool,
}

impl Terminal {
    pub(crate) fn new(color: Color, quiet: bool) -> Terminal {
        // https://no-color.org: set and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && !plain,
        };
        Terminal { color, quiet, progress: std::io::stderr().is_terminal() && !quiet }
    }

    /// `text` in green or red, where colours are used.
    pub(crate) fn mark(&self, good: bool, text: &str) -> String {
        match (self.color, good) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\x1b[32m{text}\x1b[0m"),
            (true, false) => format!("\x1b[31m{text}\x1b[0m"),
        }
    }

    /// A line on standard error, unless quiet.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            tell(text);
        }
    }
}

/// A line on standard output; nothing where its reader has left.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(unwritable(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The output can't be written, for another reason than that its reader has left.
pub(crate) fn unwritable(error: io::Error) -> Failure {
    Failure::work(format!("can't write the output: {error}"))
}

/// A line on standard error.
pub(crate) fn tell(text: impl Display) {
    // There is nowhere else to say that it could not be written.
    let _ = writeln!(io::stderr(), "{text}");
}
