//! Proofs of callers, and attacks on them.

mod attacks;
pub(crate) mod forge;
mod mappings;
mod opaque;
mod proofs;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sluice_policy::Kind;

use super::{Algorithm, Fetching, Freshness, Issuer, KeysFrom, Mapping, Means, Rules, Source, Tokens};

/// An issuer whose tokens are for `sluice`.
pub(crate) fn issuer_of(name: &str, issuer: &str, keys: KeysFrom) -> Issuer {
    let tokens = Tokens {
        issuer: issuer.to_owned(),
        keys,
        algorithms: Algorithm::NAMES.iter().map(|(_, algorithm)| *algorithm).collect(),
        rules: Rules { audiences: vec!["sluice".to_owned()], ..Rules::default() },
        freshness: Freshness::default(),
        fetching: Fetching::default(),
        token: None,
    };
    Issuer {
        name: Arc::from(name),
        means: Means::Tokens(tokens),
        mapping: Mapping::new(Source::Token, Kind::Service),
        context: Vec::new(),
    }
}

/// A file of keys that lives as long as the test's process may need it.
pub(crate) fn keys_file(name: &str, keys: &Value) -> KeysFrom {
    let path: PathBuf = std::env::temp_dir().join(format!("sluice-{}-{name}.json", std::process::id()));
    std::fs::write(&path, keys.to_string()).unwrap();
    KeysFrom::File(path)
}
