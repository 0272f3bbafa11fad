//! `credential` of an upstream, `[[vault]]`, and references to secrets wherever they stand.

use std::fmt::Write as _;

use toml::de::DeTable;

use super::shown::text;
use super::source::{Source, Value};
use crate::credential::{
    AwsService, Injection, Keeping, Reference, SignedPart, Source as Secret, VAULTS_MAX, Vault, VaultAuth,
    Vaults,
};
use crate::identity::{CREDENTIAL_FIELDS, Fetcher, Fetching};

/// The kinds of credentials, by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Header,
    Query,
    Basic,
    SigV4,
}

const KINDS: &[(&str, Kind)] =
    &[("header", Kind::Header), ("query", Kind::Query), ("basic", Kind::Basic), ("sigv4", Kind::SigV4)];

const SIGNED_PARTS: &[(&str, SignedPart)] =
    &[("whole", SignedPart::Whole), ("nothing", SignedPart::Nothing), ("chunks", SignedPart::Chunks)];

/// The kinds of proofs to a Vault server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auth {
    Token,
    AppRole,
    Kubernetes,
}

const AUTHS: &[(&str, Auth)] =
    &[("token", Auth::Token), ("approle", Auth::AppRole), ("kubernetes", Auth::Kubernetes)];

/// Vault servers, and what they are shown by.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) vaults: Vaults,
    names: Vec<(String, usize)>,
    pub(super) shown: String,
}

/// A secret where the file says that it is: `"env:NAME"`, or `["exec:/bin/program", "argument"]`.
pub(super) fn secret(
    source: &mut Source,
    table: &DeTable<'_>,
    key: &str,
    servers: &Servers,
) -> Option<Secret> {
    let value = table.get(key)?;
    let reference = reference(source, value)?;
    if let Reference::Vault { server, .. } = &reference
        && !servers.names.iter().any(|(name, _)| name == server)
    {
        let known: Vec<&str> = servers.names.iter().map(|(name, _)| name.as_str()).collect();
        source.unknown(value, "no [[vault]]", server, &known);
        return None;
    }
    Some(Secret::new(reference, Keeping::default(), servers.vaults.clone()))
}

fn reference(source: &mut Source, value: &Value<'_>) -> Option<Reference> {
    let folder = source.joined("");
    let read = if value.get_ref().is_array() {
        let mut words: Vec<String> = source.reader.strings(value).into_iter().map(|(word, _)| word).collect();
        match words.first_mut().map(|word| word.strip_prefix("exec:").map(str::to_owned)) {
            Some(Some(program)) => {
                if let Some(first) = words.first_mut() {
                    *first = program;
                }
                Reference::exec(words, &folder)
            }
            Some(None) | None => {
                source
                    .reader
                    .fault(&value.span(), "a list is a program and its arguments: [\"exec:/bin/…\", …]");
                return None;
            }
        }
    } else {
        Reference::parse(&source.reader.string(value)?, &folder)
    };
    read.map_err(|e| source.reader.fault(&value.span(), e.to_string())).ok()
}

/// As [`secret`], of a key that must be there.
pub(super) fn needed(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    key: &str,
    servers: &Servers,
) -> Option<Secret> {
    if !table.contains_key(key) {
        let reason = format!("`{key}` is needed: where the secret is, such as \"env:NAME\" or \"file:PATH\"");
        source.reader.fault(&value.span(), reason);
    }
    secret(source, table, key, servers)
}

/// A text that must be there.
pub(super) fn needed_text(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    key: &str,
) -> Option<String> {
    let read = source.text(table, key);
    if !table.contains_key(key) {
        source.reader.fault(&value.span(), format!("`{key}` is needed"));
    }
    read.filter(|text| {
        let is_empty = text.is_empty();
        if is_empty {
            source.reader.fault(&table.get(key).unwrap_or(value).span(), format!("`{key}` is empty"));
        }
        !is_empty
    })
}

/// A secret's place as TOML.
pub(super) fn shown(secret: &Secret) -> String {
    match secret.reference() {
        Reference::Exec(words) => {
            let words = words.iter().enumerate().map(|(n, word)| match n {
                0 => text(&format!("exec:{word}")),
                _ => text(word),
            });
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        }
        Reference::File(path) => text(&format!("file:{}", super::shown::absolute(path))),
        reference => text(reference),
    }
}

