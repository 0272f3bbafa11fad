//! `CONNECT` (RFC 9110, section 9.3.6), where a listener takes it: a tunnel that ends in the gateway.
//!
//! A tunnel to the upstream would carry bytes that nobody scans, so none is opened. Behind the 200 the connection goes on
//! as if it began there, in HTTP/1.1: each request is an exchange like any other, and only for the host that the tunnel
//! was asked for. TLS inside is refused, as nothing in it could be scanned; so is what is not HTTP.

use super::connection::Writer;
use super::exchange::SessionContext;
use crate::codec::head::RequestHead;
use crate::problem::Problem;
use crate::stats::ShardStats;

/// The first byte of a handshake of TLS (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// A fatal alert `access_denied` (RFC 8446, section 6), which clients of TLS can read.
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

/// A tunnel that a client has opened.
pub(crate) struct Tunnel {
    /// Host and port.
    authority: String,
}

impl Tunnel {
    /// Answers a `CONNECT`.
    ///
    /// # Errors
    /// No route is for that host by name, and how that is told; none: the client is gone.
    pub(crate) async fn open(
        context: &SessionContext,
        head: &RequestHead,
        writer: &mut Writer,
    ) -> Result<Tunnel, Option<Problem>> {
        if !context.table.load().names(&head.target) {
            return Err(Some(Problem::NO_ROUTE));
        }
        context.stats.response(200);
        let answer = format!("HTTP/1.1 200 OK\r\nsluice-request-id: {}\r\n\r\n", context.new_id());
        writer.write(answer.into_bytes()).await.map_err(|_| None)?;
        Ok(Tunnel { authority: head.target.clone() })
    }

    /// Whether a request is for the host of the tunnel. Its port may be left out.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self, head: &RequestHead) -> Result<(), Problem> {
        let name = self.authority.rsplit_once(':').map(|(name, _)| name);
        let host = head.authority.as_deref();
        if host == Some(&self.authority) || host.is_some() && host == name {
            Ok(())
        } else {
            Err(Problem::OTHER_HOST)
        }
    }
}

/// Whether a client begins with TLS.
pub(crate) fn is_tls(start: &[u8]) -> bool {
    start.first() == Some(&TLS_HANDSHAKE)
}

/// Tells a client that it can't have TLS here.
pub(crate) async fn refuse_tls(context: &SessionContext, writer: &mut Writer) {
    ShardStats::count(&context.stats.requests, 1);
    context.stats.refusal(Problem::REQUEST_UNMASKABLE.code);
    // It arrives or not: the connection is closed next.
    let _ = writer.write(ALERT.to_vec()).await;
}
