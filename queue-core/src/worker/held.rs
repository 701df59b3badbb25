//! [`Held`]: everything a worker has claimed and not yet settled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claim::Token;
use crate::worker::scope::JobScope;

#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<Token, Arc<JobScope>>>);

impl Held {
    pub(super) fn add(&self, scopes: &[Arc<JobScope>]) {
        let mut held = self.lock();
        held.extend(
            scopes
                .iter()
                .map(|scope| (scope.job.token, Arc::clone(scope))),
        );
    }

    pub(super) fn remove(&self, tokens: impl IntoIterator<Item = Token>) {
        let mut held = self.lock();
        for token in tokens {
            held.remove(&token);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<JobScope>> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.lock().contains_key(&token)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Arc<JobScope>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
