//! A server whose answers are the test's.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::tls::Identity;
use crate::wire::{End, Message, WAIT, Wire};

/// An upstream that the test plays by hand: it accepts when it likes, and reads and writes every byte itself.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Listens on a port of its own.
    #[must_use]
    pub fn bind() -> Upstream {
        Upstream { listener: TcpListener::bind("127.0.0.1:0").expect("loopback has a free port") }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    /// Its address as `--upstream` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next connection.
    #[must_use]
    pub fn accept(&self) -> Wire {
        self.try_accept(WAIT).expect("the gateway connects")
    }

    /// The next connection, if one comes within `wait`.
    #[must_use]
    pub fn try_accept(&self, wait: Duration) -> Option<Wire> {
        self.try_accept_stream(wait).map(Wire::new)
    }

    /// The next connection, with nothing read from it, as a side of TLS needs it.
    #[must_use]
    pub fn accept_stream(&self) -> TcpStream {
        self.try_accept_stream(WAIT).expect("the gateway connects")
    }

    fn try_accept_stream(&self, wait: Duration) -> Option<TcpStream> {
        self.listener.set_nonblocking(true).expect("a listener can be made not to block");
        let deadline = Instant::now() + wait;
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("a stream can be made to block");
                return Some(stream);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Answers every request with what `answer` makes of it, on every connection, from now on. An answer is the raw
    /// bytes of a response; a request of `Connection: close` and an empty answer close the connection.
    #[must_use]
    pub fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Answering {
        Upstream::bind().answer(false, Wire::new, answer)
    }

    /// As [`Upstream::answering`], over TLS.
    #[must_use]
    pub fn answering_tls(
        identity: &Arc<Identity>,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Answering {
        let identity = Arc::clone(identity);
        Upstream::bind().answer(true, move |stream| identity.accept(stream), answer)
    }

    fn answer(
        self,
        is_tls: bool,
        carry: impl Fn(TcpStream) -> Wire + Send + Sync + 'static,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Answering {
        let address = self.address();
        let (requests, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (answer, seen, count) = (Arc::new(answer), Arc::clone(&requests), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in self.listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                let wire = carry(stream);
                thread::spawn(move || answer_all(wire, &*answer, &seen));
            }
        });
        Answering { address, is_tls, requests, connections }
    }
}

/// Answers each request of a connection.
fn answer_all(
    mut wire: Wire,
    answer: &(dyn Fn(&Message) -> Vec<u8> + Send + Sync),
    seen: &Mutex<Vec<Message>>,
) {
    // A pooled connection is idle for longer than any test waits for bytes.
    wire.stream().set_read_timeout(None).expect("a timeout can be taken away");
    while let Some(head) = wire.try_head() {
        if head.field("expect").is_some() {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let request = wire.body_of(head);
        if request.end == End::Truncated {
            return;
        }
        let response = answer(&request);
        seen.lock().expect("no holder panics").push(request);
        if response.is_empty() || !wire.try_send(&response) {
            return;
        }
        // A response without a length ends with its connection.
        let text = String::from_utf8_lossy(&response).to_lowercase();
        let head = text.split("\r\n\r\n").next().unwrap_or("").to_owned();
        if head.contains("connection: close") {
            return;
        }
    }
}

/// An upstream that answers by itself.
#[derive(Debug)]
pub struct Answering {
    address: SocketAddr,
    is_tls: bool,
    requests: Arc<Mutex<Vec<Message>>>,
    connections: Arc<AtomicUsize>,
}

impl Answering {
    /// Its address as `--upstream` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests answered since this was last asked.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Message> {
        std::mem::take(&mut self.requests.lock().expect("no holder panics"))
    }
}
