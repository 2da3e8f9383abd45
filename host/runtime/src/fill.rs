//! Filling a memory: what a component was given becomes a module whose memory begins like that.
//!
//! The component's code runs once, through its own `trine:rag/snapshot` export and nothing around
//! it. An instance of what comes of it maps those pages, copy-on-write, and parses nothing.

use std::borrow::Cow;

use wasm_encoder::{Encode, MemoryType, SectionId};
use wasmtime::{Engine, ExternType, Linker, Memory, Module, Store, TypedFunc, Val};

use crate::RuntimeError;
use crate::snapshot::Part;
use crate::split::{EXPORT, GLOBAL, MEMORY, memory_module};

/// The interface through which a component is filled, as its code exports it.
const SNAPSHOT: &str = "trine:rag/snapshot@0.1.0";
/// Zeros that are left out are multiples of this many bytes.
const PAGE: usize = 64 << 10;
/// Bytes of a guest's complaint that are told.
const COMPLAINT: u32 = 4 << 10;
/// Ticks that filling may take; each is 10 ms, and an index of a million passages takes some hundred.
const TICKS: u64 = 100 * 3600;

/// What `make` makes of the module of the memory that `code` has when it was given `parts`, which
/// come one by one; before, it has what the module `memory` says.
pub(crate) fn filled<'p, T, E: From<RuntimeError>>(
    name: &str,
    engine: &Engine,
    code: &Module,
    memory: &[u8],
    parts: impl Iterator<Item = Result<Part<'p>, E>>,
    make: impl FnOnce(&[u8]) -> Result<T, RuntimeError>,
) -> Result<T, E> {
    let failed = |error: wasmtime::Error| RuntimeError::Snapshot {
        component: name.to_owned(),
        reason: format!("{error:#}"),
    };
    // wasmtime calls guests asynchronously; nothing here waits for anything but them.
    futures::executor::block_on(async {
        let mut guest = Guest::start(engine, code, memory).await.map_err(failed)?;
        let before = guest.globals(code);
        for part in parts {
            let part = part?;
            guest.load(part.name(), part.contents()).await.map_err(failed)?;
        }
        guest.finish().await.map_err(failed)?;
        if before.is_none() || guest.globals(code) != before {
            let state = wasmtime::format_err!("it keeps something outside of its memory");
            Err(failed(state))?;
        }
        Ok(make(&guest.frozen().map_err(failed)?)?)
    })
}

/// The code in its first memory.
struct Guest {
    store: Store<()>,
    instance: wasmtime::Instance,
    memory: Memory,
    allocate: TypedFunc<(u32, u32, u32, u32), u32>,
}

impl Guest {
    async fn start(engine: &Engine, code: &Module, memory: &[u8]) -> wasmtime::Result<Guest> {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(TICKS);
        let mut linker: Linker<()> = Linker::new(engine);
        let empty = Module::new(engine, memory)?;
        let empty = linker.instantiate_async(&mut store, &empty).await?;
        linker.instance(&mut store, MEMORY, empty)?;
        // Nothing may be called while a component is filled: no model, no clock, no network.
        linker.define_unknown_imports_as_traps(code)?;
        let instance = linker.instantiate_async(&mut store, code).await?;
        let memory = empty.get_memory(&mut store, EXPORT);
        let memory = memory.ok_or_else(|| wasmtime::format_err!("it has no memory"))?;
        let allocate = instance.get_typed_func(&mut store, "cabi_realloc")?;
        Ok(Guest { store, instance, memory, allocate })
    }

    /// `load: func(part: string, chunk: list<u8>) -> result<_, string>`
    async fn load(&mut self, part: &str, bytes: &[u8]) -> wasmtime::Result<()> {
        let load: TypedFunc<(u32, u32, u32, u32), u32> = self.function("load")?;
        for chunk in bytes.chunks(crate::snapshot::CHUNK) {
            let (name, name_length) = self.put(part.as_bytes()).await?;
            let (at, length) = self.put(chunk).await?;
            let answered = (name, name_length, at, length);
            let answered = load.call_async(&mut self.store, answered).await?;
            self.accept("load", answered).await?;
        }
        Ok(())
    }

    /// `finish: func() -> result<_, string>`
    async fn finish(&mut self) -> wasmtime::Result<()> {
        let finish: TypedFunc<(), u32> = self.function("finish")?;
        let answered = finish.call_async(&mut self.store, ()).await?;
        self.accept("finish", answered).await
    }

