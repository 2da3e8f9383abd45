//! The index alone in an instance, to measure what wasm costs a search.

use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use crate::bindings::searcher::Searcher as Exports;
use crate::{Limits, RuntimeError, engine};

/// An instance of the searcher, on an engine like the one that serves.
pub struct Searcher {
    store: Store<()>,
    exports: Exports,
}

impl Searcher {
    /// Starts an instance of `component`, a snapshot that holds its index.
    ///
    /// # Errors
    /// When it is no searcher, or the machine cannot run it.
    pub fn start(component: &[u8]) -> Result<Searcher, RuntimeError> {
        let engine = engine::serving(&Limits::default())?;
        let component = Component::new(&engine, component).map_err(RuntimeError::compose)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).map_err(RuntimeError::compose)?;
        let mut store = Store::new(&engine, ());
        // As for requests.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let started = Exports::instantiate_async(&mut store, &component, &linker);
        let exports = futures::executor::block_on(started).map_err(RuntimeError::compose)?;
        Ok(Searcher { store, exports })
    }

    /// The `k` nearest to `query`, numbers and scores, among `ef` candidates: one call into the
    /// instance.
    ///
    /// # Errors
    /// When the instance traps.
    pub fn search(
        &mut self,
        query: &[f32],
        k: u32,
        ef: u32,
    ) -> Result<Vec<(u32, f32)>, RuntimeError> {
        let call = self.exports.call_search(&mut self.store, query, k, ef);
        futures::executor::block_on(call).map_err(|e| RuntimeError::Trap(format!("{e:#}")))
    }

    /// Lets [`Searcher::search_admitted`] find these passages and no others.
    ///
    /// # Errors
    /// When the instance traps.
    pub fn admit(&mut self, passages: &[u32]) -> Result<(), RuntimeError> {
        let call = self.exports.call_admit(&mut self.store, passages);
        futures::executor::block_on(call).map_err(|e| RuntimeError::Trap(format!("{e:#}")))
    }

    /// The `k` nearest to `query` of those admitted, or of all, numbers and scores, searched for as
    /// the retriever does: one call into the instance.
    ///
    /// # Errors
    /// When the instance traps.
    pub fn search_admitted(
        &mut self,
        query: &[f32],
        k: u32,
    ) -> Result<Vec<(u32, f32)>, RuntimeError> {
        let call = self.exports.call_search_admitted(&mut self.store, query, k);
        futures::executor::block_on(call).map_err(|e| RuntimeError::Trap(format!("{e:#}")))
    }

    /// The numbers of the `k` passages of a whole segment that are most like `query`, `words` or,
    /// where neither is empty, both: one call into the instance.
    ///
    /// # Errors
    /// When the instance traps.
    pub fn search_whole(
        &mut self,
        query: &[f32],
        words: &str,
        k: u32,
    ) -> Result<Vec<u32>, RuntimeError> {
        let call = self.exports.call_search_whole(&mut self.store, query, words, k);
        futures::executor::block_on(call).map_err(|e| RuntimeError::Trap(format!("{e:#}")))
    }
}
