//! Bundles that change: against a model of what they should hold, and under kills.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trine_bundle::{Reader, Writer};
use trine_index::lexical::{Bm25, Language, LexicalOptions};
use trine_index::setup::{self, Pooling, REMOVED, RetrieverSetup, Scoring};
use trine_index::{
    Fields, Index, Likeness, MediaType, Passage, SearchOptions, SegmentReader, Value, Vector,
};
use trine_node::living::{BaseOptions, Document, Entry, write_base};
use trine_node::{
    ABOUT, About, Chunking, Edit, Folding, ModelRef, NodeError, RETRIEVER_SETUP, fold,
};

/// Small, so that bundles are folded often.
const FOLDING: Folding = Folding { delta: 40, removed: 4, dead_bytes: 1 << 20, threads: 1 };
const SOURCES: usize = 40;

/// SplitMix64 (Steele et al., 2014).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// What a bundle should hold: each document's name and the texts of its passages.
type Model = BTreeMap<String, Vec<String>>;

/// A document without a model: each vector is drawn from its text.
fn document(source: &str, texts: &[String]) -> Document {
    let passages = texts.iter().map(|text| Passage {
        source: source.to_owned(),
        title: String::new(),
        headings: vec![],
        text: text.clone(),
        media_type: MediaType::Plain,
        start: 0,
        end: text.len() as u64,
    });
    let digest = trine_bundle::sha256_hex(texts.join("\n").as_bytes()).as_bytes()[..32].to_vec();
    let digest = digest.try_into().unwrap();
    let passages_count = texts.len() as u32;
    let entry = Entry { source: source.to_owned(), digest, fields: 0, passages: passages_count };
    let vectors = texts.iter().map(|text| vector(text)).collect();
    let fields = Fields::from([("source".to_owned(), vec![Value::Text(source.to_owned())])]);
    Document { entry, passages: passages.collect(), vectors, fields }
}

fn vector(text: &str) -> Vector {
    let seed = text.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut random = Random(seed);
    Vector::normalized((0..16).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect())
}

/// A bundle of these documents: an index and no components.
fn create(path: &Path, documents: &Model) {
    create_with(path, documents, LexicalOptions::default());
}

/// The same with words that are read in another way.
fn create_with(path: &Path, documents: &Model, lexical: LexicalOptions) {
    let nothing = ModelRef { name: "none".to_owned(), sha256: BTreeMap::new() };
    let about = About {
        trine: String::new(),
        documents: documents.len() as u64,
        passages: 0,
        dimensions: 16,
        chunking: Chunking::Whole,
        overlap: 0,
        vectors: None,
        lexical,
        paths: vec![],
        embedder: nothing.clone(),
        reranker: nothing.clone(),
        scoring: Scoring::LateInteraction,
        generator: nothing,
        reader: None,
    };
    let setup = RetrieverSetup {
        model: "none".to_owned(),
        graph: "none".to_owned(),
        max_tokens: 16,
        pooling: Pooling::Mean,
        documents: documents.len() as u32,
        bm25: Bm25::default(),
    };
    let mut writer = Writer::create(path).unwrap();
    writer.section(ABOUT, &serde_json::to_vec(&about).unwrap()).unwrap();
    writer.section(RETRIEVER_SETUP, &serde_json::to_vec(&setup).unwrap()).unwrap();
    let documents = documents.iter().map(|(source, texts)| document(source, texts)).collect();
    let options = BaseOptions { threads: 1, vectors: None, lexical };
    write_base(&mut writer, documents, options, &mut |_| Ok(())).unwrap();
    writer.finish().unwrap();
}

/// The index of a bundle, as the retriever has it.
fn searched(path: &Path) -> Index {
    let reader = Reader::open(path).unwrap();
    let segment = |prefix: &str| {
        let mut coming = SegmentReader::default();
        for name in [setup::GRAPH, setup::LEXICAL, setup::PASSAGES, setup::METADATA] {
            coming.push(name, &reader.read(&format!("{prefix}{name}")).unwrap()).unwrap();
        }
        coming.finish().unwrap()
    };
    let mut index = Index::new(segment("base/"));
    if reader.section(REMOVED).is_ok() {
        let removed = postcard::from_bytes(&reader.read(REMOVED).unwrap()).unwrap();
        index.lay_over(segment("delta/"), removed).unwrap();
    }
    index
}

