//! Asking issuers over HTTP, within bounds.
//!
//! What an issuer answers decides who is believed, so it is asked over TLS; plain HTTP is for loopback, and for who says
//! so. Redirections are not followed, because they would move that trust elsewhere; proxies of the environment are not
//! used for the same reason. Answers have a greatest length and a greatest time.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};

use crate::credential::Secret;

/// Bytes of an answer of an issuer.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// How long an issuer may take to answer.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a file of certificates.
const CA_BYTES_MAX: u64 = 4 << 20;

/// Why nothing came of asking; without the address's query and without the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError(pub(super) String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

/// How an issuer is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// Certificates, in PEM, that its server is trusted by, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Ask over plain HTTP, elsewhere than at a loopback address too.
    pub plain_http: bool,
}

/// Asks.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    plain_http: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: zeroize::Zeroizing<Vec<u8>>,
    /// For how long it may be taken for true, where it says so (RFC 9111, section 5.2.2.1).
    pub(crate) max_age: Option<Duration>,
}

impl Fetcher {
    pub(crate) fn new(fetching: &Fetching) -> Result<Fetcher, FetchError> {
        // Another part of the process may have set it: then it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder =
            Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(ANSWER_TIME_MAX);
        let mut builder = builder.pool_max_idle_per_host(4).referer(false);
        if let Some(path) = &fetching.ca {
            builder = builder.tls_built_in_root_certs(false);
            for certificate in certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|_| FetchError("TLS can't be set up".to_owned()))?;
        Ok(Fetcher { client, plain_http: fetching.plain_http })
    }

    /// The address that a text is, if it may be asked.
    pub(crate) fn url(&self, text: &str) -> Result<Url, FetchError> {
        url(text, self.plain_http)
    }

    /// Gets what is at an address, with a token where one is given.
    pub(crate) async fn get(&self, address: &str, token: Option<&Secret>) -> Result<Answer, FetchError> {
        let request = self.client.get(self.url(address)?).header(header::ACCEPT, "application/json");
        self.ask(authorized(request, token)?).await
    }

    /// A request that is sent by [`Fetcher::ask`].
    pub(crate) fn post(&self, address: &str) -> Result<RequestBuilder, FetchError> {
        Ok(self.client.post(self.url(address)?).header(header::ACCEPT, "application/json"))
    }

    /// A request of GET, sent by [`Fetcher::ask`].
    pub(crate) fn read(&self, address: &str) -> Result<RequestBuilder, FetchError> {
        Ok(self.client.get(self.url(address)?))
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Answer, FetchError> {
        let mut response = request.send().await.map_err(|e| failed(&e))?;
        let (status, max_age) = (response.status().as_u16(), max_age(response.headers()));
        let mut body = zeroize::Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError(format!("it answers more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body, max_age })
    }
}

/// A request with a bearer token that no log shows.
fn authorized(request: RequestBuilder, token: Option<&Secret>) -> Result<RequestBuilder, FetchError> {
    let Some(token) = token else { return Ok(request) };
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.text()));
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| FetchError("the token for it is no token".to_owned()))?;
    value.set_sensitive(true);
    Ok(request.header(header::AUTHORIZATION, value))
}

/// The address that a text is, if it may be asked: `https`, or `http` on this machine.
pub(crate) fn url(text: &str, plain_http: bool) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|_| FetchError("it is no address".to_owned()))?;
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => is_loopback || plain_http,
        _ => false,
    };
    if !is_allowed {
        return Err(FetchError("it must be https, or http at a loopback address".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError("it has a password in it".to_owned()));
    }
    Ok(url)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let failed = |what: &str| FetchError(format!("`{}`: {what}", path.display()));
    let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= CA_BYTES_MAX);
    if !is_small {
        return Err(failed("it can't be read"));
    }
    let text = std::fs::read(path).map_err(|_| failed("it can't be read"))?;
    let all = Certificate::from_pem_bundle(&text).map_err(|_| failed("it holds no certificates in PEM"))?;
    if all.is_empty() { Err(failed("it holds no certificates in PEM")) } else { Ok(all) }
}

/// What went wrong, without the address: its query may hold something.
fn failed(error: &reqwest::Error) -> FetchError {
    let what = if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "no connection to it"
    } else {
        "its answer breaks off"
    };
    FetchError(what.to_owned())
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let directives = || text.split(',').map(str::trim);
    if directives().any(|d| d.eq_ignore_ascii_case("no-store") || d.eq_ignore_ascii_case("no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|d| d.strip_prefix("max-age="))?.trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_or_this_machine() {
        for (text, plain_http, wanted) in [
            ("https://issuer.example/keys", false, true),
            ("http://127.0.0.1:8080/keys", false, true),
            ("http://[::1]:8080/keys", false, true),
            ("http://localhost/keys", false, true),
            ("http://issuer.example/keys", false, false),
            ("http://issuer.example/keys", true, true),
            ("http://127.0.0.1.evil.example/", false, false),
            ("http://localhost.evil.example/", false, false),
            ("https://user:pass@issuer.example/", false, false),
            ("file:///etc/passwd", true, false),
            ("ftp://127.0.0.1/", true, false),
            ("keys", false, false),
        ] {
            assert_eq!(url(text, plain_http).is_ok(), wanted, "{text}");
        }
    }

    #[test]
    fn ages_of_answers() {
        for (text, wanted) in [
            ("public, max-age=60", Some(60)),
            ("max-age=60, no-store", Some(0)),
            ("no-cache", Some(0)),
            ("max-age=x", None),
            ("public", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(text));
            assert_eq!(max_age(&headers), wanted.map(Duration::from_secs), "{text}");
        }
    }
}
