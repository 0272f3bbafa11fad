//! `[approvals]`: where they are kept, how long they hold, who is who, and who is told.

use std::fmt::Write;
use std::sync::Arc;

use secrecy::SecretString;
use toml::de::DeTable;

use super::number::{self, APPROVALS};
use super::shown::{list, text, word};
use super::source::{Source, Value};
use crate::approvals::{
    Account, AcrossIssuers, BreakGlass, Database, People, Person, Settings, Slack, Webhook,
};

/// People that something is known of.
const PERSONS_MAX: usize = 10_000;
/// Webhooks: each transition is written once for each of them.
const WEBHOOKS_MAX: usize = 16;
/// Groups or accounts in one list.
const LIST_MAX: usize = 256;
/// The longest text that stands behind a reference, in bytes.
const SECRET_BYTES_MAX: u64 = 8 << 10;

const ACROSS_ISSUERS: &[(&str, AcrossIssuers)] =
    &[("linked", AcrossIssuers::Linked), ("by_id", AcrossIssuers::ById)];

/// What `[approvals]` says, and the same as TOML.
#[derive(Debug)]
pub(super) struct Approvals {
    pub(super) settings: Settings,
    pub(super) shown: String,
}

pub(super) fn read(source: &mut Source, document: &DeTable<'_>) -> Option<Approvals> {
    let others =
        ["database", "anonymous", "page", "across_issuers", "break_glass", "slack", "person", "webhook"];
    let (value, table) = source.inner(document, "approvals", &number::keys(APPROVALS, &others))?;
    let mut shown = "\n[approvals]\n".to_owned();
    let Some(database) = table.get("database") else {
        let reason = "[approvals] needs `database`: sqlite:PATH, or env:NAME or file:PATH that holds a postgres:// URL";
        source.reader.fault(&value.span(), reason);
        return None;
    };
    let (database, named) = read_database(source, database)?;
    let mut settings = Settings::new(database);
    number::read(source, table, APPROVALS, &mut settings);
    settings.anonymous = source.switch(table, "anonymous");
    settings.page_url = page(source, table);
    let across_issuers = source.word(table, "across_issuers", ACROSS_ISSUERS).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = writeln!(shown, "database = {}", text(&named));
    let _ = write!(shown, "{}", number::lines(APPROVALS, &settings));
    let _ = writeln!(shown, "anonymous = {}", settings.anonymous);
    let _ = writeln!(shown, "across_issuers = {}", word(ACROSS_ISSUERS, &across_issuers));
    if let Some(page) = &settings.page_url {
        let _ = writeln!(shown, "page = {}", text(page));
    }
    settings.break_glass = break_glass(source, table, &mut shown).map(Arc::new);
    settings.slack = slack(source, table, &mut shown);
    let persons = persons(source, table, &mut shown);
    settings.people = Arc::new(People { persons, across_issuers });
    settings.webhooks = webhooks(source, table, &mut shown);
    Some(Approvals { settings, shown })
}

fn read_database(source: &mut Source, value: &Value<'_>) -> Option<(Database, String)> {
    let named = source.reader.string(value)?;
    let (url, named) = match named.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.contains(['?', '#', '%']) => {
            let path = std::path::absolute(source.joined(path)).unwrap_or_else(|_| source.joined(path));
            let named = format!("sqlite:{}", path.display());
            (SecretString::from(named.clone()), named)
        }
        Some(_) => {
            source.reader.fault(&value.span(), "expected sqlite:PATH, the path without `?`, `#` and `%`");
            return None;
        }
        None => referred(source, value)?,
    };
    let database = Database::new(url);
    if !database.is_known() {
        source.reader.fault(&value.span(), format!("`{named}` holds no URL of sqlite: or postgres://"));
        return None;
    }
    Some((database, named))
}

/// The text behind `env:NAME` or `file:PATH`, and the reference with its path from the root.
fn referred(source: &mut Source, value: &Value<'_>) -> Option<(SecretString, String)> {
    let named = source.reader.string(value)?;
    let (read, named) = if let Some(name) = named.strip_prefix("env:") {
        (std::env::var(name).map_err(|_| "the environment has no such variable in UTF-8"), named.clone())
    } else if let Some(path) = named.strip_prefix("file:") {
        let path = std::path::absolute(source.joined(path)).unwrap_or_else(|_| source.joined(path));
        let is_small = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= SECRET_BYTES_MAX);
        let read = if is_small { std::fs::read_to_string(&path).ok() } else { None };
        source.files.note(&path);
        (read.ok_or("the file can't be read as a text of at most 8 KiB"), format!("file:{}", path.display()))
    } else {
        let reason = "a secret does not stand in the file: write env:NAME or file:PATH";
        source.reader.fault(&value.span(), reason);
        return None;
    };
    match read.map(|secret| secret.trim().to_owned()) {
        Ok(secret) if !secret.is_empty() => Some((SecretString::from(secret), named)),
        Ok(_) => {
            source.reader.fault(&value.span(), format!("`{named}` is empty"));
            None
        }
        Err(reason) => {
            source.reader.fault(&value.span(), format!("`{named}`: {reason}"));
            None
        }
    }
}

