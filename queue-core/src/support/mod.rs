//! Parts that several backends are made of. A backend need not use them.

mod url;
mod waiters;

pub use url::percent_decode;
pub use waiters::{Wait, Waiters};
