//! Plugging components together: one component whose stages call each other directly.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeKind, PackageId, plug};

use crate::RuntimeError;

/// What the stage exports that has an index.
const RETRIEVER: &str = "trine:rag/retriever@";
/// How an index takes what was added to it since its snapshot.
const SNAPSHOT: &str = "trine:rag/snapshot@";

/// `socket`'s imports satisfied by the exports of `plugs`, each with a name for errors.
/// What none of them exports stays an import, for the host. The whole exports what the socket
/// does and, where the retriever among the plugs does, `trine:rag/snapshot`.
pub fn compose(socket: &[u8], plugs: &[(&str, &[u8])]) -> Result<Vec<u8>, RuntimeError> {
    if plugs.is_empty() {
        return Ok(socket.to_vec());
    }
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str, bytes: &[u8]| {
        let package =
            Package::from_bytes(&format!("trine:{name}"), None, bytes.to_vec(), graph.types_mut())
                .map_err(|e| {
                    RuntimeError::Compose(format!("`{name}` is not a component: {e:#}"))
                })?;
        graph.register_package(package).map_err(RuntimeError::compose)
    };
    let socket = register("socket", socket)?;
    let mut registered = Vec::with_capacity(plugs.len());
    for (position, (name, bytes)) in plugs.iter().enumerate() {
        registered.push(
            register(&format!("plug-{position}"), bytes)
                .map_err(|e| RuntimeError::Compose(format!("`{name}`: {e}")))?,
        );
    }
    plug(&mut graph, registered.clone(), socket).map_err(RuntimeError::compose)?;
    if let Some(retriever) = registered.into_iter().find(|&plug| exports(&graph, plug, RETRIEVER)) {
        export_snapshot(&mut graph, retriever)?;
    }
    graph.encode(EncodeOptions::default()).map_err(RuntimeError::compose)
}

/// Whether the package exports an interface whose name begins with `interface`.
fn exports(graph: &CompositionGraph, package: PackageId, interface: &str) -> bool {
    graph.types()[graph[package].ty()].exports.keys().any(|name| name.starts_with(interface))
}

/// Lets the host reach the snapshot interface of a plug.
fn export_snapshot(graph: &mut CompositionGraph, plug: PackageId) -> Result<(), RuntimeError> {
    let mut names = graph.types()[graph[plug].ty()].exports.keys();
    let name = names.find(|name| name.starts_with(SNAPSHOT)).cloned();
    let is_instance = |node: &wac_graph::NodeId| {
        let node = &graph[*node];
        node.package() == Some(plug) && matches!(node.kind(), NodeKind::Instantiation(_))
    };
    let instance = graph.node_ids().find(is_instance);
    let (Some(name), Some(instance)) = (name, instance) else { return Ok(()) };
    let export = graph.alias_instance_export(instance, &name).map_err(RuntimeError::compose)?;
    graph.export(export, &name).map_err(RuntimeError::compose)
}
