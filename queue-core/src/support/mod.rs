//! Parts that several backends are made of. A backend need not use them.

#[cfg(feature = "rustls")]
mod cryptography;
mod url;
mod waiters;

#[cfg(feature = "rustls")]
pub use cryptography::choose_cryptography;
pub use url::percent_decode;
pub use waiters::{Wait, Waiters};
