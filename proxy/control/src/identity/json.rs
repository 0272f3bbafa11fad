//! JSON that can't be read in two ways.
//!
//! A member that is there twice means one thing to the reader that takes the first and another to the one that takes the
//! last (RFC 8259, section 4); in a token that is an attack. Here such a text is no JSON, nor is one that nests deeper
//! or holds more than tokens and key sets ever do.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and arrays inside each other.
pub(super) const DEPTH_MAX: usize = 16;
/// Members and elements of one text, all together.
pub(super) const ITEMS_MAX: usize = 10_000;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotJson {
    /// A member is there twice.
    Twice,
    /// It is not JSON, not an object, or too deep or large.
    Malformed,
}

/// The object that a text holds.
///
/// # Errors
/// It holds none, or one that can be read in two ways.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, NotJson> {
    let mut state = State { items: 0, is_twice: false };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0, state: &mut state }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Err(_) if state.is_twice => Err(NotJson::Twice),
        Ok(_) | Err(_) => Err(NotJson::Malformed),
    }
}

/// What was met so far.
struct State {
    items: usize,
    is_twice: bool,
}

/// One value at its depth.
struct Strict<'s> {
    depth: usize,
    state: &'s mut State,
}

impl Strict<'_> {
    /// One more member or element, with its place one deeper.
    fn inner<E: Error>(&mut self) -> Result<Strict<'_>, E> {
        self.state.items += 1;
        if self.state.items > ITEMS_MAX {
            return Err(E::custom("too many items"));
        }
        Ok(Strict { depth: self.depth + 1, state: self.state })
    }

    fn check_depth<E: Error>(&self) -> Result<(), E> {
        if self.depth >= DEPTH_MAX { Err(E::custom("too deep")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.inner()?)?;
            if object.insert(name, value).is_some() {
                self.state.is_twice = true;
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, wanted) in [
            (r#"{"a":1,"b":[{"a":2}],"c":null,"d":true,"e":-1.5,"f":"x"}"#, Ok(())),
            (r#"{"a":1,"a":1}"#, Err(NotJson::Twice)),
            (r#"{"b":[{"a":1,"\u0061":2}]}"#, Err(NotJson::Twice)),
            (r#"{"a":1} {"b":2}"#, Err(NotJson::Malformed)),
            ("{\"a\":1}\0", Err(NotJson::Malformed)),
            (r#"{"a":1,}"#, Err(NotJson::Malformed)),
            (r#"{a:1}"#, Err(NotJson::Malformed)),
            (r#"{"a":NaN}"#, Err(NotJson::Malformed)),
            (r#"{"a":"\ud800"}"#, Err(NotJson::Malformed)),
            ("[]", Err(NotJson::Malformed)),
            ("", Err(NotJson::Malformed)),
        ] {
            assert_eq!(object(text.as_bytes()).map(|_| ()), wanted, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(NotJson::Malformed));
    }

    #[test]
    fn limits() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(object(nested(DEPTH_MAX).as_bytes()).is_err());
        let list = |items: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(items - 1));
        assert!(object(list(ITEMS_MAX - 2).as_bytes()).is_ok());
        assert!(object(list(ITEMS_MAX).as_bytes()).is_err());
    }
}
