//! `[[issuer]]` and `[identity]`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sluice_policy::Kind;
use toml::de::DeTable;

use super::credential::{self, Servers, needed, needed_text};
use super::shown::{absolute, list, text};
use super::source::{Source, Value};
use crate::credential::Source as Secret;
use crate::identity::{
    self, Algorithm, CACHED_MAX, Certificates, Freshness, ISSUERS_MAX, Introspection, Issuer, KeysFrom,
    Mapping, Means, Part, Rules, Source as Over, Tokens,
};

/// The kinds of issuers.
const KINDS: &[(&str, Vouches)] =
    &[("jwt", Vouches::Jwt), ("introspection", Vouches::Introspection), ("mtls", Vouches::Mtls)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouches {
    Jwt,
    Introspection,
    Mtls,
}

const SUBJECT_KINDS: &[(&str, Kind)] =
    &[("human", Kind::Human), ("service", Kind::Service), ("agent", Kind::Agent)];

/// Keys that every issuer has.
const COMMON: &[&str] = &["name", "kind", "subject_kind", "claims", "headers"];
/// Keys of what its tokens must claim.
const CLAIMED: &[&str] = &[
    "audience",
    "authorized_parties",
    "required_claims",
    "skew_seconds",
    "age_seconds_max",
    "ca",
    "plain_http",
];
const OF_JWT: &[&str] =
    &["issuer", "discovery", "jwks_url", "jwks_file", "algorithms", "types", "keys", "token"];
const OF_INTROSPECTION: &[&str] =
    &["issuer", "address", "token_prefix", "client_id", "client_secret", "cache_seconds"];
const OF_MTLS: &[&str] = &["authorities"];

/// The greatest skew of an issuer's clock.
const SKEW_SECONDS_MAX: u64 = 300;
/// A day, and a year.
const DAY_SECONDS: u64 = 86_400;
const YEAR_SECONDS: u64 = 366 * DAY_SECONDS;
/// For how long an issuer's answer is taken for true where nothing is said.
const CACHED_SECONDS: u64 = 30;

/// `[identity]`: what is revoked, and the keys that the gateway issues.
#[derive(Clone, Debug, Default)]
pub struct IdentityFiles {
    /// A file of revocations, read again when it changes.
    pub revocations: Option<PathBuf>,
    /// The store of issued keys, and the secret that their hashes are keyed with.
    pub keys: Option<(PathBuf, Secret)>,
}

/// The issuers of a document, and `[identity]`.
pub(super) fn read(
    source: &mut Source,
    document: &DeTable<'_>,
    servers: &Servers,
) -> (Vec<Issuer>, IdentityFiles) {
    let (mut issuers, mut names): (Vec<Issuer>, _) = (Vec::new(), Vec::new());
    for (value, table) in source.tables(document, "issuer", ISSUERS_MAX) {
        let before = source.reader.faults.len();
        let issuer = issuer(source, value, table, servers, &mut names);
        if source.reader.faults.len() == before
            && let Some(issuer) = issuer
        {
            alike(source, value, &issuers, &issuer);
            issuers.push(issuer);
        }
    }
    let mut files = IdentityFiles::default();
    if let Some((_, table)) = source.inner(document, "identity", &["revocations", "keys"]) {
        files.revocations = table.get("revocations").and_then(|value| source.file(value));
        if let Some((value, table)) = source.inner(table, "keys", &["store", "secret"]) {
            let store = needed_text(source, value, table, "store").map(|path| source.joined(&path));
            files.keys = store.zip(needed(source, value, table, "secret", servers));
        }
    }
    (issuers, files)
}

/// Two issuers that can't be told apart.
fn alike(source: &mut Source, value: &Value<'_>, issuers: &[Issuer], issuer: &Issuer) {
    let is_alike = |other: &&Issuer| match (&other.means, &issuer.means) {
        (Means::Tokens(a), Means::Tokens(b)) => a.issuer == b.issuer,
        (Means::Introspection(a), Means::Introspection(b)) => a.prefix == b.prefix,
        (Means::Certificates(a), Means::Certificates(b)) => {
            (a.authorities.is_empty() && b.authorities.is_empty())
                || a.authorities.iter().any(|authority| b.authorities.contains(authority))
        }
        (Means::Tokens(_) | Means::Introspection(_) | Means::Certificates(_), _) => false,
    };
    if let Some(other) = issuers.iter().find(is_alike) {
        let reason = format!(
            "`{}` can't be told from `{}`: issuers differ in `issuer`, `token_prefix` or `authorities`",
            issuer.name, other.name
        );
        source.reader.fault(&value.span(), reason);
    }
}

fn issuer(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    servers: &Servers,
    names: &mut Vec<(String, usize)>,
) -> Option<Issuer> {
    let kind = match table.contains_key("kind") {
        true => source.word(table, "kind", KINDS)?,
        false => Vouches::Jwt,
    };
    let keys = match kind {
        Vouches::Jwt => [COMMON, CLAIMED, OF_JWT].concat(),
        Vouches::Introspection => [COMMON, CLAIMED, OF_INTROSPECTION].concat(),
        Vouches::Mtls => [COMMON, OF_MTLS].concat(),
    };
    source.reader.known_keys(table, &keys);
    let name = source.name(value, table, "issuer", names);
    let means = match kind {
        Vouches::Jwt => tokens(source, value, table, servers).map(Means::Tokens),
        Vouches::Introspection => introspection(source, value, table, servers).map(Means::Introspection),
        Vouches::Mtls => {
            let authorities = strings(source, table, "authorities");
            Some(Means::Certificates(Certificates { authorities }))
        }
    };
    let over = if kind == Vouches::Mtls { Over::Certificate } else { Over::Token };
    let mapping = mapping(source, table, over);
    let context = context(source, table);
    Some(Issuer { name: Arc::from(name?), means: means?, mapping, context })
}

fn strings(source: &mut Source, table: &DeTable<'_>, key: &str) -> Vec<String> {
    let strings = table.get(key).map(|value| source.reader.strings(value));
    strings.unwrap_or_default().into_iter().map(|(text, _)| text).collect()
}

fn rules(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>, needs_audience: bool) -> Rules {
    let mut rules = Rules { audiences: strings(source, table, "audience"), ..Rules::default() };
    if needs_audience && rules.audiences.is_empty() {
        let reason =
            "`audience` is needed: whom its tokens are for; a token for somebody else proves nothing here";
        source.reader.fault(&table.get("audience").unwrap_or(value).span(), reason);
    }
    rules.parties = strings(source, table, "authorized_parties");
    rules.required = strings(source, table, "required_claims");
    if table.contains_key("types") {
        let types = strings(source, table, "types").into_iter().map(|kind| kind.to_ascii_lowercase());
        rules.types = types.map(|kind| kind.trim_start_matches("application/").to_owned()).collect();
    }
    if let Some(seconds) = source.integer(table, "skew_seconds", 0, SKEW_SECONDS_MAX) {
        rules.skew = Duration::from_secs(seconds);
    }
    rules.age_max = source.integer(table, "age_seconds_max", 1, YEAR_SECONDS).map(Duration::from_secs);
    rules
}

fn address(source: &mut Source, table: &DeTable<'_>, key: &str, plain_http: bool) -> Option<String> {
    let address = source.text(table, key)?;
    if let (Err(e), Some(v)) = (identity::url(&address, plain_http), table.get(key)) {
        source.reader.fault(&v.span(), format!("`{key}`: {e}"));
        return None;
    }
    Some(address)
}

fn tokens(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>, servers: &Servers) -> Option<Tokens> {
    let issuer = needed_text(source, value, table, "issuer");
    let rules = rules(source, value, table, true);
    let fetching = credential::fetching(source, table);
    let keys = keys_from(source, value, table, issuer.as_deref(), fetching.plain_http);
    let mut algorithms = Vec::new();
    for item in source.items(table, "algorithms") {
        algorithms.extend(source.reader.word(item, Algorithm::NAMES));
    }
    if !table.contains_key("algorithms") {
        algorithms.extend(Algorithm::NAMES.iter().map(|(_, algorithm)| *algorithm));
    } else if let Some(v) = table.get("algorithms").filter(|_| algorithms.is_empty()) {
        source.reader.fault(&v.span(), "no algorithms, so no token could be believed");
    }
    let mut freshness = Freshness::default();
    let known = ["refresh_seconds", "stale_seconds_max", "refetch_seconds_min"];
    if let Some((_, inner)) = source.inner(table, "keys", &known) {
        let mut set = |key: &str, least: u64, most: u64, place: &mut Duration| {
            if let Some(seconds) = source.integer(inner, key, least, most) {
                *place = Duration::from_secs(seconds);
            }
        };
        set("refresh_seconds", 1, DAY_SECONDS, &mut freshness.fresh);
        set("stale_seconds_max", 0, DAY_SECONDS, &mut freshness.stale_max);
        set("refetch_seconds_min", 1, 3600, &mut freshness.refetch_min);
    }
    let token = credential::secret(source, table, "token", servers);
    Some(Tokens { issuer: issuer?, keys: keys?, algorithms, rules, freshness, fetching, token })
}

fn keys_from(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    issuer: Option<&str>,
    plain_http: bool,
) -> Option<KeysFrom> {
    let given: Vec<&str> =
        ["discovery", "jwks_url", "jwks_file"].into_iter().filter(|key| table.contains_key(*key)).collect();
    match given.as_slice() {
        [] => {
            let address = format!("{}/.well-known/openid-configuration", issuer?.trim_end_matches('/'));
            match identity::url(&address, plain_http) {
                Ok(_) => Some(KeysFrom::Discovery(address)),
                Err(e) => {
                    let reason = format!(
                        "`issuer` can't be asked for its keys: {e}; or give `jwks_url` or `jwks_file`"
                    );
                    source.reader.fault(&table.get("issuer").unwrap_or(value).span(), reason);
                    None
                }
            }
        }
        ["discovery"] => address(source, table, "discovery", plain_http).map(KeysFrom::Discovery),
        ["jwks_url"] => address(source, table, "jwks_url", plain_http).map(KeysFrom::Url),
        ["jwks_file"] => {
            let path = source.file(table.get("jwks_file")?)?;
            source.files.note(&path);
            Some(KeysFrom::File(path))
        }
        _ => {
            source
                .reader
                .fault(&value.span(), "keys are at `discovery`, `jwks_url` or in `jwks_file`: one of them");
            None
        }
    }
}

fn introspection(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    servers: &Servers,
) -> Option<Introspection> {
    let fetching = credential::fetching(source, table);
    needed_text(source, value, table, "address")?;
    let address = address(source, table, "address", fetching.plain_http);
    let client = needed_text(source, value, table, "client_id");
    let secret = needed(source, value, table, "client_secret", servers);
    let cached = source.integer(table, "cache_seconds", 0, CACHED_MAX.as_secs());
    Some(Introspection {
        address: address?,
        prefix: source.text(table, "token_prefix").unwrap_or_default(),
        issuer: source.text(table, "issuer"),
        client: client?,
        secret: secret?,
        rules: rules(source, value, table, false),
        cached: Duration::from_secs(cached.unwrap_or(CACHED_SECONDS)),
        fetching,
    })
}

fn mapping(source: &mut Source, table: &DeTable<'_>, over: Over) -> Mapping {
    let kind = source.word(table, "subject_kind", SUBJECT_KINDS).unwrap_or_default();
    let mut mapping = Mapping::new(over, kind);
    let known: Vec<&str> = Part::NAMES.iter().map(|(name, _)| *name).collect();
    if let Some((_, inner)) = source.inner(table, "claims", &known) {
        for (key, part) in Part::NAMES {
            if let (Some(text), Some(v)) = (source.text(inner, key), inner.get(*key))
                && let Err(reason) = mapping.set(over, *part, &text)
            {
                source.reader.fault(&v.span(), format!("`{key}`: {reason}"));
            }
        }
    }
    mapping
}

/// Fields in which callers may tell chain, step and purpose.
fn context(source: &mut Source, table: &DeTable<'_>) -> Vec<(Part, Arc<str>)> {
    let parts = [("chain", Part::Chain), ("step", Part::Step), ("purpose", Part::Purpose)];
    let Some((_, inner)) = source.inner(table, "headers", &["chain", "step", "purpose"]) else {
        return Vec::new();
    };
    let mut context: Vec<(Part, Arc<str>)> = Vec::new();
    for (key, part) in parts {
        let (Some(name), Some(v)) = (source.text(inner, key), inner.get(key)) else { continue };
        let name = name.to_ascii_lowercase();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_taken = identity::CREDENTIAL_FIELDS.contains(&name.as_str())
            || context.iter().any(|(_, other)| **other == *name);
        if is_name && !is_taken {
            context.push((part, Arc::from(name)));
        } else {
            source.reader.fault(
                &v.span(),
                format!("`{key}`: expected the name of a field of its own, such as `sluice-{key}`"),
            );
        }
    }
    context
}

/// Issuers and `[identity]` as TOML.
pub(super) fn shown(issuers: &[Issuer], files: &IdentityFiles) -> String {
    let mut shown = String::new();
    // Writing to a string does not fail, here and below.
    if files.revocations.is_some() || files.keys.is_some() {
        let _ = writeln!(shown, "\n[identity]");
    }
    if let Some(path) = &files.revocations {
        let _ = writeln!(shown, "revocations = {}", text(&absolute(path)));
    }
    if let Some((store, secret)) = &files.keys {
        let (store, secret) = (text(&absolute(store)), credential::shown(secret));
        let _ = writeln!(shown, "keys = {{ store = {store}, secret = {secret} }}");
    }
    for issuer in issuers {
        show(&mut shown, issuer);
    }
    shown
}

fn show(into: &mut String, issuer: &Issuer) {
    let _ = writeln!(into, "\n[[issuer]]\nname = {}", text(&issuer.name));
    let kind = SUBJECT_KINDS.iter().find(|(_, kind)| *kind == issuer.mapping.kind());
    let _ = writeln!(into, "subject_kind = {}", text(kind.map_or("", |(word, _)| word)));
    let over = match &issuer.means {
        Means::Tokens(tokens) => {
            show_tokens(into, tokens);
            Over::Token
        }
        Means::Introspection(asked) => {
            show_introspection(into, asked);
            Over::Token
        }
        Means::Certificates(certificates) => {
            let _ = writeln!(into, "kind = \"mtls\"\nauthorities = {}", list(&certificates.authorities));
            Over::Certificate
        }
    };
    let texts: Vec<(Part, &str)> = issuer.mapping.texts().collect();
    let given = |part| texts.iter().find(|(other, _)| *other == part).map_or("", |(_, text)| *text);
    // One that was taken away is shown, as it would come back by itself.
    let parts = Part::NAMES.iter().filter(|(_, part)| given(*part) != "" || part.default_text(over) != "");
    let parts: Vec<String> = parts.map(|(name, part)| format!("{name} = {}", text(given(*part)))).collect();
    let _ = writeln!(into, "claims = {{ {} }}", parts.join(", "));
    if !issuer.context.is_empty() {
        let name =
            |part: Part| Part::NAMES.iter().find(|(_, other)| *other == part).map_or("", |(name, _)| *name);
        let fields = issuer.context.iter().map(|(part, field)| format!("{} = {}", name(*part), text(field)));
        let _ = writeln!(into, "headers = {{ {} }}", fields.collect::<Vec<_>>().join(", "));
    }
}

fn show_tokens(into: &mut String, tokens: &Tokens) {
    let _ = writeln!(into, "kind = \"jwt\"\nissuer = {}", text(&tokens.issuer));
    let _ = match &tokens.keys {
        KeysFrom::Discovery(address) => writeln!(into, "discovery = {}", text(address)),
        KeysFrom::Url(address) => writeln!(into, "jwks_url = {}", text(address)),
        KeysFrom::File(path) => writeln!(into, "jwks_file = {}", text(&absolute(path))),
    };
    let names = Algorithm::NAMES.iter().filter(|(_, algorithm)| tokens.algorithms.contains(algorithm));
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    let _ = writeln!(into, "algorithms = {}\ntypes = {}", list(&names), list(&tokens.rules.types));
    let Freshness { fresh, stale_max, refetch_min } = tokens.freshness;
    let _ = writeln!(
        into,
        "keys = {{ refresh_seconds = {}, stale_seconds_max = {}, refetch_seconds_min = {} }}",
        fresh.as_secs(),
        stale_max.as_secs(),
        refetch_min.as_secs()
    );
    if let Some(token) = &tokens.token {
        let _ = writeln!(into, "token = {}", credential::shown(token));
    }
    show_rules(into, &tokens.rules);
    credential::shown_fetching(into, &tokens.fetching);
}

fn show_introspection(into: &mut String, asked: &Introspection) {
    let _ = writeln!(into, "kind = \"introspection\"\naddress = {}", text(&asked.address));
    let _ = writeln!(into, "token_prefix = {}\nclient_id = {}", text(&asked.prefix), text(&asked.client));
    let secret = credential::shown(&asked.secret);
    let _ = writeln!(into, "client_secret = {secret}\ncache_seconds = {}", asked.cached.as_secs());
    if let Some(issuer) = &asked.issuer {
        let _ = writeln!(into, "issuer = {}", text(issuer));
    }
    show_rules(into, &asked.rules);
    credential::shown_fetching(into, &asked.fetching);
}

fn show_rules(into: &mut String, rules: &Rules) {
    let _ = writeln!(into, "audience = {}\nskew_seconds = {}", list(&rules.audiences), rules.skew.as_secs());
    for (key, items) in [("authorized_parties", &rules.parties), ("required_claims", &rules.required)] {
        if !items.is_empty() {
            let _ = writeln!(into, "{key} = {}", list(items));
        }
    }
    if let Some(age) = rules.age_max {
        let _ = writeln!(into, "age_seconds_max = {}", age.as_secs());
    }
}