/// Exact search finds every passage of the model and no other, and each by its own vector.
fn holds(path: &Path, model: &Model, random: &mut Random) {
    let index = searched(path);
    let options = SearchOptions {
        k: usize::MAX,
        exact: true,
        bm25: Bm25::default(),
        admitted: index.admitted(None).unwrap(),
        per_document: None,
        diversity: None,
    };
    let expected: Vec<(&str, &str)> = model
        .iter()
        .flat_map(|(source, texts)| texts.iter().map(|text| (source.as_str(), text.as_str())))
        .collect();
    let (source, text) = expected[random.below(expected.len())];
    let found = index.search(&[Likeness::Dense(&vector(text))], &options);
    let passages: Vec<Passage> = found.iter().map(|f| index.passage(f.passage).unwrap()).collect();
    let all: BTreeSet<(&str, &str)> =
        passages.iter().map(|p| (p.source.as_str(), p.text.as_str())).collect();
    assert_eq!(passages.len(), expected.len());
    assert_eq!(all, BTreeSet::from_iter(expected));
    assert!(found[0].score > 0.999_99 && passages[0].text == text, "{source}: {found:?}");

    let word = text.split(' ').next().unwrap();
    let found = index.search(&[Likeness::Lexical(word)], &options);
    let named = found.iter().map(|f| index.passage(f.passage).unwrap());
    assert!(named.into_iter().any(|p| p.source == source), "{word} of {source}");
}

/// One operation on a document that a draw names: put with new texts, or removed.
fn operate(random: &mut Random, step: usize) -> (String, Option<Vec<String>>) {
    let source = format!("d{}", random.below(SOURCES));
    if random.below(3) == 0 {
        return (source, None);
    }
    let parts = 1 + random.below(3);
    let text = |part| format!("word{step}x{part} and{} more", random.below(100));
    (source, Some((0..parts).map(text).collect()))
}

fn no_progress(_: trine_node::Step) -> Result<(), NodeError> {
    Ok(())
}

#[test]
fn ten_thousand_random_changes_agree_with_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let mut model = Model::from([("first".to_owned(), vec!["something to begin with".to_owned()])]);
    create(&path, &model);
    let (mut random, mut step, mut commits, mut folds) = (Random(1), 0, 0, 0);
    while step < 10_000 {
        let mut edit = Edit::open(&path, &|| ()).unwrap();
        for _ in 0..1 + random.below(24) {
            step += 1;
            match operate(&mut random, step) {
                (source, Some(texts)) => {
                    edit.living.put(document(&source, &texts));
                    model.insert(source, texts);
                }
                (source, None) => {
                    assert_eq!(edit.living.remove(&source), model.remove(&source).is_some());
                }
            }
        }
        let names: BTreeSet<&str> =
            edit.living.entries().map(|entry| entry.source.as_str()).collect();
        assert_eq!(names, model.keys().map(String::as_str).collect());
        let committed = edit.commit(&FOLDING, &no_progress).unwrap();
        commits += 1;
        if committed.wants_folding {
            assert!(fold(&path, &FOLDING, &no_progress).unwrap().unwrap().folded);
            assert!(Reader::open(&path).unwrap().section(REMOVED).is_err());
        }
        let folded = committed.folded || committed.wants_folding;
        folds += usize::from(folded);
        if folded || commits % 10 == 0 {
            holds(&path, &model, &mut random);
        }
    }
    assert!(commits > 500 && folds > 100, "{commits} {folds}");
}

#[test]
fn what_changes_while_a_bundle_is_folded_is_its_delta() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let text = |text: &str| vec![text.to_owned()];
    let mut model: Model =
        ["a", "b", "c", "d"].map(|name| (name.to_owned(), text(&format!("old {name}")))).into();
    create(&path, &model);
    let change = |model: &mut Model, put: &[&str], removed: &[&str], tag: &str| {
        let mut edit = Edit::open(&path, &|| ()).unwrap();
        for name in put {
            edit.living.put(document(name, &text(&format!("{tag} {name}"))));
            model.insert((*name).to_owned(), text(&format!("{tag} {name}")));
        }
        for name in removed {
            assert!(edit.living.remove(name));
            model.remove(*name);
        }
        edit.commit(&Folding::default(), &no_progress).unwrap();
    };
    change(&mut model, &["b", "e", "f"], &["a"], "new");
    // Between reading what is folded and writing it: the first report of progress.
    let meanwhile = std::cell::Cell::new(true);
    let model = std::cell::RefCell::new(model);
    let folded = fold(&path, &Folding::default(), &|_| {
        if meanwhile.take() {
            change(&mut model.borrow_mut(), &["c", "e", "g"], &["d", "f"], "newer");
        }
        Ok(())
    });
    assert!(folded.unwrap().unwrap().folded);
    let reader = Reader::open(&path).unwrap();
    assert!(reader.section(REMOVED).is_ok() && reader.dead_bytes() == 0);
    holds(&path, &model.borrow(), &mut Random(3));
    assert!(fold(&path, &Folding::default(), &no_progress).unwrap().unwrap().folded);
    holds(&path, &model.borrow(), &mut Random(4));
    assert!(fold(&path, &Folding::default(), &no_progress).unwrap().is_none());
}

