//! HTML pages to Markdown: headings, lists, tables and code stay, what surrounds the
//! article goes.

use std::rc::Rc;

use htmd::element_handler::{HandlerResult, Handlers};
use htmd::options::{BulletListMarker, Options};
use htmd::{Element, HtmlToMarkdown, Node};
use markup5ever_rcdom::NodeData;

/// What a page has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// `<title>`, else the first `<h1>`.
    pub title: Option<String>,
    /// The article in Markdown, without link targets and images.
    pub text: String,
}

/// Elements deeper than this are refused: the conversion recurses, and a stack ends.
const MAX_DEPTH: usize = 256;
/// Elements left open that are refused before parsing, which takes the square of them.
const MAX_OPEN: usize = 4096;

/// No text for readers, or the same on every page of a site.
const DROPPED: [&str; 16] = [
    "title", "script", "style", "noscript", "template", "nav", "aside", "iframe", "object", "svg",
    "canvas", "form", "button", "select", "dialog", "head",
];

/// Converts a page; the error is the reason for the report.
pub(super) fn page(html: &str) -> Result<Page, String> {
    if left_open(html) > MAX_OPEN {
        return Err(format!("leaves more than {MAX_OPEN} elements open"));
    }
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let converter = HtmlToMarkdown::builder()
        .options(options)
        .scripting_enabled(false)
        .skip_tags(DROPPED.to_vec())
        .add_handler(vec!["header", "footer"], of_the_article)
        .add_handler(vec!["a"], |handlers: &dyn Handlers, element: Element| {
            Some(handlers.walk_children(element.node))
        })
        .add_handler(vec!["img"], alternative)
        .build();
    let tree = converter.html_to_tree(html).map_err(|error| error.to_string())?;
    let Found { title, article } = find(&tree)?;
    let text = converter.tree_to_markdown(article.as_ref().unwrap_or(&tree));
    Ok(Page { title, text })
}

/// The most elements open at once, of those whose end tag may not be left out, if every
/// tag is taken as it stands.
fn left_open(html: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for tag in html.split('<').skip(1) {
        let (is_end, name) = match tag.strip_prefix('/') {
            Some(name) => (true, name),
            None => (false, tag),
        };
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        if end == 0 || MAY_STAY_OPEN.iter().any(|other| name[..end].eq_ignore_ascii_case(other)) {
            continue;
        }
        open = if is_end { open.saturating_sub(1) } else { open + 1 };
        most = most.max(open);
    }
    most
}

/// Elements without an end tag, or with one that may be left out (HTML, 13.1.2).
const MAY_STAY_OPEN: [&str; 29] = [
    "area", "base", "body", "br", "caption", "col", "colgroup", "dd", "dt", "embed", "head", "hr",
    "html", "img", "input", "li", "link", "meta", "optgroup", "option", "p", "source", "tbody",
    "td", "tfoot", "th", "thead", "tr", "wbr",
];

/// The header of a page is furniture, that of an article begins it.
fn of_the_article(handlers: &dyn Handlers, element: Element) -> Option<HandlerResult> {
    let mut node = element.node.clone();
    while let Some(parent) = parent(&node) {
        if matches!(tag(&parent), "article" | "main") {
            return Some(handlers.walk_children(element.node));
        }
        node = parent;
    }
    None
}

/// An image is its alternative text.
fn alternative(_: &dyn Handlers, element: Element) -> Option<HandlerResult> {
    let alt = element.attrs.iter().find(|attribute| &*attribute.name.local == "alt")?;
    Some(alt.value.to_string().into())
}

/// What is looked for in a page.
struct Found {
    title: Option<String>,
    /// The first `<main>`, if it has text.
    article: Option<Rc<Node>>,
}

/// Finds the title and the article; refuses a tree that is too deep to convert.
fn find(tree: &Rc<Node>) -> Result<Found, String> {
    let (mut title, mut heading, mut article) = (None, None, None);
    let mut pending = vec![(tree.clone(), 0)];
    while let Some((node, depth)) = pending.pop() {
        if depth > MAX_DEPTH {
            return Err(format!("nests elements more than {MAX_DEPTH} deep"));
        }
        match tag(&node) {
            // An SVG image has titles, too.
            "title" if parent(&node).is_none_or(|parent| tag(&parent) != "svg") => {
                title = title.or_else(|| text(&node));
            }
            "h1" => heading = heading.or_else(|| text(&node)),
            "main" => article = article.or_else(|| Some(node.clone())),
            _ => {}
        }
        pending.extend(node.children.borrow().iter().rev().map(|child| (child.clone(), depth + 1)));
    }
    let article = article.filter(|article| text(article).is_some());
    Ok(Found { title: title.or(heading), article })
}

/// All text below a node, on one line; `None` if there is none.
fn text(node: &Rc<Node>) -> Option<String> {
    let mut words = String::new();
    let mut pending = vec![node.clone()];
    while let Some(node) = pending.pop() {
        if let NodeData::Text { contents } = &node.data {
            words.push_str(&contents.borrow());
        }
        pending.extend(node.children.borrow().iter().rev().cloned());
    }
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line).filter(|line| !line.is_empty())
}

fn tag(node: &Node) -> &str {
    match &node.data {
        NodeData::Element { name, .. } => &name.local,
        _ => "",
    }
}

fn parent(node: &Node) -> Option<Rc<Node>> {
    let parent = node.parent.take();
    let found = parent.as_ref().and_then(|parent| parent.upgrade());
    node.parent.set(parent);
    found
}
