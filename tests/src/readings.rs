//! All that somebody could read in a stream of events, by any decoding: what must not hold a planted value.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluice_engine::Format;

use crate::llm::events;
use crate::streams::messages;

/// Readings of a body: its bytes; the strings and bytes of each place, joined over events, and those within that are JSON
/// themselves; data that is not JSON, joined.
///
/// # Panics
/// When the body is not valid in its format.
#[must_use]
pub fn readings(format: Format, body: &[u8]) -> Vec<String> {
    let mut places = BTreeMap::new();
    let datas = match format {
        Format::EventStream => {
            messages(body).iter().map(|payload| String::from_utf8(payload.clone()).expect("UTF-8")).collect()
        }
        Format::Ndjson => std::str::from_utf8(body).expect("UTF-8").lines().map(String::from).collect(),
        Format::Json => {
            let elements: Vec<Value> = serde_json::from_slice(body).expect("an array of JSON");
            elements.iter().map(Value::to_string).collect()
        }
        _ => events(std::str::from_utf8(body).expect("UTF-8")),
    };
    for data in datas {
        match serde_json::from_str::<Value>(&data) {
            Ok(value) if !value.is_number() => read(&value, &mut String::new(), &mut places),
            _ => places.entry(String::new()).or_default().extend(data.bytes()),
        }
    }
    texts(body, places)
}

/// Readings of a JSON document, as those of a stream.
///
/// # Panics
/// When it is not JSON.
#[must_use]
pub fn readings_of_json(body: &[u8]) -> Vec<String> {
    let mut places = BTreeMap::new();
    let value =
        serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(body)));
    read(&value, &mut String::new(), &mut places);
    texts(body, places)
}

/// The bytes themselves, and what each place says.
fn texts(body: &[u8], places: BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut all = vec![String::from_utf8_lossy(body).into_owned()];
    for text in places.into_values() {
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut inner = BTreeMap::new();
        if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(&text) {
            read(&value, &mut String::new(), &mut inner);
        }
        all.extend(inner.into_values().map(|text| String::from_utf8_lossy(&text).into_owned()));
        all.push(text);
    }
    all
}

/// Adds what a value says to the places where it says it.
fn read(value: &Value, path: &mut String, places: &mut BTreeMap<String, Vec<u8>>) {
    let len = path.len();
    match value {
        Value::String(text) => {
            places.entry(path.clone()).or_default().extend(text.bytes());
            let inner =
                STANDARD.decode(text).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            if let Some(inner @ Value::Object(_)) = inner {
                path.push_str("/base64");
                read(&inner, path, places);
            }
        }
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|item| item.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
            if let Some(bytes) = bytes {
                places.entry(format!("{path}/bytes")).or_default().extend(bytes);
            }
            for item in items {
                // Elements that say which they are; the others are one list.
                if let Some(index) = item.get("index") {
                    path.push_str(&format!("/#{index}"));
                }
                read(item, path, places);
                path.truncate(len);
            }
        }
        Value::Object(members) => {
            for (name, inner) in members {
                if name == "index" || name.ends_with("_index") || name.ends_with("Index") || name == "type" {
                    path.push_str(&format!("/{inner}"));
                }
            }
            let outer = path.len();
            for (name, inner) in members {
                path.push('/');
                path.push_str(name);
                // Names may say something too.
                places.entry(format!("{path} name")).or_default().extend(name.bytes());
                read(inner, path, places);
                path.truncate(outer);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    path.truncate(len);
}
