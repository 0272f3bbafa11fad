//! The harness of the end-to-end tests.
//!
//! Tests start the real `sluice` binary on port 0, talk to it over raw sockets and play its upstream themselves, so
//! that every byte on either side is the test's own. Nothing here sleeps: a test waits for bytes, for a line of
//! output or for an exit, each with a deadline that fails the test when it passes.
//!
//! * [`checkout`] knows where things are, and how a test says that it was skipped.
//! * [`configured`] starts it by a file.
//! * [`process`] starts the binary and ends it.
//! * [`wire`] is HTTP/1.1 by hand, for either side of a connection.
//! * [`frames`] is HTTP/2 by hand.
//! * [`tls`] makes certificates and carries either side over TLS.
//! * [`upstream`] is a server whose answers are the test's.
//! * [`vectors`] runs tables of messages, right and wrong.
//! * [`observed`] is what can be seen of a gateway from outside.
//! * [`coding`] puts content codings on and takes them off.
//! * [`llm`] makes the streams of LLM APIs and reads them as a client does.
//! * [`protobuf`] makes messages of protobuf and gRPC.
//! * [`streams`] makes those of every API, several texts interleaved, and [`readings`] is all that can be read in one.
//! * [`engine`] masks without a gateway.
//! * [`random`] makes documents from seeds, and decodes whatever something could be hidden in.
//! * [`planted`] are the values that must never arrive.
//!
//! A harness fails by panicking: that is what makes a test fail.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod checkout;
pub mod coding;
pub mod configured;
pub mod engine;
pub mod frames;
pub mod issuer;
pub mod llm;
pub mod observed;
pub mod planted;
pub mod process;
pub mod protobuf;
pub mod random;
pub mod readings;
pub mod streams;
pub mod tls;
pub mod upstream;
pub mod vectors;
pub mod wire;

/// Both I/O drivers of the shards, as `--io` spells them: what holds for one holds for the other.
pub const DRIVERS: [&str; 2] = ["uring", "epoll"];
