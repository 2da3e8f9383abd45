//! A bundle to an application that answers.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use trine_bundle::Reader;
use trine_inference::{DeviceChoice, Engine, EngineOptions, Graphs, PrecisionOption};
use trine_runtime::manifest::Manifest;
use trine_runtime::{App, AppOptions};

use crate::about::{ABOUT, About, SPIN_TOML, component_section};
use crate::models::{Loaded, graphs};
use crate::{ModelRef, ModelStore, NodeError};

/// How a bundle is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The devices to compute on. What the manifest says of a model's device counts where this
    /// leaves it open.
    pub engine: EngineOptions,
    /// Bounds on requests, and where compiled code is kept.
    pub app: AppOptions,
}

/// An open bundle.
pub struct Node {
    /// What it says of itself.
    pub about: About,
    /// Its content digest.
    pub digest: String,
    /// Its application.
    pub app: App,
}

impl Node {
    /// What a bundle says of itself, and its digest, without opening the rest.
    pub fn about(path: &Path) -> Result<(About, Reader), NodeError> {
        let mut reader = Reader::open(path)?;
        let about = serde_json::from_slice(&reader.read(ABOUT)?)
            .map_err(|e| NodeError::malformed("description", e))?;
        Ok((about, reader))
    }

    /// Sends a request to the application, without a network in between, and gathers the answer.
    pub async fn request(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), NodeError> {
        let Some(response) = self.app.handle(request).await else {
            return Ok((StatusCode::NOT_FOUND, Bytes::new()));
        };
        let (parts, body) = response?.into_parts();
        Ok((parts.status, body.collect().await?.to_bytes()))
    }
}

/// Opens the bundle at `path`: every section is checked, every model held against its digest.
pub fn open(path: &Path, options: &OpenOptions, models: &ModelStore) -> Result<Node, NodeError> {
    let (about, mut reader) = Node::about(path)?;
    let digest = reader.digest().to_owned();
    let text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    let manifest = Manifest::parse(&text)?;

    let names = [about.embedder.name.as_str(), about.reranker.name.as_str()];
    for name in manifest.devices.keys().chain(manifest.precisions.keys()) {
        if !names.contains(&name.as_str()) {
            return Err(NodeError::NoModel { model: name.clone(), known: names.join(", ") });
        }
    }
    // What the command line says counts more.
    let precision = |model: &ModelRef| match options.engine.precision {
        PrecisionOption::Auto => manifest.precisions.get(&model.name).copied().unwrap_or_default(),
        _ => PrecisionOption::Auto,
    };
    let load = |model: &ModelRef| models.load_pinned(model, precision(model));
    let embedder = load(&about.embedder)?.must_embed("retriever")?;
    let reranker = match about.reranker == about.embedder {
        true => embedder.clone(),
        false => load(&about.reranker)?,
    };
    let mut graphs = graphs(&embedder, &reranker)?;
    if options.engine.device == DeviceChoice::Auto {
        place(&mut graphs, &manifest, [&embedder, &reranker]);
    }
    let engine = Engine::start(graphs, options.engine.clone())?;
    drop((embedder, reranker));

    let mut components = BTreeMap::new();
    for file in manifest.files() {
        components.insert(file.to_owned(), reader.read(&component_section(file))?);
    }
    let app = App::new(manifest, components, engine, &options.app)?;
    Ok(Node { about, digest, app })
}

/// Puts models where the manifest wants them.
fn place(graphs: &mut Graphs, manifest: &Manifest, models: [&Loaded; 2]) {
    for model in models {
        if let Some(choice) = manifest.devices.get(&model.name) {
            graphs.place(model.model.clone(), *choice);
        }
    }
}
