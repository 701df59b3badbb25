//! The reference backend of anyqueue: the contract as a state machine.
//!
//! | The contract's word | Here |
//! |---|---|
//! | store | one [`Machine`] behind one mutex, shared by all its handles |
//! | queue | an entry of a sorted map with its own indexes and counters |
//! | ready job | an entry of its queue's map, sorted by priority, due time, enqueue order |
//! | scheduled job | an entry of its queue's map, sorted by due time |
//! | claim | taking the first entries of the map of ready jobs |
//! | lease | an entry of its queue's set, sorted by the moment it ends |
//! | token | the job's id and the counter in its record |
//! | settle | moving the job's entry from one index to another |
//! | unique key | an entry of a map from (queue, key) to the job that holds it |
//! | prepare | nothing |
//! | maintain | a walk along the starts of the sorted indexes |
//! | notification | waking the tasks that wait for the queue or the job |
//!
//! # Where to start
//! [`Machine`] is the contract without I/O and without a clock:
//! `apply(command, now) -> answer`, in one file a question. [`MemoryBackend`]
//! is that, a mutex, a [`Clock`] and a list of who waits. The other backends
//! are tested against the machine, and one (RabbitMQ) folds its log with it.
//!
//! # Use
//! `memory:` is for tests and for programs whose jobs may die with them:
//! nothing outlives the process. Every call is answered without waiting for
//! anything but the mutex; a call costs O(log n) for each job that it names.

mod backend;
mod clock;
mod config;
mod error;
mod machine;

pub use backend::MemoryBackend;
pub use clock::{Clock, ManualClock};
pub use config::MemoryConfig;
pub use machine::{Answer, Changes, Command, Machine};
