//! Signatures of AWS requests, version 4, of whole bodies and of streams in chunks.
//!
//! Pure functions over a request's head; the clock is an argument. Sources: "Signature Version 4 signing process" of the
//! AWS General Reference, and of Amazon S3 "Signature Calculations for the Authorization Header", in a single chunk and
//! in several.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Secret;

/// Fields of AWS that a signature sets, and that no caller sets for it.
pub const AWS_FIELDS: [&str; 4] =
    ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-decoded-content-length"];
/// SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The algorithm's name.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A key of AWS.
#[derive(Clone, Copy, Debug)]
pub struct AccessKey<'k> {
    /// Its id, which is no secret.
    pub id: &'k str,
    /// The key.
    pub secret: &'k Secret,
    /// The token of a session, where the key is one of it.
    pub session: Option<&'k Secret>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsService {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Such as `s3` or `bedrock`.
    pub service: String,
}

/// What is signed of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All of it: its SHA-256.
    Hashed([u8; 32]),
    /// Nothing: for S3 over TLS.
    Unsigned,
    /// Each chunk, as it is sent; the body's length before it is put into chunks is known.
    Streamed {
        /// That length.
        length: u64,
    },
}

/// A request's head, as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'r> {
    /// Its method.
    pub method: &'r str,
    /// Path and query, encoded.
    pub target: &'r str,
    /// `Host`.
    pub host: &'r str,
    /// Other fields that are signed; names in lower case.
    pub fields: &'r [(&'r str, &'r str)],
    /// Its body.
    pub payload: Payload,
}

