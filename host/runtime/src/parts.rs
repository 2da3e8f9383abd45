//! What a program is made of, and how that becomes code and memory: each is made once, kept under
//! the digest of what it was made of, and mapped from there ever after.
//!
//! Of a component that is filled there are three: its code, which is the same for all bundles, the
//! memory it was filled in, and the component around both, composed with others.

use std::sync::mpsc;

use sha2::{Digest, Sha256};
use wasmtime::Module;
use wasmtime::component::{Component, Linker};

use crate::compiled::Kept;
use crate::manifest::ComponentManifest;
use crate::snapshot::Part;
use crate::split::{CODE, MEMORY, Split};
use crate::state::State;
use crate::{RuntimeError, compose, fill};

/// Pieces that are read while others are taken in.
const READ_AHEAD: usize = 8;

/// A component as a program takes it.
pub struct Source<'a, E> {
    /// Equal for equal components, and for no others.
    pub key: [u8; 32],
    /// The component; asked for only where no compiled code of its key is kept.
    pub bytes: Box<dyn FnOnce() -> Result<Vec<u8>, E> + 'a>,
    /// What it is to be filled with.
    pub contents: Option<Contents<'a, E>>,
}

/// What a component is filled with through its `trine:rag/snapshot` export.
pub struct Contents<'a, E> {
    /// Equal for equal contents, and for no others.
    pub key: [u8; 32],
    /// How many bytes there are.
    pub length: u64,
    /// They, one piece after another; asked for only where no memory of these keys is kept.
    pub parts: Box<dyn Iterator<Item = Result<Part<'a>, E>> + Send + 'a>,
}

/// What is done when something is made ready for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparing {
    /// Another process makes something ready; this one waits for it.
    Waiting,
    /// Components are compiled, once for all bundles that have the same.
    Code,
    /// A component is filled.
    Filling {
        /// Bytes that it has taken.
        done: u64,
        /// Bytes that there are.
        total: u64,
    },
    /// The filled memory is written to where it will be mapped from.
    Memory,
    /// All is ready.
    Done,
}

impl<'a, E> Source<'a, E> {
    /// A component that is there already.
    pub fn bytes(bytes: Vec<u8>) -> Source<'a, E> {
        let key = Sha256::digest(&bytes).into();
        Source { key, bytes: Box::new(move || Ok(bytes)), contents: None }
    }
}

/// A component and the dependencies that are to be plugged into it, by file.
pub(crate) struct Parts<'m, 'a, E> {
    socket: Source<'a, E>,
    plugs: Vec<(&'m str, Source<'a, E>)>,
}

/// A component that can be instantiated, and what it imports of itself.
pub(crate) struct Ready {
    pub(crate) component: Component,
    filled: Option<Filled>,
}

/// A component's code, and the memory that it was filled in.
struct Filled {
    code: Module,
    memory: Module,
}

impl Ready {
    /// `linker`, and what this component imports of itself.
    pub(crate) fn linker(&self, linker: &Linker<State>) -> wasmtime::Result<Linker<State>> {
        let mut linker = linker.clone();
        if let Some(Filled { code, memory }) = &self.filled {
            linker.root().module(CODE, code)?;
            linker.root().module(MEMORY, memory)?;
        }
        Ok(linker)
    }
}

/// Under which keys all is kept.
struct Keys {
    component: Vec<u8>,
    /// Where one of the plugs is filled.
    filled: Option<FilledKeys>,
}

struct FilledKeys {
    code: Vec<u8>,
    memory: Vec<u8>,
}

/// What is kept of it.
struct Found {
    component: Option<Component>,
    code: Option<Module>,
    memory: Option<Module>,
}

impl Keys {
    fn find(&self, kept: Kept) -> Found {
        let filled = self.filled.as_ref();
        Found {
            component: kept.find(&self.component),
            code: filled.and_then(|keys| kept.find(&keys.code)),
            memory: filled.and_then(|keys| kept.find(&keys.memory)),
        }
    }
}

impl Found {
    /// All, or what there is.
    fn ready(self, keys: &Keys) -> Result<Ready, Found> {
        match (self, &keys.filled) {
            (Found { component: Some(component), .. }, None) => {
                Ok(Ready { component, filled: None })
            }
            (Found { component: Some(component), code: Some(code), memory: Some(memory) }, _) => {
                Ok(Ready { component, filled: Some(Filled { code, memory }) })
            }
            (found, _) => Err(found),
        }
    }
}

