//! What policies look at, made of what a shard asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_data::desk::{Asked, HeldBody, Refusal};
use sluice_policy::{BodyFacts, Facts, Subject, Surface};

/// What is spoken on each route, by its name.
pub(crate) type Surfaces = BTreeMap<String, Arc<Surface>>;

/// The facts of a request.
///
/// # Errors
/// What its body says can't be read without doubt.
pub(super) fn of(
    asked: &Asked,
    subject: Arc<Subject>,
    surface: Arc<Surface>,
    body: Option<&HeldBody>,
) -> Result<Facts, Refusal> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &asked.fields {
        // Several of one name are one list (RFC 9110, section 5.3).
        headers
            .entry(name.clone())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    let body = match body {
        Some(body) => Some(read(body)?),
        None => (!asked.has_body).then(BodyFacts::default),
    };
    Ok(Facts {
        subject,
        upstream: asked.upstream.as_str().into(),
        route: asked.route.as_str().into(),
        surface,
        method: asked.method.clone(),
        path: asked.path.clone(),
        query: query(&asked.target),
        headers,
        media_type: media_type(asked.content_type.as_deref().unwrap_or_default()),
        body,
    })
}

fn read(body: &HeldBody) -> Result<BodyFacts, Refusal> {
    let labels = body.labels.iter().map(|(label, count)| (label.as_str().into(), *count)).collect();
    Ok(BodyFacts { labels, bytes: body.plain.len() as u64, ..BodyFacts::default() })
}

/// The type without its parameters, in lower case (RFC 9110, section 8.3.1).
pub(super) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The parameters of a target's query, decoded (WHATWG URL, section 5.1).
fn query(target: &str) -> Vec<(String, String)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    };
    parts.map(pair).collect()
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let code = after.split_at_checked(2).filter(|(pair, _)| pair.iter().all(u8::is_ascii_hexdigit));
        (rest, _) = match (first, code) {
            (b'%', Some((pair, behind))) => (behind, out.extend(hex(pair))),
            (b'+', _) => (after, out.push(b' ')),
            _ => (after, out.push(first)),
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pairs = |target: &str| {
            let all = query(target).into_iter().map(|(name, value)| format!("{name}={value}"));
            all.collect::<Vec<_>>().join("|")
        };
        for (target, wanted) in [
            ("/x", ""),
            ("/x?", ""),
            ("/x?a=1&b=%41%zz+c&&c&=d&a=2?3", "a=1|b=A%zz c|c=|=d|a=2?3"),
            ("/x?%C3%A9=%ff", "é=\u{fffd}"),
        ] {
            assert_eq!(pairs(target), wanted, "{target}");
        }
        assert_eq!(media_type(" Text/HTML ; charset=x"), "text/html");
    }
}
