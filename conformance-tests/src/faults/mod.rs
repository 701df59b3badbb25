//! Faults, and the proof that none of them breaks a promise (the Cargo feature
//! `faults`): a [`Proxy`] that cuts, stalls and swallows.

mod proxy;
pub mod sweep;

pub use proxy::{Carried, Flow, Proxy, Way};
