//! The suite that certifies a storage backend of anyqueue.
//!
//! The laws are the bullets on the methods of
//! [`Backend`](anyqueue_core::Backend); each case is named after the law that
//! it proves: `claim_order__priority_first`. A backend author says how a store
//! is opened and removed, and gets every case, run in parallel, each on a
//! store and a runtime of its own:
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//! ```no_run
//! use std::{process::ExitCode, sync::Arc};
//! use anyqueue_conformance_tests::{Fixture, Requirement, run};
//! use anyqueue_core::{Backend, Error, async_trait};
//!
//! struct Files;
//!
//! #[async_trait]
//! impl Fixture for Files {
//!     fn name(&self) -> &str { "files" }
//!     fn requirement(&self) -> Requirement { Requirement::Required }
//!     async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
//!         # let _ = store;
//!         todo!("connect to the store of this name; `prepare` is called by the suite")
//!     }
//!     async fn remove(&self, store: &str) {
//!         # let _ = store;
//!     }
//! }
//!
//! fn main() -> ExitCode { run(Files) }
//! ```
//!
//! `cargo test --test conformance -- claim_order` runs the cases with that in
//! their names; `--list`, `--exact`, `--test-threads` and `cargo nextest` work
//! as usual. A case whose capability the backend does not declare is shown as
//! ignored with the reason, never as passed.
//!
//! A failure prints the law, what was expected and found, and the calls that
//! led there. Cases wait for conditions with a generous bound and compare the
//! store's own timestamps: none depends on how fast the machine is.
//!
//! Beside the cases by hand, random calls are compared with the memory
//! backend's state machine; `ANYQUEUE_CONFORMANCE_SEQUENCES=2000` makes the
//! search longer. What it finds is shrunk to the smallest sequence that differs.
//!
//! [`check`] runs the suite inside a test and returns the results as data;
//! with [`Delegate`] a wrapper changes one method of a backend, to prove that
//! the suite notices.

mod asserts;
pub mod calls;
mod case;
mod cases;
mod delegate;
#[cfg(feature = "faults")]
pub mod faults;
mod fixture;
mod handle;
mod model;
mod recorder;
mod runner;
mod samples;
mod short;
mod store;

pub use case::{CaseOutcome, CaseResult};
pub use delegate::{Delegate, wrap};
pub use fixture::{Fixture, Requirement};
pub use runner::{check, run};
