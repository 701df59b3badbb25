//! Faults, and the proof that none of them breaks a promise (the Cargo feature
//! `faults`): a [`Proxy`] that cuts, stalls and swallows, [`servers`] that may
//! be killed, an [`Authority`] for their certificates, a
//! [`recording`](recording()) of what every process asked and was answered, the
//! [`check`](check()) of that [`history`], and the [`sweep`] of an exchange.

mod certificates;
mod check;
pub mod history;
mod proxy;
mod recording;
pub mod servers;
pub mod sweep;

pub use certificates::{Authority, Certificate};
pub use check::{Breach, Law, Verdict, check};
pub use proxy::{Carried, Flow, Proxy, Way};
pub use recording::{new, recording};
