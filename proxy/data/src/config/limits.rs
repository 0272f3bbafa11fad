//! Limits and timeouts that hold for the whole gateway.

/// Limits and timeouts of a gateway's connections. Memory: a connection holds at most two read buffers of
/// [`Limits::READ_BYTES`], two heads, the masked output of one read, and what its two bodies hold back; and for each
/// coded body, of which there are [`Limits::coded_bodies_max`], the windows that
/// [`Masking::coding_limits`](super::Masking::coding_limits) allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, request or response. 64 KiB: cookies and tokens are large.
    pub head_bytes_max: usize,
    /// Fields of a head.
    pub fields_max: usize,
    /// Bytes of a request target.
    pub target_bytes_max: usize,
    /// Bodies with content codings that a shard has in work at once, requests and responses; one more is refused with
    /// 503, for their windows are the most memory that a client can ask for.
    pub coded_bodies_max: usize,
    /// Connections a shard serves at once; one more is refused with 503.
    pub connections_max: usize,
    /// Milliseconds a client's connection may be idle between requests.
    pub idle_ms_max: u64,
    /// Milliseconds from a request's first byte to the end of its head.
    pub head_ms_max: u64,
    /// Milliseconds a write may take.
    pub write_ms_max: u64,
    /// Interim responses (1xx) before the final one.
    pub interim_max: usize,
    /// Exchanges that a client may have open at once on one HTTP/2 connection.
    pub h2_streams_max: u32,
}

impl Limits {
    /// Bytes read at once.
    pub const READ_BYTES: usize = 16 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes_max: 64 * 1024,
            fields_max: 128,
            target_bytes_max: 16 * 1024,
            coded_bodies_max: 4 * 1024,
            connections_max: 16 * 1024,
            idle_ms_max: 75_000,
            head_ms_max: 15_000,
            write_ms_max: 60_000,
            interim_max: 8,
            h2_streams_max: 100,
        }
    }
}
