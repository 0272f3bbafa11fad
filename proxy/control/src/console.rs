//! The console: one page that shows what the gateway does, from its own status and nothing else.

/// The page; it loads nothing from anywhere but `/api/v1/status`.
pub(crate) const PAGE: &str = include_str!("console.html");

/// What the page may do: its own inline script and style, its own origin.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                                 connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
