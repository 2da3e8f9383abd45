//! Plugging components together: one component whose stages call each other directly.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, plug};

use crate::RuntimeError;

/// `socket`'s imports satisfied by the exports of `plugs`, each with a name for errors.
/// What none of them exports stays an import, for the host.
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
    plug(&mut graph, registered, socket).map_err(RuntimeError::compose)?;
    graph.encode(EncodeOptions::default()).map_err(RuntimeError::compose)
}
