//! A component in two: its code, which is compiled once, and the memory that it is filled in.
//!
//! To compile a component takes seconds, and an index is bytes that no compiler need look at. So the
//! core module with the memory is taken out of its component and becomes two: the code, which
//! imports a memory, and the memory with what lies in it at first. The rest, the shell, imports
//! both as [`CODE`] and [`MEMORY`]. Whatever the memory is filled with, code and shell stay the same.

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, RoundtripReencoder};
use wasm_encoder::{
    Component, ComponentAliasSection, ComponentImportSection, ComponentTypeRef, CoreTypeSection,
    EntityType, ExportKind, ExportSection, ImportSection, InstanceSection, MemorySection, Module,
    ModuleArg, ModuleType, RawSection,
};
use wasmparser::{ExternalKind, Instance, InstantiationArgKind, Parser, Payload, TypeRef};

/// What a shell imports its code as.
pub(crate) const CODE: &str = "filled-code";
/// What a shell imports its memory as, and the code from whom.
pub(crate) const MEMORY: &str = "filled-memory";
/// What a memory's module exports, and the code imports.
pub(crate) const EXPORT: &str = "memory";
/// In front of the numbers of mutable globals, under which the code exports them: what is kept in
/// one of them is not in the memory.
pub(crate) const GLOBAL: &str = "filled-global-";

/// The id of a component's section that is a core module.
const MODULE_SECTION: u8 = 1;
/// The id of a module's section after those of types and imports.
const FUNCTION_SECTION: u8 = 3;

type Result<T> = std::result::Result<T, Error<&'static str>>;

/// A component taken apart.
pub(crate) struct Split {
    /// The component without the two.
    pub(crate) shell: Vec<u8>,
    /// The core module that has the functions, and exports what it did.
    pub(crate) code: Vec<u8>,
    /// The core module that has the memory.
    pub(crate) memory: Vec<u8>,
}

impl Split {
    /// Takes `component` apart, or says why it cannot be.
    pub(crate) fn of(component: &[u8]) -> std::result::Result<Split, String> {
        let mut shell = Component::new();
        let mut splitter = Splitter::default();
        let parsed = splitter.parse_component(&mut shell, Parser::new(0), component);
        parsed.map_err(|error| match error {
            Error::ParseError(error) => error.to_string(),
            other => other.to_string(),
        })?;
        let place = splitter.place.ok_or("none of its modules has a memory")?;
        Ok(Split { shell: shell.finish(), code: place.code, memory: place.memory })
    }
}

#[derive(Default)]
struct Splitter {
    /// Core modules and core instances so far, as the component counts them.
    modules: u32,
    instances: u32,
    place: Option<Place>,
}

/// Where a module was taken out. The memory's module and instance come behind it and before it.
struct Place {
    module: u32,
    instance: u32,
    code: Vec<u8>,
    memory: Vec<u8>,
}

impl Splitter {
    fn module(&mut self, component: &mut Component, module: &[u8]) -> Result<()> {
        let number = self.modules;
        self.modules += 1;
        let Some(memory) = memory_of(module)? else {
            component.section(&RawSection { id: MODULE_SECTION, data: module });
            return Ok(());
        };
        if self.place.is_some() {
            return Err(Error::UserError("two of its modules have a memory"));
        }
        let Halves { code, code_type, memory, memory_type } = Halves::of(module, memory)?;
        let (mut types, mut imports) = (CoreTypeSection::new(), ComponentImportSection::new());
        for (number, (name, ty)) in [(CODE, code_type), (MEMORY, memory_type)].iter().enumerate() {
            types.ty().module(ty);
            imports.import(*name, ComponentTypeRef::Module(number as u32));
        }
        let mut instances = InstanceSection::new();
        instances.instantiate::<[(&str, ModuleArg); 0], &str>(number + 1, []);
        component.section(&types).section(&imports).section(&instances);
        self.place = Some(Place { module: number, instance: self.instances, code, memory });
        Ok(())
    }
}

impl Reencode for Splitter {
    type Error = &'static str;
}

impl ReencodeComponent for Splitter {
    fn module_index(&mut self, index: u32) -> u32 {
        index + u32::from(self.place.as_ref().is_some_and(|place| index > place.module))
    }

    fn instance_index(&mut self, index: u32) -> u32 {
        index + u32::from(self.place.as_ref().is_some_and(|place| index >= place.instance))
    }

    /// Only what names core modules and instances is encoded anew.
    fn parse_component_payload(
        &mut self,
        component: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<()> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                self.module(component, &whole[unchecked_range])?;
            }
            Payload::InstanceSection(section) => {
                let mut instances = InstanceSection::new();
                self.parse_instance_section(&mut instances, section)?;
                component.section(&instances);
            }
            Payload::ComponentAliasSection(section) => {
                let mut aliases = ComponentAliasSection::new();
                self.parse_component_alias_section(&mut aliases, section)?;
                component.section(&aliases);
            }
            Payload::CoreTypeSection(_) => {
                return Err(Error::UserError("it has core types of its own"));
            }
            // Names of what has other numbers now, and of who made it.
            Payload::CustomSection(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    component.section(&RawSection { id, data: &whole[range] });
                }
            }
        }
        Ok(())
    }

    fn parse_instance(
        &mut self,
        instances: &mut InstanceSection,
        instance: Instance<'_>,
    ) -> Result<()> {
        self.instances += 1;
        let place = self.place.as_ref().map(|place| (place.module, place.instance));
        match (instance, place) {
            (Instance::Instantiate { module_index, args }, Some((module, memory)))
                if module_index == module =>
            {
                let given = args.iter().map(|arg| match arg.kind {
                    InstantiationArgKind::Instance => (arg.name, self.instance_index(arg.index)),
                });
                let mut given: Vec<(&str, u32)> = given.collect();
                given.push((MEMORY, memory));
                let given = given.into_iter().map(|(name, at)| (name, ModuleArg::Instance(at)));
                instances.instantiate(module, given);
                Ok(())
            }
            (instance, _) => {
                wasm_encoder::reencode::component_utils::parse_instance(self, instances, instance)
            }
        }
    }
}

/// The memory that a core module has of its own.
fn memory_of(module: &[u8]) -> Result<Option<wasmparser::MemoryType>> {
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
struct Halves {
    code: Vec<u8>,
    code_type: ModuleType,
    memory: Vec<u8>,
    memory_type: ModuleType,
}

impl Halves {
    fn of(module: &[u8], memory: wasmparser::MemoryType) -> Result<Halves> {
        let memory = RoundtripReencoder.memory_type(memory).map_err(inner)?;
        let mut code = Code::new(memory.into());
        let mut contents = memory_module(memory);
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            match payload {
                Payload::DataSection(ref data) => {
                    contents.section(&RawSection { id: 11, data: &module[data.range()] });
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
        let section = payload.as_section();
        if section.as_ref().is_some_and(|(id, _)| *id >= FUNCTION_SECTION)
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
        if let Some((id, range)) = section {
            self.module.section(&RawSection { id, data: &module[range] });
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
