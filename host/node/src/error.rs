//! What can go wrong with a node.

use std::path::PathBuf;

/// Why a bundle could not be built or opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The documents.
    #[error(transparent)]
    Corpus(#[from] trine_corpus::Error),
    /// The bundle file.
    #[error(transparent)]
    Bundle(#[from] trine_bundle::BundleError),
    /// The components.
    #[error(transparent)]
    Runtime(#[from] trine_runtime::RuntimeError),
    /// A model's folder.
    #[error("model `{name}` in {folder}: {error}")]
    Model {
        /// Its name.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        error: Box<trine_inference::ModelError>,
    },
    /// Models that do not go together.
    #[error(transparent)]
    Graphs(#[from] trine_inference::ModelError),
    /// A computation.
    #[error(transparent)]
    Inference(#[from] trine_inference::InferenceError),
    /// A model's files.
    #[error(transparent)]
    Hub(#[from] trine_hub::Error),
    /// The index.
    #[error(transparent)]
    Index(#[from] trine_index::IndexError),
    /// A tokenizer.
    #[error(transparent)]
    Token(#[from] trine_text::tokens::TokenError),
    /// A model's file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A model of another kind than its place needs.
    #[error("`{model}` is a {found}, but the {role} needs a {needed}")]
    Kind {
        /// The model.
        model: String,
        /// Its kind.
        found: &'static str,
        /// Its place.
        role: &'static str,
        /// What would do.
        needed: &'static str,
    },
    /// A model whose files are not those that the bundle was built with.
    #[error(
        "model `{model}`: {file} is not the file that the bundle was built with (its SHA-256 is \
         {found}, the bundle's is {expected}); give the right folder with --model {model}=DIR, or \
         build the bundle again"
    )]
    Digest {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The file's digest.
        found: String,
        /// The bundle's.
        expected: String,
    },
    /// Something in the bundle is not as `trine index` writes it.
    #[error("the bundle's {what} cannot be read: {reason}; build it again with `trine index`")]
    Malformed {
        /// The part.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The manifest names a model that the bundle does not have.
    #[error("spin.toml: application.tool.trine names `{model}`; the bundle's models are {known}")]
    NoModel {
        /// The name.
        model: String,
        /// The bundle's models.
        known: String,
    },
    /// There is no such language model.
    #[error(
        "there is no language model `{name}`, and no file or folder; registered are: {known}. \
         `trine models add NAME PATH` registers a GGUF file or a model's folder"
    )]
    NoLanguageModel {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A model to be registered is not there.
    #[error(
        "`{origin}` is no file, no folder, and no hub repository whose digests trine knows; download \
         its files, for example with `hf download {origin} --local-dir DIR`, and register DIR or the \
         GGUF file in it"
    )]
    NoSource {
        /// What was named.
        origin: String,
    },
    /// Bundles that are opened together do not agree on a model.
    #[error(
        "the bundles were built with different models called `{model}`, or say different things \
         of its device or precision; serve them apart, or build them alike"
    )]
    ModelClash {
        /// Its name.
        model: String,
    },
    /// A change that would leave a bundle without documents.
    #[error("this would leave no document in the bundle; delete the file instead")]
    NothingLeft,
    /// There is nothing to take out.
    #[error("the bundle has no document `{pattern}`; name one as answers do, or by a glob")]
    NoDocument {
        /// What was looked for.
        pattern: String,
    },
    /// Components hold the base only.
    #[error("the bundle was changed since its index was built; run `trine compact` first")]
    NotFolded,
    /// A running server has its models loaded.
    #[error("{path} has other models than the bundle that is served; restart the server")]
    OtherModels {
        /// The bundle.
        path: PathBuf,
    },
    /// The build was told to stop.
    #[error("stopped; the bundle was not written")]
    Cancelled,
}

impl NodeError {
    pub(crate) fn malformed(what: &'static str, reason: impl std::fmt::Display) -> NodeError {
        NodeError::Malformed { what, reason: reason.to_string() }
    }
}
