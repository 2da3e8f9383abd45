//! Documents to passages.
//!
//! A document is cut at its headings, a section at its blocks (paragraphs, list items,
//! table rows, code), a block at its sentences, and only a sentence that is longer than
//! the window at its words. Every passage is a verbatim slice, and with its title and
//! headings fits the encoder's window.

mod outline;
mod pack;
mod units;

use trine_index::{MediaType, Passage};
use trine_text::passage_input;

use crate::document::Document;
use outline::Section;
use pack::{Packing, pack};
use units::{Kind, Unit};

/// Where a document may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cutting {
    /// At headings, blocks and sentences.
    #[default]
    Sections,
    /// Nowhere: one passage a document, of any length, as test collections are judged.
    Whole,
}

/// How long passages are, in the encoder's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOptions {
    /// Where to cut.
    pub cutting: Cutting,
    /// What the encoder takes: title, headings, text and special tokens.
    pub window: usize,
    /// Special tokens among these, `[CLS]` and `[SEP]` of a BERT.
    pub special: usize,
    /// What the text of a passage aims at; a block that fits the window stays whole.
    pub target: usize,
    /// At most so much of a passage's end, in whole sentences, begins the next one too.
    pub overlap: usize,
}

impl Default for CutOptions {
    /// For encoders of 256 tokens: texts of about 200, 32 of them shared.
    fn default() -> Self {
        let cutting = Cutting::Sections;
        CutOptions { cutting, window: 256, special: 2, target: 200, overlap: 32 }
    }
}

/// The passages of one document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cut {
    /// In the order of the document.
    pub passages: Vec<Passage>,
    /// How many of them an encoder will have to cut short, because the title alone
    /// takes most of the window. Always 0 for [`Cutting::Whole`], where it is meant.
    pub over_window: usize,
}

/// Cuts documents into passages.
#[derive(Clone, Copy)]
pub struct Cutter<'a> {
    count: &'a (dyn Fn(&str) -> usize + Sync),
    options: CutOptions,
}

impl<'a> Cutter<'a> {
    /// `count` says how many tokens a text has, special tokens not among them. Of every
    /// text it is asked about twice: for its sentences and for its passages.
    pub fn new(count: &'a (dyn Fn(&str) -> usize + Sync), options: CutOptions) -> Self {
        Cutter { count, options }
    }

    /// Cuts one document. Headings, front matter and sections without text are in no
    /// passage by themselves; a document without text has none, except that a title
    /// alone is a passage for [`Cutting::Whole`].
    pub fn cut(&self, document: &Document) -> Cut {
        if self.options.cutting == Cutting::Whole {
            return whole(document);
        }
        let sections = outline::sections(document);
        let units: Vec<Vec<Unit>> = sections.iter().map(|s| self.units(document, s)).collect();
        let mut cut = Cut::default();
        for group in self.group(document, &sections, &units) {
            self.cut_group(document, &group, &mut cut);
        }
        cut
    }

    /// The units of a section, none longer than what headings and title leave room for.
    fn units(&self, document: &Document, section: &Section) -> Vec<Unit> {
        let (room, _) = self.room(document, &section.path);
        units::of_section(document, section, room, self.count)
    }

    /// Tokens left for a passage's text under these headings, and how many of the
    /// headings, innermost last, there is room for.
    fn room(&self, document: &Document, headings: &[String]) -> (usize, usize) {
        let window = self.options.window.saturating_sub(self.options.special).max(1);
        let least = (window / 4).max(1);
        for kept in (0..=headings.len()).rev() {
            let kept_headings = &headings[headings.len() - kept..];
            let header = (self.count)(&passage_input(&document.title, kept_headings, "", false));
            if header + least <= window {
                return (window - header, kept);
            }
        }
        (least, 0)
    }

    /// Sections by themselves, or several small neighbours under the headings they share.
    fn group(&self, document: &Document, sections: &[Section], units: &[Vec<Unit>]) -> Vec<Group> {
        let small = self.options.target / 4;
        let mut groups: Vec<Group> = Vec::new();
        let mut open = false;
        for (section, units) in sections.iter().zip(units) {
            if units.iter().all(|unit| unit.tokens == 0) {
                continue;
            }
            let is_small = units::tokens(units) <= small;
            let heading = self.heading(document, section);
            let joined = groups.last().filter(|_| open && is_small).and_then(|last| {
                let joined = last.join(section, &heading, units)?;
                let room = self.room(document, &joined.path).0.min(self.options.target);
                (units::tokens(&joined.units) <= room).then_some(joined)
            });
            match (joined, groups.last_mut()) {
                (Some(joined), Some(last)) => *last = joined,
                _ => groups.push(Group::of(section, heading, units)),
            }
            open = is_small;
        }
        groups
    }

