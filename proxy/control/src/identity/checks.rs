//! What a token must claim (RFC 7519, section 4.1; RFC 8725; RFC 9068, section 4; RFC 7800).
//!
//! Pure functions over claims whose signature was checked, or that an issuer told when it was asked. Times are held
//! against a clock that is an argument, with the issuer's skew on both sides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Unproved;

/// Audiences of one token.
const AUDIENCES_MAX: usize = 64;
/// Bytes of a token's id.
pub(super) const TOKEN_ID_BYTES_MAX: usize = 512;
/// The latest time that a token may tell, in seconds: the year 9999.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// What an issuer's tokens must claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// `azp`, or `client_id` where there is none, must be one of these; empty: any.
    pub parties: Vec<String>,
    /// `typ` in lower case without `application/`; the empty one stands for a header without it.
    pub types: Vec<String>,
    /// Claims that must be there besides `iss`, `aud` and `exp`.
    pub required: Vec<String>,
    /// How far the issuer's clock may be off.
    pub skew: Duration,
    /// The greatest age by `iat`, which must be there then.
    pub age_max: Option<Duration>,
}

impl Default for Rules {
    /// Of no audience, so that nothing is taken until one is named.
    fn default() -> Rules {
        Rules {
            audiences: Vec::new(),
            parties: Vec::new(),
            types: ["at+jwt", "jwt", ""].map(str::to_owned).to_vec(),
            required: Vec::new(),
            skew: Duration::from_secs(30),
            age_max: None,
        }
    }
}

/// What stays true of a token for as long as it is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) id: Option<String>,
    pub(super) bound_to: Option<[u8; 32]>,
    pub(super) window: Window,
}

/// When a token is valid, skew included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// From then on.
    from: Option<SystemTime>,
    /// Issued then at the latest.
    issued: Option<SystemTime>,
    /// Until then, but not then.
    pub(super) until: SystemTime,
    /// Too old from then on.
    old: Option<SystemTime>,
}

impl Window {
    /// # Errors
    /// The token is not valid now.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), Unproved> {
        if now >= self.until {
            Err(Unproved::Expired)
        } else if self.old.is_some_and(|old| now >= old) {
            Err(Unproved::TooOld)
        } else if self.from.is_some_and(|from| now < from) {
            Err(Unproved::NotYet)
        } else if self.issued.is_some_and(|issued| now < issued) {
            Err(Unproved::IssuedLater)
        } else {
            Ok(())
        }
    }

    /// When it ends, whatever ends it.
    pub(super) fn end(&self) -> SystemTime {
        self.old.map_or(self.until, |old| old.min(self.until))
    }
}

impl Rules {
    /// Whether a token of this type is one of these.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_type(&self, kind: Option<&str>) -> Result<(), Unproved> {
        let kind = kind.unwrap_or_default();
        if self.types.iter().any(|known| known == kind) { Ok(()) } else { Err(Unproved::Type) }
    }

    /// Checks what a token claims; whether `iss` is the issuer's is known already.
    ///
    /// # Errors
    /// A claim is not there, not of its form, or says that the token is not for now or not for here.
    pub(super) fn check(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<Checked, Unproved> {
        let checked = self.read(claims)?;
        checked.window.check(now)?;
        Ok(checked)
    }

    /// As [`Rules::check`], of an issuer's answer (RFC 7662, section 2.2), which is good until `latest` at most. It need
    /// not tell an end; an audience only where one is wanted.
    ///
    /// # Errors
    /// As of [`Rules::check`].
    pub(super) fn check_said(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
        latest: SystemTime,
    ) -> Result<Checked, Unproved> {
        let until = time(claims, "exp")?.map_or(latest, |until| until + self.skew);
        if !self.audiences.is_empty() {
            self.audience(claims)?;
        }
        let checked = self.rest(claims, until)?;
        checked.window.check(now)?;
        let window = Window { until: until.min(latest), ..checked.window };
        Ok(Checked { window, ..checked })
    }

    fn read(&self, claims: &Map<String, Value>) -> Result<Checked, Unproved> {
        let until = time(claims, "exp")?.ok_or(Unproved::MissingClaim)?;
        self.audience(claims)?;
        self.rest(claims, until + self.skew)
    }

    /// What is neither of the end nor of the audience.
    fn rest(&self, claims: &Map<String, Value>, until: SystemTime) -> Result<Checked, Unproved> {
        self.party(claims)?;
        if self.required.iter().any(|name| claims.get(name).is_none_or(Value::is_null)) {
            return Err(Unproved::MissingClaim);
        }
        let (from, issued) = (time(claims, "nbf")?, time(claims, "iat")?);
        if self.age_max.is_some() && issued.is_none() {
            return Err(Unproved::MissingClaim);
        }
        let earlier = |time: SystemTime| time.checked_sub(self.skew).unwrap_or(UNIX_EPOCH);
        let age = self.age_max.map(|age| age + self.skew);
        let window = Window {
            from: from.map(earlier),
            issued: issued.map(earlier),
            until,
            old: issued.zip(age).map(|(issued, age)| issued + age),
        };
        let id = match claims.get("jti") {
            None => None,
            Some(Value::String(id)) if id.len() <= TOKEN_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(Unproved::Claim),
        };
        Ok(Checked { id, bound_to: bound_to(claims)?, window })
    }

    fn audience(&self, claims: &Map<String, Value>) -> Result<(), Unproved> {
        let is_ours = |audience: &str| self.audiences.iter().any(|ours| ours == audience);
        match claims.get("aud") {
            None => Err(Unproved::MissingClaim),
            Some(Value::String(audience)) if is_ours(audience) => Ok(()),
            Some(Value::String(_)) => Err(Unproved::Audience),
            Some(Value::Array(all)) if all.len() <= AUDIENCES_MAX => {
                let all: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
                let is_any = all.ok_or(Unproved::Claim)?.into_iter().any(is_ours);
                if is_any { Ok(()) } else { Err(Unproved::Audience) }
            }
            Some(_) => Err(Unproved::Claim),
        }
    }

    fn party(&self, claims: &Map<String, Value>) -> Result<(), Unproved> {
        // Where both are there they say the same, or one of them is meant for somebody else.
        let mut parties = Vec::new();
        for name in ["azp", "client_id"] {
            match claims.get(name) {
                None => {}
                Some(Value::String(party)) => parties.push(party),
                Some(_) => return Err(Unproved::Claim),
            }
        }
        if self.parties.is_empty() {
            return Ok(());
        }
        let is_known = !parties.is_empty() && parties.iter().all(|party| self.parties.contains(party));
        if is_known { Ok(()) } else { Err(Unproved::Party) }
    }
}

/// A time in seconds since 1970, with or without a fraction (RFC 7519, section 2, NumericDate).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, Unproved> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_number().and_then(serde_json::Number::as_f64).ok_or(Unproved::Claim)?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(Unproved::Claim);
    }
    Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}

/// The client certificate that a token is bound to (RFC 8705, section 3.1). Bound to anything else it is of no use here,
/// as nothing else is proved.
fn bound_to(claims: &Map<String, Value>) -> Result<Option<[u8; 32]>, Unproved> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let confirmation = confirmation.as_object().ok_or(Unproved::Claim)?;
    let thumbprint = confirmation.get("x5t#S256").and_then(Value::as_str);
    let (Some(thumbprint), 1) = (thumbprint, confirmation.len()) else { return Err(Unproved::Bound) };
    let bytes = URL_SAFE_NO_PAD.decode(thumbprint).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Some).ok_or(Unproved::Bound)
}