    fn function<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(
        &mut self,
        name: &str,
    ) -> wasmtime::Result<TypedFunc<P, R>> {
        self.instance.get_typed_func(&mut self.store, &format!("{SNAPSHOT}#{name}"))
    }

    /// Bytes in memory that the guest allocates and then owns.
    async fn put(&mut self, bytes: &[u8]) -> wasmtime::Result<(u32, u32)> {
        let length = u32::try_from(bytes.len())?;
        let at = self.allocate.call_async(&mut self.store, (0, 0, 1, length)).await?;
        self.memory.write(&mut self.store, at as usize, bytes)?;
        Ok((at, length))
    }

    /// Takes a `result<_, string>` that lies at `answered`, and lets the guest free it.
    async fn accept(&mut self, name: &str, answered: u32) -> wasmtime::Result<()> {
        let mut result = [0; 12];
        self.memory.read(&self.store, answered as usize, &mut result)?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| result[at + byte]));
        if result[0] != 0 {
            let mut complaint = vec![0; word(8).min(COMPLAINT) as usize];
            self.memory.read(&self.store, word(4) as usize, &mut complaint)?;
            return Err(wasmtime::Error::msg(String::from_utf8_lossy(&complaint).into_owned()));
        }
        let freed = format!("cabi_post_{SNAPSHOT}#{name}");
        if let Ok(freed) = self.instance.get_typed_func::<u32, ()>(&mut self.store, &freed) {
            freed.call_async(&mut self.store, answered).await?;
        }
        Ok(())
    }

    /// What is kept elsewhere than in memory, as bits; `None` where that includes references.
    fn globals(&mut self, code: &Module) -> Option<Vec<u128>> {
        let mutable = code.exports().filter(|export| {
            export.name().starts_with(GLOBAL) && matches!(export.ty(), ExternType::Global(_))
        });
        let mut bits = |name: &str| {
            let global = self.instance.get_global(&mut self.store, name)?;
            match global.get(&mut self.store) {
                Val::I32(value) => Some(u128::from(value.cast_unsigned())),
                Val::I64(value) => Some(u128::from(value.cast_unsigned())),
                Val::F32(bits) => Some(u128::from(bits)),
                Val::F64(bits) => Some(u128::from(bits)),
                Val::V128(value) => Some(value.as_u128()),
                _ => None,
            }
        };
        mutable.map(|export| bits(export.name())).collect()
    }

    /// The module of a memory that begins as this one is now.
    fn frozen(&mut self) -> wasmtime::Result<Cow<'_, [u8]>> {
        let ty = MemoryType {
            minimum: self.memory.size(&self.store),
            maximum: self.memory.ty(&self.store).maximum(),
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let module = memory_module(ty).finish();
        around(module, self.memory.data_mut(&mut self.store))
    }
}

