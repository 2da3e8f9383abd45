//! A bundle to an application that answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use trine_bundle::Reader;
use trine_inference::{DeviceChoice, Engine, EngineOptions, Graphs, PrecisionOption};
use trine_runtime::manifest::Manifest;
use trine_runtime::{App, AppOptions, LanguageModels};

use crate::about::{About, SPIN_TOML};
use crate::parts::{WRITER, additions, source};
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
    let mut nodes = open_all(&[path], options, models)?;
    Ok(nodes.remove(0))
}

/// Opens bundles as [`open`] does, one after another; they share devices, and models of one name.
///
/// # Errors
/// As [`open`], and when bundles of one model's name were built with different models, or want it
/// computed in different ways.
pub fn open_all(
    paths: &[&Path],
    options: &OpenOptions,
    models: &ModelStore,
) -> Result<Vec<Node>, NodeError> {
    let mut wanted = BTreeMap::new();
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        let (about, reader) = Node::about(path)?;
        let manifest = manifest(&reader, &options.app.models)?;
        want(&mut wanted, &about, &manifest, options)?;
        found.push((about, reader, manifest));
    }
    let engine = Engine::start(load(wanted, models)?, options.engine.clone())?;
    options.app.models.iter().for_each(|model| model.generations().share(&engine));
    found
        .into_iter()
        .map(|(about, reader, manifest)| {
            let component = |file: &str| source(&reader, &manifest, file);
            let app = App::new(manifest.clone(), component, engine.clone(), &options.app)?;
            app.put(app.program().with(additions(&reader)?, &label(&reader)));
            Ok(Node { about, digest: reader.digest(), app: Arc::new(app) })
        })
        .collect()
}

/// Makes all that opening the bundle at `path` would have to make first, and keeps it where `options`
/// have it kept. Needs no model.
pub fn prepare(path: &Path, options: &AppOptions) -> Result<(), NodeError> {
    let reader = Reader::open(path)?;
    let manifest = manifest(&reader, &options.models)?;
    trine_runtime::prepare(&manifest, |file| source(&reader, &manifest, file), options)
}

/// A model that bundles want.
#[derive(Clone)]
struct Wanted {
    reference: ModelRef,
    precision: PrecisionOption,
    device: Option<DeviceChoice>,
    /// What its graphs are for.
    uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Embed,
    Rerank,
    Read,
}

/// Adds a bundle's models to those that are wanted, by name.
fn want(
    wanted: &mut BTreeMap<String, Wanted>,
    about: &About,
    manifest: &Manifest,
    options: &OpenOptions,
) -> Result<(), NodeError> {
    let used = [(&about.embedder, Use::Embed), (&about.reranker, Use::Rerank)];
    let used: Vec<(&ModelRef, Use)> =
        used.into_iter().chain(about.reader.iter().map(|reader| (reader, Use::Read))).collect();
    let names: Vec<&str> = used.iter().map(|(reference, _)| reference.name.as_str()).collect();
    for name in manifest.devices.keys().chain(manifest.precisions.keys()) {
        if !names.contains(&name.as_str()) {
            return Err(NodeError::NoModel { model: name.clone(), known: names.join(", ") });
        }
    }
    for (reference, purpose) in used {
        let name = &reference.name;
        // What the command line says counts more.
        let precision = match options.engine.precision {
            PrecisionOption::Auto => manifest.precisions.get(name).copied().unwrap_or_default(),
            _ => PrecisionOption::Auto,
        };
        let device = manifest.devices.get(name).copied();
        let device = device.filter(|_| options.engine.device == DeviceChoice::Auto);
        let reference = reference.clone();
        let new = Wanted { reference, precision, device, uses: vec![] };
        let known = wanted.entry(name.clone()).or_insert_with(|| new.clone());
        if (&known.reference, known.precision, known.device) != (&new.reference, precision, device)
        {
            return Err(NodeError::ModelClash { model: name.clone() });
        }
        if !known.uses.contains(&purpose) {
            known.uses.push(purpose);
        }
    }
    Ok(())
}

/// Loads the models and makes the graphs that guests ask for.
fn load(wanted: BTreeMap<String, Wanted>, models: &ModelStore) -> Result<Graphs, NodeError> {
    let mut graphs = Graphs::new();
    for Wanted { reference, precision, device, uses } in wanted.into_values() {
        let mut model = models.load_pinned(&reference, precision)?;
        for purpose in uses {
            match purpose {
                Use::Embed => {
                    model = model.must_embed("retriever")?;
                    model.add_embedding(&mut graphs)?;
                }
                Use::Rerank => model.add_reranking(&mut graphs)?,
                Use::Read => model.add_reading(&mut graphs)?,
            }
        }
        if let Some(choice) = device {
            graphs.place(model.model.clone(), choice);
        }
    }
    Ok(graphs)
}

/// The application's manifest, with the writer in front of each generator where there are language
/// models for it, and it has none of its own.
pub(crate) fn manifest(reader: &Reader, models: &LanguageModels) -> Result<Manifest, NodeError> {
    let text = String::from_utf8(reader.read(SPIN_TOML)?)
        .map_err(|e| NodeError::malformed("spin.toml", e))?;
    let mut manifest = Manifest::parse(&text)?;
    let wanted = !models.is_empty() && !manifest.writes;
    for component in manifest.components.values_mut().filter(|_| wanted) {
        let mut imports = component.dependencies.keys();
        if imports.any(|import| import.starts_with("trine:rag/generator@")) {
            component.fronts.push(WRITER.to_owned());
        }
    }
    Ok(manifest)
}

/// What responses call a bundle: its generation, and the beginning of its digest.
pub(crate) fn label(reader: &Reader) -> String {
    format!("{}-{}", reader.generation(), &reader.digest()[..16])
}
