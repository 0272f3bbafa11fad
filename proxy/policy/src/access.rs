//! Whether callers must prove who they are.

use std::fmt;

/// How a gateway treats the identity of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone who reaches the gateway may call; what they send and get is masked all the same.
    Anonymous,
    /// Callers prove who they are, and policies say what each may do.
    Proved,
}

/// A gateway would serve callers that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no identity is configured, so anyone who reaches the gateway could use it: give --allow-anonymous to \
             allow just that",
        )
    }
}

impl std::error::Error for AccessError {}

impl Access {
    /// The access of a gateway without identity.
    ///
    /// # Errors
    /// Unless anonymous callers were allowed in so many words: in doubt, refuse.
    pub fn without_identity(allow_anonymous: bool) -> Result<Access, AccessError> {
        if allow_anonymous { Ok(Access::Anonymous) } else { Err(AccessError(())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_only_in_so_many_words() {
        assert_eq!(Access::without_identity(true), Ok(Access::Anonymous));
        assert!(Access::without_identity(false).unwrap_err().to_string().contains("--allow-anonymous"));
    }
}
