//! Why a command ends early: a message and an exit code.

use std::fmt::Display;

use crate::terminal::tell;

/// The message goes to standard error, as `sluice: …`; lines of a list as they are.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
    bare: bool,
}

impl Failure {
    /// Exit 1: the command could not do its work.
    pub(crate) fn work(text: impl Display) -> Failure {
        Failure { code: 1, text: text.to_string(), bare: false }
    }

    /// Exit 2: what was asked for is not valid.
    pub(crate) fn usage(text: impl Display) -> Failure {
        Failure { code: 2, text: text.to_string(), bare: false }
    }

    /// Exit 2 with faults as `file:line: reason`, one a line.
    pub(crate) fn faults(text: impl Display) -> Failure {
        Failure { code: 2, text: text.to_string(), bare: true }
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn print(&self) {
        if self.bare {
            tell(&self.text);
        } else {
            tell(format_args!("sluice: {}", self.text));
        }
    }
}
