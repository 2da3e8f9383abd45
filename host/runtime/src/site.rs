//! Applications behind one address: one at its root, and others under names.
//!
//! ```text
//! POST /v1/answer           the application at the root
//! POST /v1/NAME/answer      the one called NAME, which sees /v1/answer
//! GET  /v1/NAME/answer?q=   the same, which sees /answer?q=
//! GET  /v1/collections      the names
//! ```
//!
//! They share devices, and nothing else: each has its own instances, places, limits and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Uri};

use crate::{App, Metrics, RuntimeError};

/// The longest name of a collection, in bytes.
const LONGEST_NAME: usize = 64;

/// Names that are paths already, or will be.
const RESERVED: [&str; 9] = [
    "answer",
    "chat",
    "collections",
    "embeddings",
    "generate",
    "health",
    "models",
    "rerank",
    "retrieve",
];

/// Applications by where they answer.
pub struct Site {
    root: Option<Arc<App>>,
    named: BTreeMap<String, Arc<App>>,
    metrics: Metrics,
}

/// Where a request leads.
pub(crate) enum Route {
    /// To an application, by the name it has, with the address that it sees.
    App(Arc<App>, Option<String>, Uri),
    /// To the list of names.
    Names,
    /// Nowhere.
    Nothing,
}

impl Site {
    /// Puts applications that share their devices behind one address, each under its name or, if it has
    /// none, at the root.
    ///
    /// # Errors
    /// Two of one name, a name that cannot be a part of a path, or no application at all.
    pub fn new(
        apps: impl IntoIterator<Item = (Option<String>, Arc<App>)>,
    ) -> Result<Site, RuntimeError> {
        let apps: Vec<_> = apps.into_iter().collect();
        Site::check(apps.iter().map(|(name, _)| name.as_deref()))?;
        let (mut root, mut named, mut metrics) = (None, BTreeMap::new(), None);
        for (name, app) in apps {
            metrics.get_or_insert_with(|| Metrics::new(&app.inference, &app.models));
            match name {
                None => root = Some(app),
                Some(name) => drop(named.insert(name, app)),
            }
        }
        let metrics = metrics.ok_or_else(|| RuntimeError::Site("no bundle to serve".to_owned()))?;
        Ok(Site { root, named, metrics })
    }

    /// Whether applications of these names can stand behind one address: [`Site::new`] asks this too,
    /// but only when they have been opened.
    ///
    /// # Errors
    /// Two of one name, or a name that cannot be a part of a path.
    pub fn check<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Result<(), RuntimeError> {
        let mut known = BTreeSet::new();
        for name in names {
            name.map_or(Ok(()), check)?;
            if !known.insert(name) {
                let twice = name.map_or("without a name".to_owned(), |n| format!("called `{n}`"));
                let text = format!("two bundles {twice}: write NAME=FILE.trine");
                return Err(RuntimeError::Site(text));
            }
        }
        Ok(())
    }

    /// What the applications and their devices have been doing.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Where a request leads.
    pub(crate) fn route(&self, method: &Method, uri: &Uri) -> Route {
        if uri.path() == "/v1/collections" && *method == Method::GET {
            return Route::Names;
        }
        let named = uri.path().strip_prefix("/v1/").and_then(|path| path.split_once('/'));
        if let Some((name, rest)) = named
            && let Some((name, app)) = self.named.get_key_value(name)
        {
            let prefix = if *method == Method::GET { "/" } else { "/v1/" };
            return match within(uri, &format!("{prefix}{rest}")) {
                Some(uri) => Route::App(app.clone(), Some(name.clone()), uri),
                None => Route::Nothing,
            };
        }
        match &self.root {
            Some(app) => Route::App(app.clone(), None, uri.clone()),
            None => Route::Nothing,
        }
    }
}

/// The same address with another path.
fn within(uri: &Uri, path: &str) -> Option<Uri> {
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn check(name: &str) -> Result<(), RuntimeError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let wrong = if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        format!("may have lower-case letters, digits, - and _, 1 to {LONGEST_NAME} of them")
    } else if RESERVED.contains(&name) {
        "is a path of its own".to_owned()
    } else {
        return Ok(());
    };
    Err(RuntimeError::Site(format!("a collection cannot be called `{name}`: that {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_a_path() {
        for name in ["docs", "rust-book_2", "7"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "Docs", "a/b", "a b", "..", "answer", "collections", &"x".repeat(65)] {
            assert!(check(name).unwrap_err().to_string().contains("cannot be called"), "{name}");
        }
    }

    #[test]
    fn a_path_changes_and_the_query_stays() {
        let uri: Uri = "http://localhost/v1/docs/answer?q=a+b".parse().unwrap();
        assert_eq!(within(&uri, "/answer").unwrap(), "http://localhost/answer?q=a+b");
        let uri: Uri = "http://localhost/v1/docs/health".parse().unwrap();
        assert_eq!(within(&uri, "/health").unwrap(), "http://localhost/health");
    }
}
