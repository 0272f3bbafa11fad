//! A session as an asciicast, version 2: what came from upstream is output, what went there input.

use serde_json::json;

use crate::record::{Direction, Kind, Record};

/// The frames of these records, a line each after the header.
#[must_use]
pub fn asciicast(records: &[Record]) -> String {
    let (wall_ns, begin) = records.first().map_or((0, 0), |record| (record.wall_ns, record.mono_ns));
    let header = json!({ "version": 2, "width": 80, "height": 24, "timestamp": wall_ns / 1_000_000_000 });
    let mut text = format!("{header}\n");
    for record in records.iter().filter(|record| record.kind == Kind::Frame) {
        let seconds = record.mono_ns.saturating_sub(begin) as f64 / 1e9;
        let code = if record.direction == Some(Direction::Request) { "i" } else { "o" };
        let bytes = record.payload_bytes().unwrap_or_default();
        text += &format!("{}\n", json!([seconds, code, String::from_utf8_lossy(&bytes)]));
    }
    text
}
