//! Plugging components together: one component whose stages call each other directly.

use wac_graph::types::{Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

use crate::RuntimeError;

/// What the stage exports that has an index.
const RETRIEVER: &str = "trine:rag/retriever@";
/// How an index takes what was added to it since its snapshot.
const SNAPSHOT: &str = "trine:rag/snapshot@";

/// `socket`'s imports satisfied by the exports of `plugs`, each with a name for errors. A plug is given
/// what those before it export; of two that export the same the later is taken, which may have
/// been given the earlier. What none of them exports stays an import, for the host. The whole exports
/// what the socket does and, where a retriever is among the plugs, its `trine:rag/snapshot`.
pub fn compose(socket: &[u8], plugs: &[(&str, &[u8])]) -> Result<Vec<u8>, RuntimeError> {
    if plugs.is_empty() {
        return Ok(socket.to_vec());
    }
    let mut composition = Composition { graph: CompositionGraph::new(), instances: vec![] };
    for (name, bytes) in plugs {
        composition.add(name, bytes)?;
    }
    if composition.add("socket", socket)? == 0 {
        let text = "the component imports nothing that its dependencies export";
        return Err(RuntimeError::Compose(text.to_owned()));
    }
    composition.export()?;
    composition.graph.encode(EncodeOptions::default()).map_err(RuntimeError::compose)
}

/// Components on their way to become one.
struct Composition {
    graph: CompositionGraph,
    /// What was added, in order.
    instances: Vec<(PackageId, NodeId)>,
}

impl Composition {
    /// Adds a component that is given what those before it export. Returns how much that is.
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<usize, RuntimeError> {
        let at = |e: RuntimeError| RuntimeError::Compose(format!("`{name}`: {e}"));
        // Names of packages have fewer characters than files'.
        let key = format!("trine:component-{}", self.instances.len());
        let package = Package::from_bytes(&key, None, bytes.to_vec(), self.graph.types_mut());
        let package = package
            .map_err(|e| RuntimeError::Compose(format!("`{name}` is not a component: {e:#}")))?;
        let package =
            self.graph.register_package(package).map_err(RuntimeError::compose).map_err(at)?;
        let instance = self.graph.instantiate(package);
        let imports = self.graph.types()[self.graph[package].ty()].imports.keys();
        let imports: Vec<String> = imports.cloned().collect();
        let mut given = 0;
        for import in imports {
            let before = self.instances.iter().rev();
            let mut found =
                before.filter_map(|&(from, node)| Some((node, self.name(from, &import)?)));
            let Some((node, export)) = found.next() else { continue };
            let export = self.alias(node, &export)?;
            let set = self.graph.set_instantiation_argument(instance, &import, export);
            set.map_err(RuntimeError::compose).map_err(at)?;
            given += 1;
        }
        self.instances.push((package, instance));
        Ok(given)
    }

    /// What a component calls its export that an import of this name can be given.
    fn name(&self, package: PackageId, import: &str) -> Option<String> {
        let mut exports = self.exports(package);
        exports.find(|export| *export == import || are_semver_compatible(export, import)).cloned()
    }

    fn exports(&self, package: PackageId) -> impl Iterator<Item = &String> {
        self.graph.types()[self.graph[package].ty()].exports.keys()
    }

    fn alias(&mut self, node: NodeId, export: &str) -> Result<NodeId, RuntimeError> {
        self.graph.alias_instance_export(node, export).map_err(RuntimeError::compose)
    }

    /// Exports what the last component does, and the way to fill a retriever.
    fn export(&mut self) -> Result<(), RuntimeError> {
        let Some((&(socket, node), plugs)) = self.instances.split_last() else { return Ok(()) };
        let mut exported: Vec<(NodeId, String)> =
            self.exports(socket).map(|name| (node, name.clone())).collect();
        let begins = |plug, with: &str| self.exports(plug).find(|name| name.starts_with(with));
        let retriever = plugs.iter().find(|(plug, _)| begins(*plug, RETRIEVER).is_some());
        if let Some(&(plug, node)) = retriever {
            exported.extend(begins(plug, SNAPSHOT).map(|name| (node, name.clone())));
        }
        for (node, name) in exported {
            let export = self.alias(node, &name)?;
            self.graph.export(export, &name).map_err(RuntimeError::compose)?;
        }
        Ok(())
    }
}
