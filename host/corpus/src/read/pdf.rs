//! The text of PDF files.
//!
//! `pdf-extract` reads them, but trusts them: it panics where a file is not as the
//! standard has it, and follows drawings that draw each other for ever. So it runs on a
//! thread of its own, after [`check`] has walked every page as it will.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pdf_extract::content::Content;
use pdf_extract::{
    ConvertToFmt, Dictionary, Document, Object, ObjectId, PlainTextOutput, Stream, output_doc_page,
};

/// No text has more; a file that does is a trap.
const MAX_TEXT_BYTES: usize = 64 << 20;
/// For one file; looked at between pages.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Drawings (form XObjects) within each other.
const MAX_FORM_DEPTH: usize = 16;
/// Drawings on one page.
const MAX_FORMS: usize = 10_000;
/// Page-tree nodes above a page.
const MAX_PARENTS: usize = 64;
/// Of the thread that reads: its deepest call is a drawing's.
const STACK_BYTES: usize = 32 << 20;

/// The text of all pages, a blank line between two; the error is the reason for the
/// report. `name` names the thread, and so the message of a panic.
pub(super) fn text(bytes: Vec<u8>, name: &str) -> Result<String, String> {
    let thread = std::thread::Builder::new().name(name.replace('\0', "")).stack_size(STACK_BYTES);
    let reading = thread.spawn(move || pages(&bytes)).map_err(|error| error.to_string())?;
    let text =
        reading.join().map_err(|_| "is not a sound PDF (its reader gave up)".to_owned())??;
    if text.trim().is_empty() {
        return Err("has no text (a scan needs text recognition first)".into());
    }
    Ok(text)
}

fn pages(bytes: &[u8]) -> Result<String, String> {
    let begun = Instant::now();
    let mut document = Document::load_mem(bytes).map_err(|e| format!("is not a sound PDF: {e}"))?;
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err("is encrypted; remove its password first".into());
    }
    let mut text = Capped(String::new());
    for (number, page) in document.get_pages() {
        check(&document, page).map_err(|reason| format!("has a page {number} that {reason}"))?;
        let mut output = PlainTextOutput::new(&mut text);
        output_doc_page(&document, &mut output, number)
            .map_err(|error| format!("cannot be read at page {number}: {error}"))?;
        text.0.push_str("\n\n");
        if begun.elapsed() > MAX_TIME {
            return Err(format!("takes longer than {} seconds to read", MAX_TIME.as_secs()));
        }
    }
    Ok(tidied(&text.0))
}

/// Text up to [`MAX_TEXT_BYTES`].
struct Capped(String);

impl std::fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_TEXT_BYTES {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

impl<'a> ConvertToFmt for &'a mut Capped {
    type Writer = &'a mut Capped;
    fn convert(self) -> Self::Writer {
        self
    }
}

/// Lines without trailing blanks and control characters, never two blank ones in a row.
fn tidied(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank_lines = 0;
    for line in text.lines() {
        let line = line.trim_end();
        blank_lines = if line.is_empty() { blank_lines + 1 } else { 0 };
        if blank_lines < 2 {
            out.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

/// Whether drawing `page` ends: its parents and the drawings it makes are bounded.
fn check(document: &Document, page: ObjectId) -> Result<(), String> {
    let mut node = document.get_dictionary(page).map_err(|error| error.to_string())?;
    let mut resources = None;
    let mut parents = 0;
    loop {
        resources = resources.or_else(|| dictionary(document, node, b"Resources"));
        let Some(parent) = dictionary(document, node, b"Parent") else {
            break;
        };
        node = parent;
        parents += 1;
        if parents > MAX_PARENTS {
            return Err("lies too deep in the page tree".into());
        }
    }
    let content = document.get_page_content(page).map_err(|error| error.to_string())?;
    let empty = Dictionary::new();
    let mut forms = Forms { document, drawn: 0, names: HashMap::new() };
    forms.walk(drawn_names(&content), resources.unwrap_or(&empty), 0)
}

/// The drawings of one page.
struct Forms<'a> {
    document: &'a Document,
    drawn: usize,
    /// What each drawing draws in its turn.
    names: HashMap<*const Stream, Vec<Vec<u8>>>,
}

impl<'a> Forms<'a> {
    fn walk(
        &mut self,
        names: Vec<Vec<u8>>,
        resources: &'a Dictionary,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_FORM_DEPTH {
            return Err(format!("nests drawings more than {MAX_FORM_DEPTH} deep"));
        }
        let Some(forms) = dictionary(self.document, resources, b"XObject") else {
            return Ok(());
        };
        for name in names {
            self.drawn += 1;
            if self.drawn > MAX_FORMS {
                return Err(format!("makes more than {MAX_FORMS} drawings"));
            }
            let Some(form) = get(self.document, forms, &name).and_then(|o| o.as_stream().ok())
            else {
                continue;
            };
            let own = dictionary(self.document, &form.dict, b"Resources").unwrap_or(resources);
            let drawn = self.names.entry(std::ptr::from_ref(form)).or_insert_with(|| {
                drawn_names(&form.decompressed_content().unwrap_or_else(|_| form.content.clone()))
            });
            let drawn = drawn.clone();
            self.walk(drawn, own, depth + 1)?;
        }
        Ok(())
    }
}

/// The operands of a content stream's `Do` operators.
fn drawn_names(content: &[u8]) -> Vec<Vec<u8>> {
    let Ok(content) = Content::decode(content) else {
        return Vec::new();
    };
    let drawings = content.operations.into_iter().filter(|operation| operation.operator == "Do");
    drawings
        .filter_map(|operation| Some(operation.operands.first()?.as_name().ok()?.to_vec()))
        .collect()
}

fn get<'a>(document: &'a Document, dictionary: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    let object = dictionary.get(key).ok()?;
    document.dereference(object).ok().map(|(_, object)| object)
}

fn dictionary<'a>(
    document: &'a Document,
    dictionary: &'a Dictionary,
    key: &[u8],
) -> Option<&'a Dictionary> {
    get(document, dictionary, key)?.as_dict().ok()
}