#[test]
fn a_bundle_reads_words_as_it_did_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let text = |text: &str| vec![text.to_owned()];
    let german = LexicalOptions::of(Some(Language::German));
    create_with(&path, &Model::from([("a".to_owned(), text("Die Häuser am See"))]), german);
    let found = |word: &str| {
        let index = searched(&path);
        let options = SearchOptions {
            k: 10,
            exact: true,
            bm25: Bm25::default(),
            admitted: index.admitted(None).unwrap(),
            per_document: None,
            diversity: None,
        };
        let found = index.search(&[Likeness::Lexical(word)], &options);
        let sources = found.iter().map(|found| index.passage(found.passage).unwrap().source);
        sources.collect::<BTreeSet<_>>().into_iter().collect::<String>()
    };
    assert_eq!(found("Haus"), "a");
    let mut edit = Edit::open(&path, &|| ()).unwrap();
    edit.living.put(document("b", &text("Ein altes Haus")));
    assert_eq!(edit.about.lexical, german);
    edit.commit(&Folding::default(), &no_progress).unwrap();
    assert_eq!(found("Häusern"), "ab");
    assert!(fold(&path, &Folding::default(), &no_progress).unwrap().unwrap().folded);
    assert_eq!((found("Häusern").as_str(), found("alt").as_str()), ("ab", "b"));
}

/// Set for the process that is to be killed: the bundle that it changes.
const VICTIM: &str = "TRINE_TEST_VICTIM";

/// The documents after so many steps. The document `step` says how many there were.
fn after(model: &mut Model, step: usize) {
    let (source, texts) = operate(&mut Random(step as u64), step);
    match texts {
        Some(texts) => drop(model.insert(source, texts)),
        None => drop(model.remove(&source)),
    }
    model.insert("step".to_owned(), vec![format!("step{step} of many")]);
}

/// The step that a bundle is at.
fn step_of(path: &Path) -> usize {
    let index = searched(path);
    // More numbers than there are; some of them are of removed passages.
    let mut all = (0..10_000).filter_map(|number| index.passage(number));
    let step = all.find(|passage| passage.source == "step").unwrap();
    step.text.split(' ').next().unwrap().strip_prefix("step").unwrap().parse().unwrap()
}

/// Not a test of its own: what is killed in [`five_hundred_kills_lose_nothing`].
#[test]
fn a_victim() {
    let Some(path) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    for step in step_of(&path) + 1.. {
        let mut edit = Edit::open(&path, &|| ()).unwrap();
        let (source, texts) = operate(&mut Random(step as u64), step);
        match texts {
            Some(texts) => edit.living.put(document(&source, &texts)),
            None => drop(edit.living.remove(&source)),
        }
        edit.living.put(document("step", &[format!("step{step} of many")]));
        let committed = edit.commit(&FOLDING, &no_progress).unwrap();
        println!("done {step}");
        if committed.wants_folding {
            fold(&path, &FOLDING, &no_progress).unwrap();
        }
    }
}

#[test]
fn five_hundred_kills_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trine");
    let (mut model, mut at, mut random) = (Model::new(), 0, Random(9));
    after(&mut model, at);
    create(&path, &model);
    let mut changed = 0;
    for _ in 0..500 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "living::a_victim", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut done = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<usize>().ok());
        let acknowledged = done.by_ref().take(1 + random.below(8)).last();
        // Anywhere in the next step or two.
        std::thread::sleep(std::time::Duration::from_micros(random.below(20_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = done.last().or(acknowledged).unwrap_or(at);

        let now = step_of(&path);
        assert!(now == acknowledged || now == acknowledged + 1, "{now}, not {acknowledged}");
        changed += now - at;
        while at < now {
            at += 1;
            after(&mut model, at);
        }
        holds(&path, &model, &mut random);
    }
    assert!(changed > 500, "{changed}");
}
