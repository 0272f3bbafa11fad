//! Operations of requests.
