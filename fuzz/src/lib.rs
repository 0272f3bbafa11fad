//! Fuzz bodies as a library, so that stable tests replay what a fuzzer found.
//!
//! A body takes bytes and panics where a promise is broken. [`BODIES`] lists them by the name of their corpus in
//! `fuzz/corpus/NAME/`, whose files are plain documents: how a document is cut into chunks follows from its own bytes
//! ([`random::Random::of`]), so that one file is one case and nothing else has to be kept with it.
#![forbid(unsafe_code)]
#![allow(clippy::panic, clippy::expect_used)]

pub mod built_pack;
pub mod carriers;
pub mod http;
pub mod http_naive;
pub mod masker;
pub mod pack;
pub mod random;
pub mod stream;

/// A body: it panics where a promise is broken.
pub type Body = fn(&[u8]);

/// Every body by its name.
pub const BODIES: &[(&str, Body)] = &[
    ("stream", stream::stream_vs_oracle),
    ("instruction_sets", stream::instruction_sets),
    ("builtin", stream::builtin_vs_whole),
    ("json", masker::json),
    ("ndjson", masker::ndjson),
    ("sse", masker::sse),
    ("form", masker::form),
    ("multipart", masker::multipart),
    ("nested", masker::nested),
    ("auto", masker::auto),
    ("protobuf", carriers::protobuf),
    ("otlp", carriers::otlp),
    ("grpc", carriers::grpc),
    ("event_stream", carriers::event_stream),
    ("websocket", carriers::websocket),
    ("coding", carriers::coding),
    ("pack", pack::pack),
    ("built_pack", built_pack::built_pack),
    ("http", http::http),
];