/// Fields to set, and what signs the chunks of the body.
#[derive(Debug)]
pub struct Signed {
    /// Names in lower case and values.
    pub fields: Vec<(&'static str, Secret)>,
    /// For a streamed body.
    pub chunks: Option<ChunkSigner>,
}

type Key = Zeroizing<[u8; 32]>;

fn hmac(key: &[u8], text: &[u8]) -> Key {
    // HMAC takes keys of every length (RFC 2104, section 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Zeroizing::new([0; 32]) };
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

/// A request's time as `YYYYMMDD'T'HHMMSS'Z'`.
fn stamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, counted from 1 March of the year 0.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

impl AwsService {
    /// Signs a request.
    #[must_use]
    pub fn sign(&self, key: AccessKey<'_>, request: &ToSign<'_>, now: SystemTime) -> Signed {
        let stamp = stamp(now);
        let payload = match request.payload {
            Payload::Hashed(hash) => hex(&hash),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Streamed { .. } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        };
        let mut set = vec![("x-amz-date", stamp.clone()), ("x-amz-content-sha256", payload.clone())];
        if let Payload::Streamed { length } = request.payload {
            set.push(("x-amz-decoded-content-length", length.to_string()));
        }
        if let Some(session) = key.session {
            set.push(("x-amz-security-token", session.text().to_owned()));
        }
        let mut fields: Vec<(&str, &str)> = vec![("host", request.host)];
        fields.extend(request.fields);
        fields.extend(set.iter().map(|(name, value)| (*name, value.as_str())));
        let (authorization, chunks) = self.authorization(key, request, &fields, &stamp, &payload);
        let mut signed: Vec<(&'static str, Secret)> =
            set.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        signed.push(("authorization", Secret::new(authorization)));
        let is_streamed = matches!(request.payload, Payload::Streamed { .. });
        Signed { fields: signed, chunks: is_streamed.then_some(chunks) }
    }

    /// The value of `Authorization` over these fields, and what goes on to sign chunks.
    fn authorization(
        &self,
        key: AccessKey<'_>,
        request: &ToSign<'_>,
        fields: &[(&str, &str)],
        stamp: &str,
        payload: &str,
    ) -> (String, ChunkSigner) {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let mut fields: Vec<(&str, String)> =
            fields.iter().map(|(name, value)| (*name, folded(value))).collect();
        fields.sort_by_key(|(name, _)| *name);
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{payload}",
            request.method,
            self.path(path),
            canonical_query(query)
        );
        let day = stamp.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signing_key = self.key(key.secret, day);
        let signature = hex(&*hmac(&*signing_key, to_sign.as_bytes()));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            key.id
        );
        let chunks = ChunkSigner { key: signing_key, stamp: stamp.to_owned(), scope, last: signature };
        (authorization, chunks)
    }

    fn key(&self, secret: &Secret, day: &str) -> Key {
        let first = Zeroizing::new(format!("AWS4{}", secret.text()));
        let day = hmac(first.as_bytes(), day.as_bytes());
        let region = hmac(&*day, self.region.as_bytes());
        hmac(&*hmac(&*region, self.service.as_bytes()), b"aws4_request")
    }

    /// The path, each part encoded once for S3, and twice for every other service.
    fn path(&self, path: &str) -> String {
        let once = recoded(path, true);
        let path = if self.service == "s3" { once } else { encoded(once.as_bytes(), true) };
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

/// A field's value with one space for several, and none around it.
fn folded(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        // A `+` is a space in a query.
        .map(|(name, value)| [name, value].map(|text| recoded(&text.replace('+', "%20"), false)))
        .map(|[name, value]| (name, value))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A text decoded and encoded again, so that each character has one spelling.
pub(super) fn recoded(text: &str, keeps_slash: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = byte.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    encoded(&bytes, keeps_slash)
}

/// Percent-encoded but for unreserved characters (RFC 3986, section 2.3).
fn encoded(bytes: &[u8], keeps_slash: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || (*byte == b'/' && keeps_slash) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Signs the chunks of a body one after the other; each signature rests on the one before.
pub struct ChunkSigner {
    key: Key,
    stamp: String,
    scope: String,
    last: String,
}

impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Bytes that a chunk has besides its data, at most: its length in hexadecimal, its signature, two line ends.
pub const CHUNK_OVERHEAD_MAX: usize = 16 + ";chunk-signature=".len() + 64 + 4;

impl ChunkSigner {
    /// The line before a chunk's data; `\r\n` follows the data. The last chunk is empty.
    pub fn line(&mut self, data: &[u8]) -> String {
        let to_sign = format!(
            "{ALGORITHM}-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{}",
            self.stamp,
            self.scope,
            self.last,
            sha256(data)
        );
        self.last = hex(&*hmac(&*self.key, to_sign.as_bytes()));
        format!("{:x};chunk-signature={}\r\n", data.len(), self.last)
    }

    /// The length of a body in chunks of `chunk` bytes.
    #[must_use]
    pub fn length(body: u64, chunk: u64) -> u64 {
        let one = |data: u64| {
            let digits = u64::from(((64 - data.leading_zeros()).max(1)).div_ceil(4));
            digits + ";chunk-signature=".len() as u64 + 64 + 2 + data + 2
        };
        let chunk = chunk.max(1);
        let last = if body % chunk == 0 { 0 } else { one(body % chunk) };
        (body / chunk) * one(chunk) + last + one(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2015-08-30 12:36:00, of the examples of the General Reference.
    const THEN: u64 = 1_440_938_160;
    /// 2013-05-24 00:00:00, of the examples of S3.
    const THEN_S3: u64 = 1_369_353_600;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn stamps() {
        for (seconds, wanted) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_868_799, "20000229T235959Z"),
            (951_868_800, "20000301T000000Z"),
            (THEN, "20150830T123600Z"),
            (THEN_S3, "20130524T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(stamp(at(seconds)), wanted);
        }
    }

    /// The signature over just these fields, as the suite of AWS has it (no `x-amz-content-sha256`).
    fn signature(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> String {
        let service = AwsService { region: "us-east-1".to_owned(), service: "service".to_owned() };
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let key = AccessKey { id: "AKIDEXAMPLE", secret: &secret, session: None };
        let host = "example.amazonaws.com";
        let request = ToSign { method, target, host, fields: &[], payload: Payload::Unsigned };
        let mut all = vec![("host", host), ("x-amz-date", "20150830T123600Z")];
        all.extend(fields);
        let payload = sha256(body.as_bytes());
        let (value, _) = service.authorization(key, &request, &all, &stamp(at(THEN)), &payload);
        value.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn the_suite_of_aws() {
        for (method, target, fields, body, wanted) in [
            ("GET", "/", &[][..], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "/%E1%88%B4",
                &[],
                "",
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "GET",
                "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=\
                 -._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                &[],
                "",
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "GET",
                "/",
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "POST",
                "/",
                &[("content-type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(method, target, fields, body), wanted, "{method} {target}");
        }
    }

    fn sign_s3(request: &ToSign<'_>) -> Signed {
        let service = AwsService { region: "us-east-1".to_owned(), service: "s3".to_owned() };
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let key = AccessKey { id: "AKIAIOSFODNN7EXAMPLE", secret: &secret, session: None };
        service.sign(key, request, at(THEN_S3))
    }

    #[test]
    fn the_examples_of_s3() {
        let nothing: [u8; 32] = Sha256::digest(b"").into();
        let put: [u8; 32] = Sha256::digest(b"Welcome to Amazon S3.").into();
        let host = "examplebucket.s3.amazonaws.com";
        let get = [("range", "bytes=0-9")];
        let stored =
            [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        for (method, target, fields, hash, wanted) in [
            (
                "GET",
                "/test.txt",
                &get[..],
                nothing,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                "/test%24file.text",
                &stored,
                put,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/?lifecycle",
                &[],
                nothing,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "/?max-keys=2&prefix=J",
                &[],
                nothing,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let signed = sign_s3(&ToSign { method, target, host, fields, payload: Payload::Hashed(hash) });
            let (_, authorization) = signed.fields.last().unwrap();
            assert!(authorization.text().ends_with(&format!("Signature={wanted}")), "{method} {target}");
        }
    }

    #[test]
    fn a_stream_in_chunks() {
        let request = ToSign {
            method: "PUT",
            target: "/examplebucket/chunkObject.txt",
            host: "s3.amazonaws.com",
            fields: &[
                ("content-encoding", "aws-chunked"),
                ("content-length", "66824"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            payload: Payload::Streamed { length: 66_560 },
        };
        let signed = sign_s3(&request);
        let (_, authorization) = signed.fields.last().unwrap();
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        assert!(authorization.text().ends_with(seed));
        let mut chunks = signed.chunks.unwrap();
        let mut length = 0;
        for (size, digits, wanted) in [
            (65_536, "10000", "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "400", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "0", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            let line = chunks.line(&vec![b'a'; size]);
            assert_eq!(line, format!("{digits};chunk-signature={wanted}\r\n"));
            assert!(line.len() + 2 <= CHUNK_OVERHEAD_MAX);
            length += line.len() + size + 2;
        }
        assert_eq!(length, 66_824);
        assert_eq!(ChunkSigner::length(66_560, 65_536), 66_824);
        assert!(!format!("{chunks:?}").contains("b6c6ea"));
    }

    #[test]
    fn a_session_is_signed_and_sent() {
        let service = AwsService { region: "eu-central-1".to_owned(), service: "bedrock".to_owned() };
        let [secret, session] = ["secret", "session"].map(|text| Secret::new(text.to_owned()));
        let key = AccessKey { id: "AKID", secret: &secret, session: Some(&session) };
        let target = "/model/a.b-v1%3A0/invoke";
        let request =
            ToSign { method: "POST", target, host: "h", fields: &[], payload: Payload::Hashed([0; 32]) };
        let signed = service.sign(key, &request, at(THEN));
        let value = |name: &str| signed.fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.text());
        assert_eq!(value("x-amz-security-token"), Some("session"));
        let authorization = value("authorization").unwrap();
        let names = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,";
        assert!(authorization.contains(names) && !authorization.contains("secret,"));
        assert_eq!(service.path("/model/a.b-v1%3A0/invoke"), "/model/a.b-v1%253A0/invoke");
        assert!(!format!("{signed:?}").contains("session\""));
    }
}
