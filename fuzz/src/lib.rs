//! Fuzz bodies as a library, so that stable tests replay what a fuzzer found.
#![forbid(unsafe_code)]
