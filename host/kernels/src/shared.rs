//! Numbers that several owners keep.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Numbers that lie where their owner has them, such as a vector or a part of a mapped file. Clones
/// share them.
pub struct Shared<T>(Arc<dyn AsRef<[T]> + Send + Sync>);

impl<T> Shared<T> {
    /// What `owner` holds.
    pub fn new(owner: impl AsRef<[T]> + Send + Sync + 'static) -> Shared<T> {
        Shared(Arc::new(owner))
    }
}

impl<T: Send + Sync + 'static> From<Vec<T>> for Shared<T> {
    fn from(numbers: Vec<T>) -> Shared<T> {
        Shared::new(numbers)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        (*self.0).as_ref()
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shared numbers", self.len())
    }
}