/// How an issuer or a server is asked.
pub(super) fn fetching(source: &mut Source, table: &DeTable<'_>) -> Fetching {
    let ca = table.get("ca").and_then(|value| source.file(value));
    if let Some(ca) = &ca {
        source.files.note(ca);
    }
    let fetching = Fetching { ca, plain_http: source.switch(table, "plain_http") };
    if let (Err(e), Some(v)) = (Fetcher::new(&fetching), table.get("ca")) {
        source.reader.fault(&v.span(), e.to_string());
    }
    fetching
}

/// [`fetching`] as lines of TOML.
pub(super) fn shown_fetching(shown: &mut String, fetching: &Fetching) {
    // Writing to a string does not fail.
    if let Some(ca) = &fetching.ca {
        let _ = writeln!(shown, "ca = {}", text(&super::shown::absolute(ca)));
    }
    if fetching.plain_http {
        let _ = writeln!(shown, "plain_http = true");
    }
}

/// `[[vault]]`.
pub(super) fn vaults(source: &mut Source, document: &DeTable<'_>) -> Servers {
    let (mut servers, mut all) = (Servers::default(), Vec::new());
    for (value, table) in source.tables(document, "vault", VAULTS_MAX) {
        let keys = ["name", "address", "mount", "namespace", "ca", "plain_http", "auth"];
        let keys = [&keys[..], &["auth_mount", "token", "role_id", "secret_id", "role"]].concat();
        source.reader.known_keys(table, &keys);
        let name = source.name(value, table, "vault", &mut servers.names);
        let address = needed_text(source, value, table, "address");
        if let (Some(address), Some(v)) = (&address, table.get("address"))
            && let Err(e) = crate::identity::url(address, source.switch(table, "plain_http"))
        {
            source.reader.fault(&v.span(), e.to_string());
        }
        let mount = source.text(table, "mount").unwrap_or_else(|| "secret".to_owned());
        let namespace = source.text(table, "namespace");
        let fetching = fetching(source, table);
        let auth = auth(source, value, table);
        if let (Some(name), Some(address), Some(auth)) = (name, address, auth) {
            let vault = Vault { address, mount, namespace, auth, fetching };
            show_vault(&mut servers.shown, &name, &vault);
            all.push((name, vault));
        }
    }
    match Vaults::new(all) {
        Ok(vaults) => servers.vaults = vaults,
        Err(e) => source.reader.fault(&(0..0), format!("[[vault]]: {e}")),
    }
    servers
}

/// How the gateway proves itself to a server; not by a secret of a server.
fn auth(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>) -> Option<VaultAuth> {
    let nowhere = Servers::default();
    let mount = source.text(table, "auth_mount");
    match source.word(table, "auth", AUTHS).unwrap_or(Auth::Token) {
        Auth::Token => needed(source, value, table, "token", &nowhere).map(VaultAuth::Token),
        Auth::AppRole => {
            let role = needed(source, value, table, "role_id", &nowhere);
            let secret = needed(source, value, table, "secret_id", &nowhere);
            let mount = mount.unwrap_or_else(|| "approle".to_owned());
            Some(VaultAuth::AppRole { mount, role: role?, secret: secret? })
        }
        Auth::Kubernetes => {
            let role = needed_text(source, value, table, "role");
            let token = needed(source, value, table, "token", &nowhere);
            let mount = mount.unwrap_or_else(|| "kubernetes".to_owned());
            Some(VaultAuth::Kubernetes { mount, role: role?, token: token? })
        }
    }
}

fn show_vault(into: &mut String, name: &str, vault: &Vault) {
    // Writing to a string does not fail.
    let _ = writeln!(into, "\n[[vault]]\nname = {}\naddress = {}", text(name), text(&vault.address));
    let _ = writeln!(into, "mount = {}", text(&vault.mount));
    if let Some(namespace) = &vault.namespace {
        let _ = writeln!(into, "namespace = {}", text(namespace));
    }
    let _ = match &vault.auth {
        VaultAuth::Token(token) => writeln!(into, "auth = \"token\"\ntoken = {}", shown(token)),
        VaultAuth::AppRole { mount, role, secret } => writeln!(
            into,
            "auth = \"approle\"\nauth_mount = {}\nrole_id = {}\nsecret_id = {}",
            text(mount),
            shown(role),
            shown(secret)
        ),
        VaultAuth::Kubernetes { mount, role, token } => writeln!(
            into,
            "auth = \"kubernetes\"\nauth_mount = {}\nrole = {}\ntoken = {}",
            text(mount),
            text(role),
            shown(token)
        ),
    };
    shown_fetching(into, &vault.fetching);
}

