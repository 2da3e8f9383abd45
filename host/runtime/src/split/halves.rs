//! The core module with the memory, taken apart.

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder};
use wasm_encoder::{
    EntityType, ExportKind, ExportSection, ImportSection, MemorySection, Module, ModuleType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::{CUT_SHORT, EXPORT, GLOBAL, MEMORY, Result, raw};

/// The id of a module's section after those of types and imports.
const FUNCTION_SECTION: u8 = 3;

/// The memory that a core module has of its own.
pub(super) fn memory_of(module: &[u8]) -> Result<Option<wasmparser::MemoryType>> {
    let mut found = vec![];
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::MemorySection(memories) = payload? {
            found.extend(memories.into_iter().collect::<std::result::Result<Vec<_>, _>>()?);
        }
    }
    match found[..] {
        [] => Ok(None),
        [memory] if !memory.memory64 && !memory.shared => Ok(Some(memory)),
        _ => Err(Error::UserError("a module has another memory than one of 32 bits")),
    }
}

/// A core module taken apart, and the types of what came of it.
pub(super) struct Halves {
    pub(super) code: Vec<u8>,
    pub(super) code_type: ModuleType,
    pub(super) memory: Vec<u8>,
    pub(super) memory_type: ModuleType,
}

impl Halves {
    pub(super) fn of(module: &[u8], memory: wasmparser::MemoryType) -> Result<Halves> {
        let memory = RoundtripReencoder.memory_type(memory).map_err(inner)?;
        let mut code = Code::new(memory.into());
        let mut contents = memory_module(memory);
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            match payload {
                Payload::DataSection(_) => {
                    contents.section(&raw(&payload, module)?.ok_or(CUT_SHORT)?);
                }
                payload => code.section(payload, module)?,
            }
        }
        let mut memory_type = ModuleType::new();
        memory_type.export(EXPORT, memory.into());
        Ok(Halves {
            code: code.module.finish(),
            code_type: code.ty,
            memory: contents.finish(),
            memory_type,
        })
    }
}

/// A module that has and exports a memory, to which a section of data may be added.
pub(crate) fn memory_module(memory: wasm_encoder::MemoryType) -> Module {
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    memories.memory(memory);
    exports.export(EXPORT, ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&memories).section(&exports);
    module
}

/// The half with the functions, on its way.
struct Code {
    module: Module,
    /// Its imports, and those of its exports that components use.
    ty: ModuleType,
    memory: EntityType,
    /// What is imported; the memory is the last of it.
    imports: Option<ImportSection>,
    /// The type of each function.
    functions: Vec<u32>,
    globals: u32,
    /// The numbers of those that can change.
    mutable: Vec<u32>,
}

impl Code {
    fn new(memory: EntityType) -> Code {
        let (module, ty) = (Module::new(), ModuleType::new());
        let imports = Some(ImportSection::new());
        let (functions, mutable) = (vec![], vec![]);
        Code { module, ty, memory, imports, functions, globals: 0, mutable }
    }

    fn section(&mut self, payload: Payload<'_>, module: &[u8]) -> Result<()> {
        let section = raw(&payload, module)?;
        if section.is_some_and(|section| section.id >= FUNCTION_SECTION)
            && let Some(mut imports) = self.imports.take()
        {
            imports.import(MEMORY, EXPORT, self.memory);
            self.ty.import(MEMORY, EXPORT, self.memory);
            self.module.section(&imports);
        }
        match payload {
            Payload::ImportSection(section) => return self.imports(section),
            Payload::ExportSection(section) => return self.exports(section),
            // What was defined is imported, and what lies in it has no number here.
            Payload::MemorySection(_) | Payload::DataCountSection { .. } => return Ok(()),
            Payload::StartSection { .. } => {
                return Err(Error::UserError("a module does something before it is called"));
            }
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = RoundtripReencoder.func_type(ty?).map_err(inner)?;
                    self.ty.ty().func_type(&ty);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    if global?.ty.mutable {
                        self.mutable.push(self.globals);
                    }
                    self.globals += 1;
                }
            }
            _ => {}
        }
        if let Some(section) = section {
            self.module.section(&section);
        }
        Ok(())
    }

    fn imports(&mut self, section: wasmparser::ImportSectionReader<'_>) -> Result<()> {
        for import in section.into_imports() {
            let import = import?;
            match import.ty {
                TypeRef::Func(ty) => self.functions.push(ty),
                TypeRef::Global(_) => self.globals += 1,
                _ => {}
            }
            let ty = RoundtripReencoder.entity_type(import.ty).map_err(inner)?;
            self.ty.import(import.module, import.name, ty);
            if let Some(imports) = &mut self.imports {
                imports.import(import.module, import.name, ty);
            }
        }
        Ok(())
    }

    fn exports(&mut self, section: wasmparser::ExportSectionReader<'_>) -> Result<()> {
        let mut exports = ExportSection::new();
        for export in section {
            let export = export?;
            let kind = RoundtripReencoder.export_kind(export.kind).map_err(inner)?;
            exports.export(export.name, kind, export.index);
            let function = self.functions.get(export.index as usize);
            match (export.kind, function) {
                (ExternalKind::Func, Some(&ty)) => {
                    self.ty.export(export.name, EntityType::Function(ty));
                }
                (ExternalKind::Memory, _) => {
                    self.ty.export(export.name, self.memory);
                }
                _ => {}
            }
        }
        for number in &self.mutable {
            exports.export(&format!("{GLOBAL}{number}"), ExportKind::Global, *number);
        }
        self.module.section(&exports);
        Ok(())
    }
}

/// An error of a part, as one of the whole.
fn inner(error: Error) -> Error<&'static str> {
    match error {
        Error::ParseError(error) => Error::ParseError(error),
        _ => Error::UserError("a module has types that cannot be written down again"),
    }
}