    /// A section's heading as a unit, for a passage that spans several sections.
    fn heading(&self, document: &Document, section: &Section) -> Unit {
        let range = section.start..section.body.start;
        let text = trine_text::markdown::plain(&document.text[range.clone()]);
        Unit { range, tokens: (self.count)(&text), block: 0, kind: Kind::Heading }
    }

    fn cut_group(&self, document: &Document, group: &Group, cut: &mut Cut) {
        let (room, kept) = self.room(document, &group.path);
        let headings = &group.path[group.path.len() - kept..];
        let window = self.options.window.saturating_sub(self.options.special);
        let passage = |units: &[Unit]| passage(document, headings, units);
        let fits = |units: &[Unit]| {
            let passage = passage(units);
            let markdown = passage.media_type == MediaType::Markdown;
            (self.count)(&passage_input(&passage.title, headings, &passage.text, markdown))
                <= window
        };
        let CutOptions { target, overlap, .. } = self.options;
        let packing = Packing { room, target: target.min(room), overlap, fits: &fits };
        for (range, fits) in pack(&group.units, &packing) {
            let units = &group.units[range];
            if units.iter().any(|unit| unit.tokens > 0) {
                cut.passages.push(passage(units));
                cut.over_window += usize::from(!fits);
            }
        }
    }
}

/// Neighbouring sections that are cut together.
struct Group {
    /// Headings that all of them are under.
    path: Vec<String>,
    /// The longest path among them.
    depth: usize,
    /// The first section's heading, if it is not in `path`, and the rest.
    units: Vec<Unit>,
    /// The first section's heading.
    heading: Unit,
}

impl Group {
    fn of(section: &Section, heading: Unit, units: &[Unit]) -> Group {
        let path = section.path.clone();
        Group { depth: path.len(), path, units: units.to_vec(), heading }
    }

    /// This group with one more section; `None` for sections that are neither siblings
    /// nor parent and child.
    fn join(&self, section: &Section, heading: &Unit, units: &[Unit]) -> Option<Group> {
        let shared = self.path.iter().zip(&section.path).take_while(|(a, b)| a == b).count();
        let depth = self.depth.max(section.path.len());
        let last = self.units.last()?;
        if shared + 1 < depth {
            return None;
        }
        let mut joined = Vec::with_capacity(self.units.len() + units.len() + 2);
        if shared < self.path.len() && self.units.first()?.kind != Kind::Heading {
            joined.push(self.heading.clone());
        }
        joined.extend(self.units.iter().cloned());
        let offset = last.block + 1;
        joined.push(Unit { block: offset, ..heading.clone() });
        joined.extend(units.iter().map(|unit| Unit { block: unit.block + offset, ..unit.clone() }));
        let path = self.path[..shared].to_vec();
        Some(Group { path, depth, units: joined, heading: self.heading.clone() })
    }
}

/// The passage from the first to the last of `units`, which are not empty.
fn passage(document: &Document, headings: &[String], units: &[Unit]) -> Passage {
    let (start, end) = match (units.first(), units.last()) {
        (Some(first), Some(last)) => (first.range.start, last.range.end),
        _ => (0, 0),
    };
    // What begins in the middle of a code block has lost its fence: it is no Markdown.
    let in_code = units.first().is_some_and(|unit| unit.kind == Kind::CodeRest);
    Passage {
        source: document.source.clone(),
        title: document.title.clone(),
        headings: headings.to_vec(),
        text: document.text[start..end].to_owned(),
        media_type: if in_code { MediaType::Plain } else { document.media_type },
        start: start as u64,
        end: end as u64,
    }
}

fn whole(document: &Document) -> Cut {
    let mut range = document.body_start()..document.text.len();
    units::trim(&document.text, &mut range);
    if range.is_empty() && document.title.is_empty() {
        return Cut::default();
    }
    let unit = Unit { range, tokens: 0, block: 0, kind: Kind::Sentence };
    Cut { passages: vec![passage(document, &[], &[unit])], over_window: 0 }
}