/// `module`, and a section of data that is all of `memory` but the zeros at both ends. It is written
/// around the memory where that lies, if there is room before it: there may be gigabytes of it.
fn around(mut module: Vec<u8>, memory: &mut [u8]) -> wasmtime::Result<Cow<'_, [u8]>> {
    let pages = |page: &[u8]| page.iter().any(|&byte| byte != 0);
    let start = memory.chunks(PAGE).position(pages).unwrap_or(0) * PAGE;
    let end = memory.len() - memory.rchunks(PAGE).position(pages).unwrap_or(0) * PAGE;
    // One segment that is active, with its offset and its length.
    let mut head = vec![1, 0x00, 0x41];
    u32::try_from(start)?.cast_signed().encode(&mut head);
    head.push(0x0b);
    u32::try_from(end - start)?.encode(&mut head);
    module.push(SectionId::Data as u8);
    u32::try_from(head.len() + end - start)?.encode(&mut module);
    module.extend_from_slice(&head);
    Ok(match start.checked_sub(module.len()) {
        Some(before) => {
            memory[before..start].copy_from_slice(&module);
            Cow::Borrowed(&memory[before..end])
        }
        None => {
            module.extend_from_slice(&memory[start..end]);
            Cow::Owned(module)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory that an instance of the module begins with.
    fn begins(module: &[u8]) -> Vec<u8> {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, module).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        instance.get_memory(&mut store, EXPORT).unwrap().data(&store).to_vec()
    }

    fn pages(count: u64) -> Vec<u8> {
        let (maximum, page_size_log2) = (None, None);
        let (memory64, shared) = (false, false);
        memory_module(MemoryType { minimum: count, maximum, memory64, shared, page_size_log2 })
            .finish()
    }

    #[test]
    fn a_memory_begins_as_it_was_frozen_wherever_something_lies_in_it() {
        for places in [&[][..], &[0], &[PAGE - 1], &[PAGE], &[PAGE + 1, 3 * PAGE], &[4 * PAGE - 1]]
        {
            let mut memory = vec![0; 4 * PAGE];
            places.iter().for_each(|&place| memory[place] = 7);
            let before = memory.clone();
            let copied = matches!(around(pages(4), &mut memory).unwrap(), Cow::Owned(_));
            // There is no room before the first page.
            assert_eq!(copied, places.iter().all(|&place| place < PAGE), "{places:?}");
            let mut memory = before.clone();
            assert_eq!(begins(&around(pages(4), &mut memory).unwrap()), before, "{places:?}");
        }
    }

    /// Where the guest of these tests has its answer.
    const ANSWER: usize = 2048;

    /// Code whose `finish` adds to a global that can change and then answers.
    fn code(added: i32) -> Vec<u8> {
        use wasm_encoder::*;
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], [ValType::I32]);
        let memory = wasmparser::MemoryType {
            memory64: false,
            shared: false,
            initial: 1,
            maximum: None,
            page_size_log2: None,
        };
        let memory = reencode::Reencode::memory_type(&mut reencode::RoundtripReencoder, memory);
        imports.import(MEMORY, EXPORT, memory.unwrap());
        functions.function(0).function(0).function(1);
        let (mut globals, mut exports) = (GlobalSection::new(), ExportSection::new());
        let global = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(global, &ConstExpr::i32_const(1));
        exports.export("cabi_realloc", ExportKind::Func, 0);
        exports.export(&format!("{SNAPSHOT}#load"), ExportKind::Func, 1);
        exports.export(&format!("{SNAPSHOT}#finish"), ExportKind::Func, 2);
        exports.export(&format!("{GLOBAL}0"), ExportKind::Global, 0);
        let mut bodies = CodeSection::new();
        let mut body = |instructions: &[Instruction]| {
            let mut function = Function::new([]);
            instructions.iter().chain([&Instruction::End]).for_each(|instruction| {
                function.instruction(instruction);
            });
            bodies.function(&function);
        };
        body(&[Instruction::I32Const(3 * 4096)]);
        body(&[Instruction::I32Const(ANSWER as i32)]);
        body(&[
            Instruction::GlobalGet(0),
            Instruction::I32Const(added),
            Instruction::I32Add,
            Instruction::GlobalSet(0),
            Instruction::I32Const(ANSWER as i32),
        ]);
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&imports).section(&functions).section(&globals);
        module.section(&exports).section(&bodies);
        module.finish()
    }

    /// What comes of filling a memory, in which `answer` lies, with one part.
    fn fill(added: i32, answer: &[u8]) -> Result<Vec<u8>, RuntimeError> {
        let engine = Engine::default();
        let code = Module::new(&engine, code(added)).unwrap();
        let mut memory = vec![0; 2 * PAGE];
        memory[ANSWER..][..answer.len()].copy_from_slice(answer);
        let memory = around(pages(2), &mut memory).unwrap().into_owned();
        let parts = [Ok::<_, RuntimeError>(Part::bytes("graph", &b"neighbours"[..]))];
        filled("guest", &engine, &code, &memory, parts.into_iter(), |wasm| Ok(begins(wasm)))
    }

    #[test]
    fn what_is_filled_begins_with_what_it_was_given() {
        let memory = fill(0, &[]).unwrap();
        // The name was put there first, as this guest has but one place.
        assert_eq!(&memory[3 * 4096..][..10], b"neighbours");
    }

    #[test]
    fn complaints_and_state_elsewhere_are_errors_and_bad_answers_no_panics() {
        let failed = |added, answer: &[u32]| {
            let answer: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
            fill(added, &answer).unwrap_err().to_string()
        };
        assert!(failed(1, &[]).contains("outside of its memory"), "{}", failed(1, &[]));
        let complaint = failed(0, &[1, 3 * 4096, 10]);
        assert!(complaint.contains("neighbours"), "{complaint}");
        for beyond in [[1, u32::MAX, 10], [1, 2 * PAGE as u32 - 1, u32::MAX]] {
            assert!(failed(0, &beyond).contains("cannot be prepared"));
        }
    }
}
