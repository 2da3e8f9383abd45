//! A bundle to an application that answers.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use trine_bundle::Reader;
use trine_inference::{DeviceChoice, Engine, EngineOptions, Graphs, PrecisionOption};
use trine_runtime::manifest::Manifest;
use trine_runtime::{App, AppOptions};

use crate::about::{About, SPIN_TOML};
use crate::models::{Loaded, graphs};
use crate::parts::{additions, source};
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
    pub app: Arc<App>,
}

impl Node {
    /// What a bundle says of itself, and its digest, without opening the rest.
    pub fn about(path: &Path) -> Result<(About, Reader), NodeError> {
        let reader = Reader::open(path)?;
        Ok((About::read(&reader)?, reader))
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

/// Opens the bundle at `path`: what is read of it is checked, and every model held against its
/// digest. Compiled code that was kept for the same components and index is used as it is.
pub fn open(path: &Path, options: &OpenOptions, models: &ModelStore) -> Result<Node, NodeError> {
    let (about, reader) = Node::about(path)?;
    let manifest = manifest(&reader)?;

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

    let component = |file: &str| source(&reader, &manifest, file);
    let app = App::new(manifest.clone(), component, engine, &options.app)?;
    app.put(app.program().with(additions(&reader)?, &label(&reader)));
    Ok(Node { about, digest: reader.digest(), app: Arc::new(app) })
}

/// The application's manifest.
pub(crate) fn manifest(reader: &Reader) -> Result<Manifest, NodeError> {
    let text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    Ok(Manifest::parse(&text)?)
}

/// What responses call a bundle: its generation, and the beginning of its digest.
pub(crate) fn label(reader: &Reader) -> String {
    format!("{}-{}", reader.generation(), &reader.digest()[..16])
}

/// Puts models where the manifest wants them.
fn place(graphs: &mut Graphs, manifest: &Manifest, models: [&Loaded; 2]) {
    for model in models {
        if let Some(choice) = manifest.devices.get(&model.name) {
            graphs.place(model.model.clone(), *choice);
        }
    }
}
