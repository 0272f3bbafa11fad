//! Where a secret is; never the secret itself.

use std::fmt;
use std::path::{Path, PathBuf};

/// Arguments of a program.
const ARGUMENTS_MAX: usize = 32;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `env:NAME`: in a variable of the environment.
    Env(String),
    /// `file:PATH`: in a file, without the line end that it may have.
    File(PathBuf),
    /// `exec:PATH ARGUMENT…`: what a program prints, without the line end; no shell reads it.
    Exec(Vec<String>),
    /// `vault:SERVER/PATH#FIELD`: in a KV store, version 2, of a configured server.
    Vault {
        /// The configured name of the server.
        server: String,
        /// The path below the mount.
        path: String,
        /// The field of the secret.
        field: String,
    },
}

/// A text is no reference. It holds nothing of the text, which may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReference(&'static str);

impl fmt::Display for NotReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotReference {}

impl Reference {
    /// Reads a reference; paths begin at `folder`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, folder: &Path) -> Result<Reference, NotReference> {
        let scheme = NotReference(
            "expected where the secret is, never the secret: env:NAME, file:PATH, exec:PROGRAM or vault:SERVER/PATH#FIELD",
        );
        let (kind, rest) = text.split_once(':').ok_or(scheme)?;
        match kind {
            "env" => env(rest),
            "file" if rest.is_empty() || rest.contains('\0') => Err(NotReference("`file:` needs a path")),
            "file" => Ok(Reference::File(folder.join(rest))),
            "exec" => {
                let words: Vec<String> = rest.split_ascii_whitespace().map(str::to_owned).collect();
                Reference::exec(words, folder)
            }
            "vault" => vault(rest),
            _ => Err(scheme),
        }
    }

    /// What a program prints; where its path has a `/`, it begins at `folder`.
    ///
    /// # Errors
    /// There is no program, or it has too many arguments.
    pub fn exec(mut words: Vec<String>, folder: &Path) -> Result<Reference, NotReference> {
        let is_fine = words.len() <= ARGUMENTS_MAX && !words.iter().any(|word| word.contains('\0'));
        let program = words.first_mut().filter(|program| !program.is_empty() && is_fine);
        let program = program.ok_or(NotReference("`exec:` needs a program and at most 31 arguments"))?;
        // Looked up in `PATH` it would be whatever stands there first.
        if !program.contains('/') {
            return Err(NotReference("`exec:` needs the program's path, such as /usr/bin/…"));
        }
        *program = folder.join(&*program).display().to_string();
        Ok(Reference::Exec(words))
    }
}

fn env(name: &str) -> Result<Reference, NotReference> {
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(is_of_name) {
        return Err(NotReference("`env:` needs the name of a variable"));
    }
    Ok(Reference::Env(name.to_owned()))
}

fn vault(rest: &str) -> Result<Reference, NotReference> {
    let needs = NotReference("`vault:` needs a server, a path and a field: vault:SERVER/PATH#FIELD");
    let (place, field) = rest.split_once('#').ok_or(needs)?;
    let (server, path) = place.split_once('/').ok_or(needs)?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_path = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if server.is_empty() || field.is_empty() || !is_path || !path.bytes().all(|b| is_plain(b) || b == b'/') {
        return Err(needs);
    }
    let [server, path, field] = [server, path, field].map(str::to_owned);
    Ok(Reference::Vault { server, path, field })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Env(name) => write!(f, "env:{name}"),
            Reference::File(path) => write!(f, "file:{}", path.display()),
            // Arguments may be anything, and this stands in logs.
            Reference::Exec(words) => write!(f, "exec:{}", words.first().map_or("", |word| word.as_str())),
            Reference::Vault { server, path, field } => write!(f, "vault:{server}/{path}#{field}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let parse = |text| Reference::parse(text, Path::new("/etc/sluice"));
        for (text, wanted) in [
            ("env:OPENAI_KEY", "env:OPENAI_KEY"),
            ("file:key", "file:/etc/sluice/key"),
            ("file:/run/key", "file:/run/key"),
            ("exec:/bin/pass show key", "exec:/bin/pass"),
            ("vault:main/llm/openai#key", "vault:main/llm/openai#key"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), wanted);
        }
        for text in [
            "sk-not-a-reference",
            "env:",
            "env:1A",
            "env:A B",
            "env:A=B",
            "file:",
            "file:a\0b",
            "exec:",
            "exec:pass show",
            "vault:main/a",
            "vault:main#a",
            "vault:/a#b",
            "vault:main/../sys#b",
            "vault:main/a?b=c#d",
            "https://x",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("sk-not"), "{text}: {error}");
        }
        let words = |n: usize| std::iter::once("/bin/a".to_owned()).chain(vec!["b".to_owned(); n]).collect();
        assert!(Reference::exec(words(ARGUMENTS_MAX - 1), Path::new("/")).is_ok());
        assert!(Reference::exec(words(ARGUMENTS_MAX), Path::new("/")).is_err());
    }
}
