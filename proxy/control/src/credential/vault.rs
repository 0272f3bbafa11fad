//! Secrets of HashiCorp Vault, or of OpenBao, by its HTTP API: KV version 2, with a token, AppRole or Kubernetes auth.
//!
//! A login gives a token for a while; it is kept in zeroed memory for less than that, and got anew when the server
//! refuses it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use zeroize::Zeroizing;

use super::{Secret, Source};
use crate::identity::{Answer, FetchError, Fetcher, Fetching};
use crate::reload::lock;

/// Vault servers of one gateway.
pub const VAULTS_MAX: usize = 16;
/// For how long a token of a login is kept at most.
const LOGIN_MAX: Duration = Duration::from_secs(3600);

/// How the gateway proves itself to a server.
#[derive(Clone, Debug)]
pub enum VaultAuth {
    /// By a token.
    Token(Source),
    /// By a role and its secret (`auth/approle`).
    AppRole {
        /// Where the method is mounted: `approle`.
        mount: String,
        /// The role's id.
        role: Source,
        /// The role's secret.
        secret: Source,
    },
    /// By the token of a service account (`auth/kubernetes`).
    Kubernetes {
        /// Where the method is mounted: `kubernetes`.
        mount: String,
        /// The role's name.
        role: String,
        /// The token.
        token: Source,
    },
}

/// A server.
#[derive(Clone, Debug)]
pub struct Vault {
    /// Its address, without a path.
    pub address: String,
    /// Where the KV store is mounted.
    pub mount: String,
    /// The namespace, where the server has some.
    pub namespace: Option<String>,
    /// How the gateway proves itself.
    pub auth: VaultAuth,
    /// How it is asked.
    pub fetching: Fetching,
}

/// A server can't be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultError(FetchError);

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for VaultError {}

/// The servers that references may name.
#[derive(Clone, Debug, Default)]
pub struct Vaults(Arc<BTreeMap<String, Server>>);

#[derive(Debug)]
struct Server {
    vault: Vault,
    fetcher: Fetcher,
    login: Mutex<Option<Login>>,
}

/// A token, and until when it is used.
#[derive(Clone, Debug)]
struct Login {
    token: Arc<Secret>,
    at: SystemTime,
    span: Duration,
}

impl Vaults {
    /// Of these servers, by the names that references have for them.
    ///
    /// # Errors
    /// A server can't be asked.
    pub fn new(vaults: Vec<(String, Vault)>) -> Result<Vaults, VaultError> {
        let mut servers = BTreeMap::new();
        for (name, vault) in vaults {
            let fetcher = Fetcher::new(&vault.fetching).map_err(VaultError)?;
            fetcher.url(&vault.address).map_err(VaultError)?;
            servers.insert(name, Server { vault, fetcher, login: Mutex::default() });
        }
        Ok(Vaults(Arc::new(servers)))
    }

    /// The field of the newest version of a secret.
    pub(super) async fn read(
        &self,
        server: &str,
        path: &str,
        field: &str,
        now: SystemTime,
    ) -> Result<Secret, String> {
        let server = self.0.get(server).ok_or("no such server is configured")?;
        let address = format!("{}/v1/{}/data/{path}", server.base(), server.vault.mount);
        let (token, was_kept) = server.token(now).await?;
        let mut answer = server.get(&address, &token).await?;
        if answer.status == 403 && was_kept {
            // The token was withdrawn, or the server began anew.
            *lock(&server.login) = None;
            let (token, _) = server.token(now).await?;
            answer = server.get(&address, &token).await?;
        }
        match answer.status {
            200 => {}
            403 => return Err("the server refuses it".to_owned()),
            404 => return Err("there is no such secret".to_owned()),
            status => return Err(format!("the server answers {status}")),
        }
        let body = parsed(&answer)?;
        let value = body.0.pointer("/data/data").and_then(|data| data.get(field)).and_then(Value::as_str);
        let text = value.filter(|text| !text.is_empty()).ok_or("the secret has no such field of text")?;
        if text.len() > super::SECRET_BYTES_MAX {
            return Err("it is too long".to_owned());
        }
        Ok(Secret::new(text.to_owned()))
    }
}

