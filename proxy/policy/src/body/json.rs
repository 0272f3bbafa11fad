//! JSON (RFC 8259), strictly: a key that is there twice makes it unreadable.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Unreadable;

/// A value. `serde_json` bounds how deep it nests (128).
#[derive(Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Values are payload.
impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

pub(super) fn parse(body: &[u8]) -> Result<Node<'_>, Unreadable> {
    serde_json::from_slice(body).map_err(|_| Unreadable("its body is not JSON, or has a key twice"))
}

impl<'a> Node<'a> {
    /// What a key has; none for `null`, and where it is not there.
    pub(super) fn field(&self, key: &str) -> Result<Option<&Node<'a>>, Unreadable> {
        let Node::Object(entries) = self else { return Ok(None) };
        let mut found = None;
        for (name, value) in entries {
            if name == key {
                found = Some(value);
            } else if folds_to(name, key) {
                return Err(Unreadable(
                    "its body has a key in letters that some servers take for another key",
                ));
            }
        }
        Ok(found.filter(|value| !matches!(value, Node::Null)))
    }

    /// The first of several spellings of one key.
    ///
    /// # Errors
    /// Where two of them are there.
    pub(super) fn either(&self, keys: &[&str]) -> Result<Option<&Node<'a>>, Unreadable> {
        let mut found = None;
        for key in keys {
            if let Some(value) = self.field(key)?
                && found.replace(value).is_some()
            {
                return Err(Unreadable("its body says one thing under two keys"));
            }
        }
        Ok(found)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Object(_) => None,
        }
    }

    /// Elements of a list; a value that is none is its own only element, as many servers take it.
    pub(super) fn items(&self) -> &[Node<'a>] {
        match self {
            Node::List(items) => items,
            one => std::slice::from_ref(one),
        }
    }

    pub(super) fn entries(&self) -> &[(Cow<'a, str>, Node<'a>)] {
        match self {
            Node::Object(entries) => entries,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => &[],
        }
    }

    /// What a JSON pointer names (RFC 6901).
    pub(super) fn pointer(&self, pointer: &str) -> Result<Option<&Node<'a>>, Unreadable> {
        let mut at = self;
        for token in pointer.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            let next = match at {
                Node::List(items) => key.parse::<usize>().ok().and_then(|n| items.get(n)),
                other => other.field(&key)?,
            };
            let Some(next) = next else { return Ok(None) };
            at = next;
        }
        Ok(Some(at))
    }
}

/// Whether a server that ignores case takes one key for the other (Go's `encoding/json` folds these two letters too).
fn folds_to(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node<'a>, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut entries: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        let mut seen = HashSet::with_capacity(entries.len());
        if !entries.iter().all(|(key, _)| seen.insert(key)) {
            return Err(A::Error::custom("a key is there twice"));
        }
        Ok(Node::Object(entries))
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'a>, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Text(text) => Ok(Key(text)),
            _ => Err(D::Error::custom("a key is a string")),
        }
    }
}
