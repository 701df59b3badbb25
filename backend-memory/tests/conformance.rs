//! The conformance suite against memory.

use std::process::ExitCode;
use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement, run};
use anyqueue_core::{Backend, Error, async_trait};
use anyqueue_memory::MemoryBackend;

struct Memory;

#[async_trait]
impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn requirement(&self) -> Requirement {
        Requirement::Required
    }

    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok(MemoryBackend::connect(&format!("memory:{store}"))?)
    }

    async fn remove(&self, _store: &str) {
        // It ends with this process, as the backend's docs say.
    }
}

fn main() -> ExitCode {
    run(Memory)
}
