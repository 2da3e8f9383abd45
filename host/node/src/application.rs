//! The application that a bundle holds: its manifest, and its components before they are filled.

use std::path::{Path, PathBuf};

use trine_runtime::manifest::Manifest;

use crate::NodeError;
use crate::about::file_name;

/// A manifest, and where its components lie.
pub(crate) struct Application {
    pub(crate) text: String,
    pub(crate) manifest: Manifest,
    folder: Option<PathBuf>,
}

/// What a dependency is filled with, told by the interface it satisfies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Retriever,
    Reranker,
    Generator,
}

impl Role {
    /// The role of the component in `file`; `None` for what is filled with nothing.
    pub(crate) fn of(manifest: &Manifest, file: &str) -> Option<Role> {
        let mut dependencies = manifest.components.values().flat_map(|c| &c.dependencies);
        let (import, _) = dependencies.find(|(_, path)| *path == file)?;
        match import.strip_prefix("trine:rag/")?.split('@').next()? {
            "retriever" => Some(Role::Retriever),
            "reranker" => Some(Role::Reranker),
            "generator" => Some(Role::Generator),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Retriever => "retriever",
            Role::Reranker => "reranker",
            Role::Generator => "generator",
        }
    }
}

impl Application {
    /// That of the manifest at `path`, or the built-in one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Application, NodeError> {
        let text = match path {
            None => crate::SPIN_TOML.to_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| NodeError::Io { path: path.to_owned(), error })?,
        };
        let manifest = Manifest::parse(&text)?;
        let folder = path.map(|p| p.parent().unwrap_or(Path::new("")).to_owned());
        Ok(Application { text, manifest, folder })
    }

    /// A component as it was built: from beside the manifest, or the built-in one of that name.
    pub(crate) fn component(&self, file: &str) -> Result<Vec<u8>, NodeError> {
        match &self.folder {
            Some(folder) => {
                let path = folder.join(file);
                std::fs::read(&path).map_err(|error| NodeError::Io { path, error })
            }
            None => {
                trine_components::by_file(file_name(file)).map(<[u8]>::to_vec).ok_or_else(|| {
                    NodeError::malformed("application", format!("no built-in component is {file}"))
                })
            }
        }
    }
}
