//! One side of a connection: reads into and writes from owned buffers, each with a time limit.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use monoio::BufResult;
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable,
};
use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use monoio_rustls::{ClientTlsStream, ServerTlsStream, TlsAcceptor, TlsConnector};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::balance::TargetAddress;
use crate::config::Limits;
use crate::problem::Problem;
use crate::shard::ListenSocket;
use crate::tls::{ClientTls, PeerIdentity, ServerTls};

/// The reading half of a stream.
pub(crate) enum ReadIo {
    Tcp(OwnedReadHalf<TcpStream>),
    Unix(OwnedReadHalf<UnixStream>),
    Server(OwnedReadHalf<ServerTlsStream<TcpStream>>),
    Client(OwnedReadHalf<ClientTlsStream<TcpStream>>),
}

/// The writing half of a stream.
pub(crate) enum WriteIo {
    Tcp(OwnedWriteHalf<TcpStream>),
    Unix(OwnedWriteHalf<UnixStream>),
    Server(OwnedWriteHalf<ServerTlsStream<TcpStream>>),
    Client(OwnedWriteHalf<ClientTlsStream<TcpStream>>),
}

/// A socket that accepts.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(crate) fn from_socket(socket: ListenSocket) -> io::Result<Listener> {
        Ok(match socket {
            ListenSocket::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
            ListenSocket::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)?),
        })
    }

    /// The next connection, and who made it.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (Stream::tcp(stream), Some(peer)))
            }
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), None))
            }
        }
    }
}

/// The protocol that TLS agreed on.
pub(crate) type Alpn = Option<Vec<u8>>;

/// What a client and TLS agreed on.
#[derive(Default)]
pub(crate) struct Agreed {
    pub(crate) alpn: Alpn,
    /// The client's certificates, verified, its own first; empty where it showed none.
    chain: Vec<CertificateDer<'static>>,
}

impl Agreed {
    /// Who the client is by its certificate.
    pub(crate) fn certificate(&self) -> Result<Option<Arc<PeerIdentity>>, Problem> {
        if self.chain.is_empty() {
            return Ok(None);
        }
        let identity = PeerIdentity::of(&self.chain);
        identity.map(|identity| Some(Arc::new(identity))).map_err(|_| Problem::CERTIFICATE_UNCLEAR)
    }
}

/// A connected socket.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(crate) async fn connect(target: &TargetAddress) -> io::Result<Stream> {
        match target {
            TargetAddress::Tcp(address) => TcpStream::connect_addr(*address).await.map(Stream::tcp),
            TargetAddress::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        }
    }

    pub(crate) fn tcp(stream: TcpStream) -> Stream {
        // Small writes of a stream must not wait for each other; without it they still arrive.
        let _ = stream.set_nodelay(true);
        Stream::Tcp(stream)
    }

    /// Both halves, after the handshake as a server where there is TLS.
    pub(crate) async fn split_server(self, tls: Option<&ServerTls>) -> io::Result<(ReadIo, WriteIo, Agreed)> {
        match (self, tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let stream =
                    TlsAcceptor::from(tls.config()).accept(stream).await.map_err(io::Error::other)?;
                let (io, session) = stream.into_parts();
                let chain =
                    session.peer_certificates().map(|c| c.iter().map(|c| c.clone().into_owned()).collect());
                let agreed = Agreed {
                    alpn: session.alpn_protocol().map(<[u8]>::to_vec),
                    chain: chain.unwrap_or_default(),
                };
                let (read, write) = ServerTlsStream::new(io, session).into_split();
                Ok((ReadIo::Server(read), WriteIo::Server(write), agreed))
            }
            (stream, None) => {
                let (read, write) = stream.split();
                Ok((read, write, Agreed::default()))
            }
            (Stream::Unix(_), Some(_)) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Both halves, after the handshake as a client where there is TLS; the server must prove `name`. `offers_h2`: it may
    /// choose HTTP/2.
    pub(crate) async fn split_client(
        self,
        tls: Option<&ClientTls>,
        name: &str,
        offers_h2: bool,
    ) -> io::Result<(ReadIo, WriteIo, Alpn)> {
        match (self, tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let connector =
                    TlsConnector::from(if offers_h2 { tls.config_with_h2() } else { tls.config() });
                let stream = connector.connect(name, stream).await.map_err(io::Error::other)?;
                let alpn = stream.alpn_protocol();
                let (read, write) = stream.into_split();
                Ok((ReadIo::Client(read), WriteIo::Client(write), alpn))
            }
            (stream, None) => {
                let (read, write) = stream.split();
                Ok((read, write, None))
            }
            (Stream::Unix(_), Some(_)) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn split(self) -> (ReadIo, WriteIo) {
        match self {
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadIo::Tcp(read), WriteIo::Tcp(write))
            }
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadIo::Unix(read), WriteIo::Unix(write))
            }
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// Why a read or write did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoFault {
    TimedOut,
    Failed,
}

impl From<io::Error> for IoFault {
    fn from(_: io::Error) -> IoFault {
        IoFault::Failed
    }
}

/// Bytes that an idle connection can take at once: most requests' heads are shorter.
const IDLE_BYTES: usize = 2 * 1024;

