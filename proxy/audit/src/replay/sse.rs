//! Server-sent events out of bytes that come in pieces (HTML Living Standard, section 9.2).

/// Collects the data of events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

/// The longest event that is put together; a longer one is cut, for replay is for people.
const EVENT_BYTES_MAX: usize = 4 << 20;

impl Events {
    /// The data of each event that these bytes end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut ended = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => ended.extend(self.end_line()),
                b'\r' => {}
                _ if self.line.len() < EVENT_BYTES_MAX => self.line.push(*byte),
                _ => {}
            }
        }
        ended
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            let room = EVENT_BYTES_MAX.saturating_sub(self.data.len());
            let data = data.strip_prefix(b" ").unwrap_or(data);
            self.data.extend(data.iter().take(room));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_for_every_cut() {
        let text = b"event: x\r\ndata: a\r\ndata:b\r\n\r\n: note\ndata: c\n\n\n";
        for cut in 0..text.len() {
            let mut events = Events::default();
            let mut all = events.push(&text[..cut]);
            all.extend(events.push(&text[cut..]));
            assert_eq!(all, [b"a\nb".to_vec(), b"c".to_vec()], "{cut}");
        }
    }

    #[test]
    fn an_event_is_cut_at_its_limit() {
        let mut events = Events::default();
        let mut text = b"data:".to_vec();
        text.resize(EVENT_BYTES_MAX + 1, b'x');
        text.extend_from_slice(b"\n\n");
        assert_eq!(events.push(&text)[0].len(), EVENT_BYTES_MAX - 5);
    }
}
