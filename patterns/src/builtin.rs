//! The packs that come with Sluice.
//!
//! A pack is put together from files, one for each group of providers or part of the world, of which each is a pack of its
//! own that `sluice pack check` takes. The order of the files is that of the rules: where two rules agree in start,
//! priority and length, the earlier one gives its name.

use crate::pack::Pack;
use crate::{Fault, PackError};

/// A pack compiled into the binary.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// As commands name it: `builtin:secrets`.
    pub name: &'static str,
    description: &'static str,
    parts: &'static [Part],
}

/// A file of a pack: its path under `patterns/packs`, and its text.
type Part = (&'static str, &'static str);

/// The version of all built-in packs.
const VERSION: &str = "0.2.0";

/// Names files of a folder under `patterns/packs`, in order.
macro_rules! parts {
    ($($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../packs/", $file)))),+]
    };
}

/// The packs that are used where none is named.
pub const DEFAULT: &[&str] = &["builtin:secrets", "builtin:pii"];

/// All built-in packs.
pub const ALL: &[Builtin] = &[
    Builtin {
        name: "builtin:secrets",
        description: "Keys, tokens, passwords and other credentials of widely used services, and generic assignments",
        parts: parts![
            "secrets/aws.toml",
            "secrets/google.toml",
            "secrets/microsoft.toml",
            "secrets/development.toml",
            "secrets/ai.toml",
            "secrets/databases.toml",
            "secrets/payments.toml",
            "secrets/infrastructure.toml",
            "secrets/monitoring.toml",
            "secrets/messaging.toml",
            "secrets/services.toml",
            "secrets/keys.toml",
            "secrets/urls.toml",
            "secrets/services_by_name.toml",
            "secrets/names.toml",
        ],
    },
    Builtin {
        name: "builtin:pii",
        description: "Personal data: e-mail, telephone, cards, accounts, numbers of countries, network and coin addresses",
        parts: parts![
            "pii/contact.toml",
            "pii/finance.toml",
            "pii/network.toml",
            "pii/coins.toml",
            "pii/vehicles.toml",
            "pii/health.toml",
            "pii/person.toml",
            "pii/europe.toml",
            "pii/americas.toml",
            "pii/asia.toml",
            "pii/oceania_africa.toml",
            "pii/generic.toml",
        ],
    },
    Builtin {
        name: "builtin:words",
        description: "Words that a policy may ask for: labels, nothing is masked",
        parts: parts!["words.toml"],
    },
    Builtin {
        name: "builtin:otel",
        description: "Keys of traces and logs to mask, and identifiers to keep",
        parts: parts!["otel.toml"],
    },
    Builtin {
        name: "builtin:names",
        description: "Names of people and places by a dictionary and the words around them",
        parts: parts!["names.toml"],
    },
];

impl Builtin {
    /// Parses it.
    ///
    /// # Errors
    /// None in a release: a test parses all of them.
    pub fn load(self) -> Result<Pack, PackError> {
        let pack = self.load_unchecked()?;
        pack.check()?;
        Ok(pack)
    }

    /// As [`Builtin::load`] for packs that are compiled next.
    pub(crate) fn load_unchecked(self) -> Result<Pack, PackError> {
        let (mut rules, mut fields) = (Vec::new(), Vec::new());
        let mut faults: Vec<Fault> = Vec::new();
        for (file, text) in self.parts {
            match Pack::parse_unchecked(file, text) {
                Ok(part) => {
                    fields.extend(part.fields);
                    rules.extend(part.rules.into_iter().map(|mut rule| {
                        rule.places.file = Some((*file).into());
                        rule
                    }));
                }
                Err(error) => faults.extend(error.faults().iter().cloned()),
            }
        }
        if !faults.is_empty() {
            return Err(PackError::new(faults));
        }
        Ok(Pack {
            file: self.name.to_owned(),
            name: self.name.trim_start_matches("builtin:").to_owned(),
            version: VERSION.to_owned(),
            description: self.description.to_owned(),
            rules,
            fields,
            exact: Vec::new(),
            built: None,
        })
    }
}

/// The built-in pack of that name.
#[must_use]
pub fn find(name: &str) -> Option<Builtin> {
    ALL.iter().copied().find(|b| b.name == name)
}