/// Reads, and keeps what has been read and not consumed.
pub(crate) struct Reader {
    io: ReadIo,
    data: Vec<u8>,
    from: usize,
    spare: Vec<u8>,
    /// A read of TLS was broken off: there is no other behind it.
    is_torn: bool,
    /// What comes next is the first of something new.
    is_idle: bool,
}

impl Reader {
    pub(crate) fn new(io: ReadIo) -> Reader {
        Reader { io, data: Vec::new(), from: 0, spare: Vec::new(), is_torn: false, is_idle: true }
    }

    /// What has been read and not consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.data.get(self.from..).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.from = self.from.saturating_add(len).min(self.data.len());
        if self.from == self.data.len() {
            self.data.clear();
            self.from = 0;
        }
    }

    /// Gives up memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if self.data.is_empty() {
            self.data = Vec::new();
            self.spare = Vec::new();
            self.is_idle = true;
        }
    }

    /// Reads more; 0: the other side has ended.
    pub(crate) async fn fill(&mut self, ms_max: u64) -> Result<usize, IoFault> {
        let filled = monoio::time::timeout(Duration::from_millis(ms_max), self.fill_in_any_time()).await;
        filled.unwrap_or(Err(IoFault::TimedOut))
    }

    /// The same without a limit: whoever calls it has one.
    pub(crate) async fn fill_in_any_time(&mut self) -> Result<usize, IoFault> {
        if self.is_torn {
            return Err(IoFault::Failed);
        }
        let mut chunk = std::mem::take(&mut self.spare);
        chunk.clear();
        // An idle connection waits with its buffer in the kernel's hands, and has a small one.
        chunk.reserve_exact(if self.is_idle { IDLE_BYTES } else { Limits::READ_BYTES });
        self.is_torn = matches!(self.io, ReadIo::Server(_) | ReadIo::Client(_));
        let (result, chunk) = self.read(chunk).await;
        self.is_torn = false;
        self.is_idle = false;
        let len = result?;
        if self.buffered().is_empty() {
            self.spare = std::mem::replace(&mut self.data, chunk);
            self.from = 0;
        } else {
            self.data.drain(..self.from);
            self.from = 0;
            self.data.extend_from_slice(&chunk);
            self.spare = chunk;
        }
        Ok(len)
    }

    async fn read(&mut self, chunk: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        match &mut self.io {
            ReadIo::Tcp(io) => io.read(chunk).await,
            ReadIo::Unix(io) => io.read(chunk).await,
            ReadIo::Server(io) => io.read(chunk).await,
            ReadIo::Client(io) => io.read(chunk).await,
        }
    }
}

/// Writes whole buffers.
pub(crate) struct Writer {
    io: WriteIo,
    ms_max: u64,
}

impl Writer {
    pub(crate) fn new(io: WriteIo, ms_max: u64) -> Writer {
        Writer { io, ms_max }
    }

    /// Writes all of `bytes` and gives the buffer back, empty.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, IoFault> {
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let write = async {
            match &mut self.io {
                WriteIo::Tcp(io) => io.write_all(bytes).await,
                WriteIo::Unix(io) => io.write_all(bytes).await,
                WriteIo::Server(io) => flushed(io, bytes).await,
                WriteIo::Client(io) => flushed(io, bytes).await,
            }
        };
        let written = monoio::time::timeout(Duration::from_millis(self.ms_max), write).await;
        let Ok((result, mut bytes)) = written else { return Err(IoFault::TimedOut) };
        result?;
        bytes.clear();
        Ok(bytes)
    }

    /// Tells the other side that nothing more comes.
    pub(crate) async fn shutdown(&mut self) {
        let shutdown = async {
            match &mut self.io {
                WriteIo::Tcp(io) => io.shutdown().await,
                WriteIo::Unix(io) => io.shutdown().await,
                WriteIo::Server(io) => io.shutdown().await,
                WriteIo::Client(io) => io.shutdown().await,
            }
        };
        // Whether it arrives does not matter: the connection is closed next.
        let _ = monoio::time::timeout(Duration::from_millis(self.ms_max), shutdown).await;
    }
}

/// Closes a connection as one: dropped by itself, a writing half would end its side in good order first.
pub(crate) fn close(reader: Reader, writer: Writer) {
    match (reader.io, writer.io) {
        (ReadIo::Tcp(read), WriteIo::Tcp(write)) => drop(read.reunite(write)),
        (ReadIo::Unix(read), WriteIo::Unix(write)) => drop(read.reunite(write)),
        (ReadIo::Server(read), WriteIo::Server(write)) => drop(read.reunite(write)),
        (ReadIo::Client(read), WriteIo::Client(write)) => drop(read.reunite(write)),
        // Halves of one connection are of one kind.
        (read, write) => drop((read, write)),
    }
}

async fn flushed<W: AsyncWriteRent>(io: &mut W, bytes: Vec<u8>) -> BufResult<usize, Vec<u8>> {
    let (result, bytes) = io.write_all(bytes).await;
    match result {
        Ok(len) => (io.flush().await.map(|()| len), bytes),
        Err(e) => (Err(e), bytes),
    }
}