impl<'m, 'a, E: From<RuntimeError> + Send> Parts<'m, 'a, E> {
    pub(crate) fn of(
        described: &'m ComponentManifest,
        component: &mut dyn FnMut(&str) -> Result<Source<'a, E>, E>,
    ) -> Result<Parts<'m, 'a, E>, E> {
        let socket = component(&described.source)?;
        let mut plugs: Vec<(&str, Source<E>)> = Vec::with_capacity(described.dependencies.len());
        for file in described.dependencies.values().chain(&described.fronts) {
            if !plugs.iter().any(|(name, _)| name == file) {
                plugs.push((file, component(file)?));
            }
        }
        Ok(Parts { socket, plugs })
    }

    /// What is kept of these, or else what comes of them, kept for the next time. `id` is for errors.
    pub(crate) fn ready(self, id: &str, kept: Kept) -> Result<Ready, E> {
        let keys = self.keys(id)?;
        if let Ok(ready) = keys.find(kept).ready(&keys) {
            return Ok(ready);
        }
        let _lock = kept.lock();
        // Somebody else may have made it meanwhile.
        let ready = match keys.find(kept).ready(&keys) {
            Ok(ready) => ready,
            Err(found) => self.make(id, keys, found, kept)?,
        };
        kept.tell(Preparing::Done);
        Ok(ready)
    }

    fn keys(&self, id: &str) -> Result<Keys, E> {
        let sources = || self.plugs.iter().map(|(_, plug)| plug).chain([&self.socket]);
        let component = sources().flat_map(|source| source.key).collect();
        let mut filled = sources().filter_map(|source| {
            let contents = source.contents.as_ref()?;
            let memory = [source.key, contents.key].concat();
            Some(FilledKeys { code: source.key.to_vec(), memory })
        });
        let keys = Keys { component, filled: filled.next() };
        if filled.next().is_some() {
            let reason = format!("component `{id}`: two of its components are to be filled");
            return Err(RuntimeError::Compose(reason).into());
        }
        Ok(keys)
    }

    /// Makes what was not found.
    fn make(self, id: &str, keys: Keys, mut found: Found, kept: Kept) -> Result<Ready, E> {
        kept.tell(Preparing::Code);
        let mut filled = None;
        let mut shell = |name: &str, source: Source<'a, E>| {
            let bytes = (source.bytes)()?;
            let Some((contents, keys)) = source.contents.zip(keys.filled.as_ref()) else {
                return Ok(bytes);
            };
            let split = Split::of(&bytes)
                .map_err(|reason| RuntimeError::Snapshot { component: name.to_owned(), reason })?;
            let code = match found.code.take() {
                Some(code) => code,
                None => kept.make(&keys.code, &split.code)?,
            };
            let memory = match found.memory.take() {
                Some(memory) => memory,
                None => fill(name, kept, &code, &split.memory, contents, &keys.memory)?,
            };
            filled = Some(Filled { code, memory });
            Ok::<_, E>(split.shell)
        };
        let mut plugs = Vec::with_capacity(self.plugs.len());
        for (name, plug) in self.plugs {
            plugs.push((name, shell(name, plug)?));
        }
        let socket = shell(id, self.socket)?;
        let component = match found.component {
            Some(component) => component,
            None => kept.make(&keys.component, &composed(id, &socket, &plugs)?)?,
        };
        Ok(Ready { component, filled })
    }
}

/// The memory that a component has when it was given its contents, which are read ahead.
fn fill<E: From<RuntimeError> + Send>(
    name: &str,
    kept: Kept,
    code: &Module,
    memory: &[u8],
    contents: Contents<'_, E>,
    key: &[u8],
) -> Result<Module, E> {
    let Contents { mut parts, length: total, .. } = contents;
    let (sender, read) = mpsc::sync_channel(READ_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || parts.try_for_each(|part| sender.send(part)));
        let mut done = 0;
        let parts = read.into_iter().inspect(|part| {
            done += part.as_ref().map_or(0, |part| part.contents().len() as u64);
            kept.tell(Preparing::Filling { done, total });
        });
        fill::filled(name, kept.engine, code, memory, parts, |wasm| {
            kept.tell(Preparing::Memory);
            kept.make(key, wasm)
        })
    })
}

fn composed(id: &str, socket: &[u8], plugs: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, RuntimeError> {
    let plugs: Vec<(&str, &[u8])> =
        plugs.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    compose(socket, &plugs).map_err(|error| match error {
        RuntimeError::Compose(reason) => {
            RuntimeError::Compose(format!("component `{id}`: {reason}"))
        }
        other => other,
    })
}
