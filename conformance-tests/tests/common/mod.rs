//! What makes a broken backend, and the proof that the suite notices it.

use std::sync::Arc;

use anyqueue_conformance_tests::{Fixture, Requirement};
use anyqueue_core::{Backend, Error, Settlement, async_trait};
use anyqueue_memory::MemoryBackend;

/// Memory inside a wrapper.
pub(crate) struct Memory(pub(crate) fn(Arc<dyn Backend>) -> Arc<dyn Backend>);

#[async_trait]
impl Fixture for Memory {
    fn name(&self) -> &str {
        "memory, broken"
    }
    fn requirement(&self) -> Requirement {
        Requirement::Required
    }
    async fn open(&self, store: &str) -> Result<Arc<dyn Backend>, Error> {
        Ok((self.0)(MemoryBackend::connect(&format!(
            "memory:{store}"
        ))?))
    }
    async fn remove(&self, _store: &str) {}
}

/// The methods that all wrappers share.
macro_rules! around {
    () => {
        fn inner(&self) -> &dyn Backend {
            &*self.0
        }
        fn around(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
            wrap(Self(inner))
        }
    };
}

/// A test for each broken backend: at least one of the cases whose names start
/// so must fail. Also the list of all of them.
macro_rules! caught {
    ($($test:ident: $broken:ident by $prefix:literal;)+) => {
        $(#[test]
        fn $test() {
            let results = check(common::Memory(|memory| wrap($broken(memory))), $prefix);
            let failed = results.iter().filter(|result| {
                result.name.starts_with($prefix) && matches!(result.outcome, CaseOutcome::Failed(_))
            });
            let failed: Vec<_> = failed.map(|result| &result.name).collect();
            println!("{} is caught by {failed:?}", stringify!($broken));
            assert!(!failed.is_empty(), "not caught: {results:?}");
        })+

        #[test]
        fn at_least_24_backends_are_broken_each_in_its_own_way() {
            let broken = [$(stringify!($broken)),+];
            let names: std::collections::BTreeSet<_> = broken.iter().collect();
            assert!(names.len() == broken.len() && names.len() >= 24, "{names:?}");
        }
    };
}

/// The settlements as if each token were the last that its job gave.
pub(crate) async fn with_current_counters(
    backend: &dyn Backend,
    settlements: &[Settlement],
) -> Result<Vec<Settlement>, Error> {
    let ids: Vec<_> = settlements.iter().map(|one| one.token.id).collect();
    let mut settlements = settlements.to_vec();
    for (one, job) in settlements.iter_mut().zip(backend.get(&ids).await?) {
        one.token.counter = job.map_or(one.token.counter, |job| job.counter);
    }
    Ok(settlements)
}