impl Server {
    fn base(&self) -> &str {
        self.vault.address.trim_end_matches('/')
    }

    async fn get(&self, address: &str, token: &Secret) -> Result<Answer, String> {
        let request = self.fetcher.read(address).map_err(|e| e.to_string())?;
        let request = self.of_namespace(request).header("x-vault-token", sensitive(token)?);
        self.fetcher.ask(request).await.map_err(|e| e.to_string())
    }

    fn of_namespace(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        // It keeps agents between from taking a browser's request for one of theirs.
        let request = request.header("x-vault-request", "true");
        match &self.vault.namespace {
            Some(namespace) => request.header("x-vault-namespace", namespace),
            None => request,
        }
    }

    /// The token, and whether it was kept from before.
    async fn token(&self, now: SystemTime) -> Result<(Arc<Secret>, bool), String> {
        let (mount, body) = match &self.vault.auth {
            VaultAuth::Token(source) => return Ok((value(source, now).await?, false)),
            VaultAuth::AppRole { mount, role, secret } => {
                let (role, secret) = (value(role, now).await?, value(secret, now).await?);
                (mount, [("role_id", role.text().to_owned()), ("secret_id", secret.text().to_owned())])
            }
            VaultAuth::Kubernetes { mount, role, token } => {
                let token = value(token, now).await?;
                (mount, [("role", role.clone()), ("jwt", token.text().to_owned())])
            }
        };
        let body = body.map(|(name, text)| (name, Zeroizing::new(text)));
        let kept = lock(&self.login).clone();
        if let Some(login) = kept
            && now.duration_since(login.at).is_ok_and(|age| age < login.span)
        {
            return Ok((login.token, true));
        }
        let login = self.log_in(mount, &body, now).await?;
        let token = Arc::clone(&login.token);
        *lock(&self.login) = Some(login);
        Ok((token, false))
    }

    async fn log_in(
        &self,
        mount: &str,
        body: &[(&str, Zeroizing<String>)],
        now: SystemTime,
    ) -> Result<Login, String> {
        let address = format!("{}/v1/auth/{mount}/login", self.base());
        let request = self.fetcher.post(&address).map_err(|e| e.to_string())?;
        let body: BTreeMap<&str, &str> = body.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let answer = self.fetcher.ask(self.of_namespace(request).json(&body)).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(format!("the login is answered by {}", answer.status));
        }
        let parsed = parsed(&answer)?;
        let token = parsed.0.pointer("/auth/client_token").and_then(Value::as_str);
        let token = token.ok_or("the login gives no token")?;
        let seconds = parsed.0.pointer("/auth/lease_duration").and_then(Value::as_u64).unwrap_or(0);
        // Used for less than it is good for, so that none ends on its way; 0 is for ever.
        let span = if seconds == 0 { LOGIN_MAX } else { Duration::from_secs(seconds) * 4 / 5 };
        Ok(Login { token: Arc::new(Secret::new(token.to_owned())), at: now, span: span.min(LOGIN_MAX) })
    }
}

async fn value(source: &Source, now: SystemTime) -> Result<Arc<Secret>, String> {
    // A reference to this server would wait for itself: the configuration does not allow one.
    Box::pin(source.value(now)).await.map_err(|e| e.to_string())
}

fn sensitive(token: &Secret) -> Result<reqwest::header::HeaderValue, String> {
    let value = reqwest::header::HeaderValue::from_str(token.text());
    let mut value = value.map_err(|_| "the token for the server is no token".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer whose texts are zeroed when it goes.
struct Parsed(Value);

fn parsed(answer: &Answer) -> Result<Parsed, String> {
    serde_json::from_slice(&answer.body).map(Parsed).map_err(|_| "the server's answer is not JSON".to_owned())
}

impl Drop for Parsed {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Zeroes every text in a value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => zeroize::Zeroize::zeroize(text),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
