//! What a held request's body says: a pure reader of its bytes.
//!
//! Policies must see what the upstream will do, and servers read bodies more loosely than their documents say. So what
//! could be read in two ways is refused, and never guessed: a key that is there twice, or once more in other letters
//! (`"Model"` is `model` to servers in Go), two models, a number that is a string. The media type decides nothing on an
//! LLM's path, for servers there read JSON whatever it says.

mod form;
mod json;
mod llm;

use std::fmt;

use crate::operation::{Acts, SqlPlace, path_model};
use crate::{BodyFacts, Facts, Statement};
use json::Node;

/// A body that could be read in more than one way, or in none. No part of it is in this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub(crate) &'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unreadable {}

/// What kind of body it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape<'a> {
    Json,
    Form,
    Multipart(&'a str),
    Other,
}

impl BodyFacts {
    /// Reads a body, its content codings taken off. `content_type` is the field's value as it came; labels are left to
    /// whoever scans it.
    ///
    /// # Errors
    /// Where it could be read in more than one way: such a request is refused.
    pub fn read(facts: &Facts, content_type: &str, body: &[u8]) -> Result<BodyFacts, Unreadable> {
        let mut read = BodyFacts { bytes: body.len() as u64, ..BodyFacts::default() };
        let acts = Acts::of(&Facts { body: None, ..facts.clone() });
        let is_llm = acts.names().any(|name| name.starts_with("llm."));
        let shape = shape(content_type);
        if is_llm {
            read.model = path_model(&facts.path).map(str::to_owned);
        }
        // Files and batches of lines are not read: their paths name them.
        let has_document = is_llm && !acts.names().any(|name| name == "llm.files");
        if let Shape::Multipart(boundary) = shape
            && is_llm
            && !body.is_empty()
        {
            llm::take_parts(&mut read, &form::parts(boundary, body)?)?;
        } else if !body.is_empty()
            && (has_document || (shape == Shape::Json && !facts.surface.protocol.is_plain()))
        {
            let document = json::parse(body)?;
            if is_llm {
                llm::take(&mut read, &document)?;
            } else {
                llm::take_rpc(&mut read, &document)?;
            }
        }
        for place in &facts.surface.sql {
            read.statements.extend(statements(place, shape, body));
        }
        Ok(read)
    }
}

/// Texts of SQL at a place. What can't be read there is no statement, which counts as a write.
fn statements(place: &SqlPlace, shape: Shape<'_>, body: &[u8]) -> Vec<Statement> {
    match place {
        // Of the query, which the head has.
        SqlPlace::Query(_) => Vec::new(),
        SqlPlace::Body => match std::str::from_utf8(body) {
            Ok(text) if !text.trim().is_empty() => vec![Statement(text.to_owned())],
            Ok(_) | Err(_) => Vec::new(),
        },
        SqlPlace::Form(name) => {
            let values = match shape {
                Shape::Multipart(boundary) => match form::parts(boundary, body) {
                    Ok(parts) => form::of_name(parts, name),
                    Err(_) => Vec::new(),
                },
                Shape::Form | Shape::Json | Shape::Other => form::of_name(form::pairs(body), name),
            };
            values.into_iter().map(Statement).collect()
        }
        SqlPlace::Json(pointer) => {
            let Ok(document) = json::parse(body) else { return Vec::new() };
            match document.pointer(pointer) {
                Ok(Some(Node::Text(text))) => vec![Statement(text.to_string())],
                Ok(Some(Node::List(items))) => {
                    let texts: Option<Vec<Statement>> =
                        items.iter().map(|item| item.text().map(|text| Statement(text.to_owned()))).collect();
                    texts.unwrap_or_default()
                }
                Ok(_) | Err(_) => Vec::new(),
            }
        }
    }
}

fn shape(content_type: &str) -> Shape<'_> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Shape::Form,
        "multipart/form-data" => Shape::Multipart(form::boundary(parameters)),
        "application/json" | "text/json" => Shape::Json,
        other if other.ends_with("+json") => Shape::Json,
        _ => Shape::Other,
    }
}

#[cfg(test)]
mod tests;
