//! What one request may use, and how many there may be.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Bounds on requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that run at the same time; further ones wait.
    pub concurrency: u32,
    /// Requests that wait at the same time; further ones get 503.
    pub waiting: u32,
    /// Wall time from a request's start to the end of its answer.
    pub timeout: Duration,
    /// Bytes that a request's components together may allocate beyond their snapshots.
    pub memory: usize,
    /// Bytes of tensors that a request may hold at the same time.
    pub tensors: usize,
    /// Tokens that a request may have language models read and write.
    pub language_tokens: usize,
    /// Time that a request may wait for language models. It ends before `timeout` in any case, so that
    /// an answer can say that it is not whole.
    pub language_time: Duration,
    /// Bytes a request's body may have.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            concurrency: 32,
            waiting: 1024,
            timeout: Duration::from_secs(60),
            memory: 256 << 20,
            tensors: 256 << 20,
            language_tokens: 1 << 17,
            language_time: Duration::from_secs(600),
            body: 1 << 20,
        }
    }
}

/// Counts what one store's memories grow by.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    left: usize,
    limit: usize,
    /// Set when a growth was refused: the trap that follows is about memory.
    pub(crate) refused: bool,
}

/// Entries a guest's tables may have: function tables of a few thousand are usual.
const TABLE_ELEMENTS: usize = 100_000;

impl MemoryMeter {
    pub(crate) fn new(limit: usize) -> MemoryMeter {
        MemoryMeter { left: limit, limit, refused: false }
    }

    /// The limit, for people.
    pub(crate) fn limit(&self) -> String {
        format!("{} MiB", self.limit >> 20)
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A memory's first size is its snapshot's, which copy-on-write shares between requests.
        let growth = if current == 0 { 0 } else { desired.saturating_sub(current) };
        match self.left.checked_sub(growth) {
            Some(left) => self.left = left,
            None => self.refused = true,
        }
        Ok(!self.refused)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_over_all_memories_and_refused_beyond_the_limit() {
        let mut meter = MemoryMeter::new(1000);
        assert!(meter.memory_growing(0, 1 << 30, None).unwrap(), "a snapshot is free");
        assert!(meter.memory_growing(100, 700, None).unwrap());
        assert!(meter.memory_growing(50, 450, None).unwrap());
        assert!(!meter.refused);
        assert!(!meter.memory_growing(700, 701, None).unwrap());
        assert!(meter.refused);
    }
}