/// A secret of a table, and its line as TOML.
fn secret(
    source: &mut Source,
    whole: &Value<'_>,
    table: &DeTable<'_>,
    key: &str,
) -> Option<(SecretString, String)> {
    let Some(value) = table.get(key) else {
        source.reader.fault(&whole.span(), format!("`{key}` is needed: env:NAME or file:PATH"));
        return None;
    };
    let (secret, named) = referred(source, value)?;
    Some((secret, format!("{key} = {}", text(&named))))
}

fn page(source: &mut Source, table: &DeTable<'_>) -> Option<String> {
    let url = source.text(table, "page")?;
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    if !is_web || url.contains(['#', ' ', '>', '|']) {
        let place = table.get("page").map(|v| v.span()).unwrap_or_default();
        source.reader.fault(&place, "expected where the approvals page is: https://HOST/approvals");
        return None;
    }
    Some(url)
}

/// Names in a list, each once.
fn names(source: &mut Source, table: &DeTable<'_>, key: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for item in source.items(table, key) {
        let Some(name) = source.reader.string(item) else { continue };
        if name.is_empty() || names.contains(&name) || names.len() == LIST_MAX {
            let reason = format!("`{key}` holds names, each once, and at most {LIST_MAX}");
            source.reader.fault(&item.span(), reason);
        } else {
            names.push(name);
        }
    }
    names
}

fn groups(names: &[String]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn break_glass(source: &mut Source, table: &DeTable<'_>, shown: &mut String) -> Option<BreakGlass> {
    let (value, inner) = source.inner(table, "break_glass", &["groups", "review_groups", "own_requests"])?;
    let members = names(source, inner, "groups");
    let reviewers = names(source, inner, "review_groups");
    let own_requests = source.switch(inner, "own_requests");
    if members.is_empty() {
        source.reader.fault(&value.span(), "`break_glass` needs `groups`: who may break the glass");
    }
    let _ = writeln!(
        shown,
        "break_glass = {{ groups = {}, review_groups = {}, own_requests = {own_requests} }}",
        list(&members),
        list(&reviewers)
    );
    Some(BreakGlass { groups: groups(&members), review_groups: groups(&reviewers), own_requests })
}

fn slack(source: &mut Source, table: &DeTable<'_>, shown: &mut String) -> Option<Slack> {
    let (value, inner) = source.inner(table, "slack", &["url", "signing_secret"])?;
    let (url, url_line) = secret(source, value, inner, "url")?;
    let (signing_secret, secret_line) = secret(source, value, inner, "signing_secret")?;
    let _ = writeln!(shown, "slack = {{ {url_line}, {secret_line} }}");
    Some(Slack { url, signing_secret })
}

fn persons(source: &mut Source, table: &DeTable<'_>, shown: &mut String) -> Vec<Person> {
    let (mut persons, mut taken): (Vec<Person>, Vec<(String, usize)>) = (Vec::new(), Vec::new());
    for (value, table) in source.tables(table, "person", PERSONS_MAX) {
        source.reader.known_keys(table, &["name", "accounts", "slack", "groups"]);
        let Some(name) = source.name(value, table, "person", &mut taken) else { continue };
        let mut accounts = Vec::new();
        for item in source.items(table, "accounts") {
            let Some(spelled) = source.reader.string(item) else { continue };
            let account = Account::parse(&spelled);
            let is_taken = |account: &Account| {
                accounts.contains(account) || persons.iter().any(|person| person.accounts.contains(account))
            };
            match account {
                Some(account) if !is_taken(&account) => accounts.push(account),
                Some(_) => source.reader.fault(&item.span(), format!("`{spelled}` is linked already")),
                None => source.reader.fault(&item.span(), "an account is `issuer:id`"),
            }
        }
        if accounts.is_empty() {
            source.reader.fault(&value.span(), "a person needs `accounts`: [\"issuer:id\", …]");
        }
        let slack = source.text(table, "slack");
        if slack.is_some() && persons.iter().any(|person| person.slack == slack) {
            source.reader.fault(&value.span(), "another person has the same `slack`");
        }
        let named = names(source, table, "groups");
        let _ =
            writeln!(shown, "\n[[approvals.person]]\nname = {}\naccounts = {}", text(&name), list(&accounts));
        if let Some(slack) = &slack {
            let _ = writeln!(shown, "slack = {}", text(slack));
        }
        let groups = table.contains_key("groups").then(|| groups(&named));
        if groups.is_some() {
            let _ = writeln!(shown, "groups = {}", list(&named));
        }
        persons.push(Person { name, accounts, slack, groups });
    }
    persons
}

fn webhooks(source: &mut Source, table: &DeTable<'_>, shown: &mut String) -> Vec<Webhook> {
    let (mut webhooks, mut taken) = (Vec::new(), vec![("slack".to_owned(), 0)]);
    for (value, table) in source.tables(table, "webhook", WEBHOOKS_MAX) {
        source.reader.known_keys(table, &["name", "url", "secret"]);
        let name = source.name(value, table, "webhook", &mut taken);
        let url = secret(source, value, table, "url");
        let key = secret(source, value, table, "secret");
        let (Some(name), Some((url, url_line)), Some((secret, key_line))) = (name, url, key) else {
            continue;
        };
        let _ = writeln!(shown, "\n[[approvals.webhook]]\nname = {}\n{url_line}\n{key_line}", text(&name));
        webhooks.push(Webhook { name, url, secret });
    }
    webhooks
}