/// `credential` of an upstream, read once the servers are known.
pub(super) fn injection(source: &mut Source, table: &DeTable<'_>, servers: &Servers) -> Option<Injection> {
    let keys =
        ["kind", "name", "prefix", "from", "user", "region", "service", "id", "secret", "session", "payload"];
    let (value, table) = source.inner(table, "credential", &keys)?;
    let Some(kind) = source.word(table, "kind", KINDS) else {
        if !table.contains_key("kind") {
            source
                .reader
                .fault(&value.span(), "`kind` is needed: \"header\", \"query\", \"basic\" or \"sigv4\"");
        }
        return None;
    };
    let own: &[&str] = match kind {
        Kind::Header => &["kind", "name", "prefix", "from"],
        Kind::Query => &["kind", "name", "from"],
        Kind::Basic => &["kind", "user", "from"],
        Kind::SigV4 => &["kind", "region", "service", "id", "secret", "session", "payload"],
    };
    source.reader.known_keys(table, own);
    match kind {
        Kind::Header => header(source, value, table, servers),
        Kind::Query => {
            let name = needed_text(source, value, table, "name");
            let secret = needed(source, value, table, "from", servers);
            Some(Injection::Query { name: name?, secret: secret? })
        }
        Kind::Basic => {
            let user = source.text(table, "user").unwrap_or_default();
            if let Some(v) = table.get("user").filter(|_| user.contains(':')) {
                source.reader.fault(&v.span(), "a name with `:` can't be told from its password");
            }
            let password = needed(source, value, table, "from", servers)?;
            Some(Injection::Basic { user, password })
        }
        Kind::SigV4 => {
            let region = needed_text(source, value, table, "region");
            let service = needed_text(source, value, table, "service");
            let id = needed(source, value, table, "id", servers);
            let secret_ = needed(source, value, table, "secret", servers);
            let session = secret(source, table, "session", servers);
            let payload = source.word(table, "payload", SIGNED_PARTS).unwrap_or_default();
            let service = AwsService { region: region?, service: service? };
            Some(Injection::SigV4 { service, id: id?, secret: secret_?, session, payload })
        }
    }
}

/// Fields that say where a request goes or how long it is: a secret there would break it.
const NOT_CREDENTIALS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];

fn header(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    servers: &Servers,
) -> Option<Injection> {
    let name = needed_text(source, value, table, "name").map(|name| name.to_ascii_lowercase());
    if let (Some(name), Some(v)) = (&name, table.get("name")) {
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !is_name || NOT_CREDENTIALS.contains(&name.as_str()) {
            let known = CREDENTIAL_FIELDS.join(", ");
            source.reader.fault(&v.span(), format!("expected the name of a field, such as {known}"));
            return None;
        }
    }
    let prefix = source.text(table, "prefix").unwrap_or_default();
    if let Some(v) = table.get("prefix").filter(|_| !prefix.bytes().all(|b| (b' '..0x7F).contains(&b))) {
        source.reader.fault(&v.span(), "a prefix has visible characters of ASCII and spaces");
    }
    let secret = needed(source, value, table, "from", servers);
    Some(Injection::Header { name: name?, prefix, secret: secret? })
}

/// An injection as an inline table of TOML.
pub(super) fn shown_injection(injection: &Injection) -> String {
    match injection {
        Injection::Header { name, prefix, secret } => format!(
            "{{ kind = \"header\", name = {}, prefix = {}, from = {} }}",
            text(name),
            text(prefix),
            shown(secret)
        ),
        Injection::Query { name, secret } => {
            format!("{{ kind = \"query\", name = {}, from = {} }}", text(name), shown(secret))
        }
        Injection::Basic { user, password } => {
            format!("{{ kind = \"basic\", user = {}, from = {} }}", text(user), shown(password))
        }
        Injection::SigV4 { service, id, secret, session, payload } => {
            let session = session.as_ref().map(|session| format!(", session = {}", shown(session)));
            let payload = SIGNED_PARTS.iter().find(|(_, part)| part == payload).map_or("", |(word, _)| word);
            format!(
                "{{ kind = \"sigv4\", region = {}, service = {}, id = {}, secret = {}{}, payload = {} }}",
                text(&service.region),
                text(&service.service),
                shown(id),
                shown(secret),
                session.unwrap_or_default(),
                text(payload)
            )
        }
    }
}
