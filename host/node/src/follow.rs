//! Staying with a bundle that changes while it is served.

use std::path::PathBuf;
use std::sync::Arc;

use trine_bundle::Reader;
use trine_runtime::manifest::Manifest;
use trine_runtime::{App, Program};

use crate::about::About;
use crate::open::{label, manifest};
use crate::parts::{additions, source};
use crate::{Node, NodeError};

/// Looks at a bundle again and again.
pub struct Follower {
    path: PathBuf,
    app: Arc<App>,
    /// What is served.
    about: About,
    digest: String,
    /// The digests of the components and the base.
    lasting: Vec<String>,
}

/// A newer generation, ready to be served.
pub struct News {
    /// Takes the place of what is served.
    pub program: Program,
    /// What the bundle says of itself now.
    pub about: About,
    /// Whether it has another base, or other components.
    pub whole: bool,
    digest: String,
    lasting: Vec<String>,
}

impl Follower {
    /// Follows the bundle at `path`, which `node` was opened from.
    pub fn new(path: PathBuf, node: &Node) -> Result<Follower, NodeError> {
        let (about, app, digest) = (node.about.clone(), node.app.clone(), node.digest.clone());
        // Should it have changed since, then not what is served; the next look sees that.
        let reader = Reader::open(&path)?;
        let lasting = if reader.digest() == digest { lasting(&reader) } else { vec![] };
        Ok(Follower { path, app, about, digest, lasting })
    }

    /// What lies there now, when it is not what is served. Takes long where there is a new base.
    ///
    /// # Errors
    /// When the file cannot be served; what is served stays as it is.
    pub fn look(&self) -> Result<Option<News>, NodeError> {
        if Reader::latest(&self.path)? == self.digest {
            return Ok(None);
        }
        let reader = Reader::open(&self.path)?;
        if reader.digest() == self.digest {
            return Ok(None);
        }
        let about = About::read(&reader)?;
        if (&about.embedder, &about.reranker) != (&self.about.embedder, &self.about.reranker) {
            return Err(NodeError::OtherModels { path: self.path.clone() });
        }
        let lasting = lasting(&reader);
        let whole = lasting != self.lasting;
        let program = match whole {
            false => self.app.program(),
            true => self.prepare(&reader, manifest(&reader, self.app.models())?)?,
        };
        let program = program.with(additions(&reader)?, &label(&reader));
        Ok(Some(News { program, about, whole, digest: reader.digest(), lasting }))
    }

    fn prepare(&self, reader: &Reader, manifest: Manifest) -> Result<Program, NodeError> {
        let component = |file: &str| source(reader, &manifest, file);
        self.app.prepare(manifest.clone(), component)
    }

    /// Serves the news.
    ///
    /// # Errors
    /// When no instance of it starts; what is served stays as it is.
    pub async fn serve(&mut self, news: News) -> Result<(), NodeError> {
        self.app.replace(news.program).await?;
        (self.about, self.digest, self.lasting) = (news.about, news.digest, news.lasting);
        Ok(())
    }
}

/// The digests of all that is in place before the first request.
fn lasting(reader: &Reader) -> Vec<String> {
    let sections = reader.sections().iter();
    let lasting = sections.filter(|section| {
        let name = section.name.as_str();
        name != crate::about::ABOUT && !name.starts_with(crate::living::DELTA)
    });
    let mut digests: Vec<String> =
        lasting.map(|section| format!("{} {}", section.name, section.sha256)).collect();
    digests.sort_unstable();
    digests
}
