//! A component in two: its code, which is compiled once, and the memory that it is filled in.
//!
//! To compile a component takes seconds, and an index is bytes that no compiler need look at. So the
//! core module with the memory is taken out of its component and becomes two: the code, which
//! imports a memory, and the memory with what lies in it at first. The rest, the shell, imports
//! both as [`CODE`] and [`MEMORY`]. Whatever the memory is filled with, code and shell stay the same.

mod halves;

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent};
use wasm_encoder::{
    Component, ComponentAliasSection, ComponentImportSection, ComponentTypeRef, CoreTypeSection,
    InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{Chunk, Instance, InstantiationArgKind, Parser, Payload};

pub(crate) use self::halves::memory_module;
use self::halves::{Halves, memory_of};

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

const CUT_SHORT: Error<&str> = Error::UserError("it is cut short");

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
        Split::parse(component).map_err(|error| match error {
            Error::ParseError(error) => error.to_string(),
            other => other.to_string(),
        })
    }

    fn parse(component: &[u8]) -> Result<Split> {
        let (mut shell, mut splitter) = (Component::new(), Splitter::default());
        let (mut parser, mut rest) = (Parser::new(0), component);
        while let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? {
            // What lies within a section is skipped here, and need not be there.
            let within = match &payload {
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => unchecked_range.len(),
                _ => 0,
            };
            rest = rest.get(consumed + within..).ok_or(CUT_SHORT)?;
            let is_end = matches!(payload, Payload::End(_));
            splitter.section(&mut shell, payload, component)?;
            if is_end {
                break;
            }
        }
        let Place { code, memory, .. } =
            splitter.place.ok_or(Error::UserError("none of its modules has a memory"))?;
        Ok(Split { shell: shell.finish(), code, memory })
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
    /// Only what names core modules and instances is encoded anew.
    fn section(
        &mut self,
        component: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<()> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                self.module(component, whole.get(unchecked_range).ok_or(CUT_SHORT)?)?;
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
                if let Some(section) = raw(&other, whole)? {
                    component.section(&section);
                }
            }
        }
        Ok(())
    }

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

/// A section as it stands; `None` for what is none.
fn raw<'a>(payload: &Payload<'_>, whole: &'a [u8]) -> Result<Option<RawSection<'a>>> {
    let section = payload.as_section().map(|(id, range)| match whole.get(range) {
        Some(data) => Ok(RawSection { id, data }),
        None => Err(CUT_SHORT),
    });
    section.transpose()
}

#[cfg(test)]
mod tests {
    use wasm_encoder::Module;

    use super::*;

    #[test]
    fn components_are_taken_apart_or_refused_wherever_they_are_cut() {
        for file in ["retriever.wasm", "generator.wasm"] {
            let guest = trine_components::by_file(file).unwrap();
            let split = Split::of(guest).unwrap();
            // All that is large is in the code, and nothing is there twice.
            assert!(
                split.code.len() > split.memory.len() && split.memory.len() > split.shell.len()
            );
            let parts = split.code.len() + split.memory.len() + split.shell.len();
            assert!(parts < guest.len(), "{parts}");
            let step = guest.len() / 200;
            for end in (0..2000).chain((0..guest.len()).step_by(step)) {
                let _ = Split::of(&guest[..end]);
            }
            assert!(Split::of(&guest[..guest.len() / 2]).is_err());
        }
        for nothing in [&b""[..], b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0", b"no component"] {
            assert!(Split::of(nothing).is_err());
        }
    }

    /// A component of these core modules, none of them instantiated.
    fn component(modules: &[&Module]) -> Vec<u8> {
        let mut component = Component::new();
        for module in modules {
            component.section(&wasm_encoder::ModuleSection(module));
        }
        component.finish()
    }

    #[test]
    fn what_would_not_be_the_same_when_taken_apart_is_refused() {
        let memory = |memory64, shared| wasm_encoder::MemoryType {
            minimum: 1,
            maximum: Some(1),
            memory64,
            shared,
            page_size_log2: None,
        };
        let plain = memory_module(memory(false, false));
        assert!(Split::of(&component(&[&plain])).is_ok());
        let refused = |modules: &[&Module], words: &str| {
            let reason = Split::of(&component(modules)).err().unwrap();
            assert!(reason.contains(words), "{reason}");
        };
        refused(&[&plain, &plain], "two of its modules");
        refused(&[&memory_module(memory(true, false))], "another memory");
        refused(&[&memory_module(memory(false, true))], "another memory");
        let mut starting = memory_module(memory(false, false));
        starting.section(&wasm_encoder::StartSection { function_index: 0 });
        refused(&[&starting], "before it is called");
        refused(&[&Module::new()], "has a memory");
    }
}
