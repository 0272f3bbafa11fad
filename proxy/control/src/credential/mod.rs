//! Credentials of upstreams: read by reference, held in zeroed memory, put into requests in the caller's place.

mod injection;
mod reference;
mod secret;
mod sigv4;
mod source;
mod vault;

pub use injection::{Injection, Outgoing, Plan, SignedPart};
pub use reference::{NotReference, Reference};
pub use secret::{SECRET_BYTES_MAX, Secret};
pub use sigv4::{
    AWS_FIELDS, AccessKey, AwsService, CHUNK_OVERHEAD_MAX, ChunkSigner, Payload, Signed, ToSign,
};
pub use source::{CredentialError, EXEC_TIME_MAX, Keeping, Source};
pub use vault::{VAULTS_MAX, Vault, VaultAuth, VaultError, Vaults};

#[cfg(test)]
mod tests;
