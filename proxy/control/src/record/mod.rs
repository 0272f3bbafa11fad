//! What is done with the record beside writing it: the index that finds sessions.

mod index;

pub use index::{Filter, Index, IndexError, LIST_MAX, Session};
