//! The guide in docs/ is held to the code: links lead somewhere, commands and flags exist, and
//! the defaults it states are the ones the code has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SUBCOMMANDS: [&str; 15] = [
    "index", "add", "remove", "update", "watch", "compact", "ask", "search", "generate", "serve",
    "inspect", "models", "devices", "eval", "bench",
];

/// What pages state: a page and its words, a source file and its text.
#[rustfmt::skip]
const STATED: [[&str; 4]; 17] = [
    ["asking.md", "The default of `--top-k` is 50, and", "spin.toml", "top_k = { default = \"50\""],
    ["asking.md", "The default of `--top-n` is 5, and", "spin.toml", "top_n = { default = \"5\""],
    ["asking.md", "at least 85 % of", "components/generator/src/extract.rs", "CLOSE: f32 = 0.85;"],
    ["asking.md", "at most 2048 passages", "components/index/src/graph.rs", "SCAN_UP_TO: usize = 2048;"],
    ["abstention.md", "which is 0.5 in this version", "host/node/src/build.rs", "READER_THRESHOLD: f32 = 0.5;"],
    ["abstention.md", "and 0.375 without a reader", "host/node/src/build.rs", "THRESHOLD: f32 = 0.375;"],
    ["abstention.md", "plus half of the second", "components/generator/src/extract.rs", "OVERLAP_WEIGHT: f32 = 0.5;"],
    ["abstention.md", "Not found in these documents.", "components/gateway/src/answering.rs", "\"Not found in these documents.\""],
    ["limits.md", "at most 192 sentences", "components/generator/src/extract.rs", "MOST_SENTENCES: usize = 192;"],
    ["limits.md", "at most 4096 connections", "host/runtime/src/server.rs", "CONNECTIONS: usize = 4096;"],
    ["limits.md", "hold 10,000 resources", "host/runtime/src/state.rs", "RESOURCES: usize = 10_000;"],
    ["limits.md", "may have 65,536 tokens", "host/inference/src/engine.rs", "call_tokens: 65_536"],
    ["wasi-nn.md", "up to 2,048 tokens", "host/inference/src/engine.rs", "batch_tokens: 2048"],
    ["serving.md", "have 30 seconds to end", "host/runtime/src/server.rs", "GRACE: Duration = Duration::from_secs(30);"],
    ["bundles.md", "The format version is 5", "host/bundle/src/lib.rs", "VERSION: u32 = 5;"],
    ["bundles.md", "more than 1000 passages in the delta", "host/node/src/edit.rs", "delta: 1000, removed: 4, dead_bytes: 64 << 20"],
    ["serving.md", "every second", "host/cli/src/serve.rs", "LOOK: Duration = Duration::from_secs(1);"],
];

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for (page, text) in pages() {
        let folder = page.parent().unwrap();
        for target in link_targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { folder.join(path) };
            assert!(file.exists(), "{}: nothing is at {target}", page.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&file).unwrap());
                assert!(anchors.contains(anchor), "{}: no heading for {target}", page.display());
            }
        }
    }
    assert!(links > 50, "only {links} links were found");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents: BTreeSet<String> = link_targets(&read("docs/README.md")).into_iter().collect();
    for page in doc_paths() {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || contents.contains(name), "docs/README.md lacks {name}");
    }
}

#[test]
fn every_command_and_flag_exists() {
    let folder = fs::read_dir(root().join("host/cli/src/args")).unwrap();
    let files = folder.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let flags = flags(&files.chain([read("host/cli/src/args.rs")]).collect::<String>());
    for known in ["top-k", "model", "chunking", "rounds"] {
        assert!(flags.contains(known), "--{known} was not found among {flags:?}");
    }
    let mut commands = 0;
    for (page, text) in pages() {
        for words in code_lines(&text).iter().flat_map(|line| commands_of(line)) {
            commands += 1;
            let page = page.display();
            let first = words.first().map_or("", String::as_str);
            let known = SUBCOMMANDS.contains(&first) || first.starts_with("--");
            assert!(known, "{page}: `trine {first}` is no command");
            for flag in words.iter().filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                assert!(flags.contains(flag), "{page}: trine has no --{flag}");
            }
        }
    }
    assert!(commands > 40, "only {commands} commands were found");
}

#[test]
fn what_pages_state_is_what_the_code_has() {
    for [page, words, source, code] in STATED {
        let page = format!("docs/{page}");
        assert!(read(&page).contains(words), "{page} no longer says: {words}");
        // However the code is laid out.
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        let found = squeezed(&read(source)).contains(&squeezed(code));
        assert!(found, "{page} says: {words}; {source} lacks: {code}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn doc_paths() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(paths.len() >= 16, "docs/ has {} pages", paths.len());
    paths
}

/// The pages of docs/, and the README where there is one, with their text.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut paths = doc_paths();
    paths.extend(Some(root().join("README.md")).filter(|path| path.exists()));
    let with_text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(with_text).collect()
}

/// The text's lines without the fences of code blocks, each with whether it lies in one.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut in_code = false;
    text.lines().filter_map(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!fence).then_some((line, in_code))
    })
}

/// The targets of `[text](target)` outside code blocks.
fn link_targets(text: &str) -> Vec<String> {
    let prose = lines(text).filter(|(_, in_code)| !in_code);
    let targets = prose.flat_map(|(line, _)| line.split("](").skip(1));
    targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text).filter(|(line, in_code)| !in_code && line.starts_with('#'));
    headings.map(|(line, _)| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let heading = heading.to_lowercase();
    heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The lines of code blocks; those that a backslash continues are one.
fn code_lines(text: &str) -> Vec<String> {
    let (mut done, mut open) = (Vec::new(), String::new());
    for (line, _) in lines(text).filter(|(_, in_code)| *in_code) {
        open.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            done.push(std::mem::take(&mut open));
        }
    }
    done
}

/// What follows `trine` in each command of a shell line, or of a systemd unit's `ExecStart`.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for command in line.split(['|', ';', '&']) {
        let command = command.trim().trim_start_matches("$ ").trim_start_matches("ExecStart=");
        let comes_before = |word: &&str| {
            let keyword = ["if", "do", "then", "sudo", "time", "!"].contains(word);
            keyword || word.contains('=') && !word.starts_with('-')
        };
        let mut words = command.split_whitespace().skip_while(comes_before);
        if words.next().is_some_and(|program| program.rsplit('/').next() == Some("trine")) {
            commands.push(words.map(str::to_owned).collect());
        }
    }
    commands
}

/// The long flags of clap's derive attributes: `long = "name"`, or the field's own name.
fn flags(args: &str) -> BTreeSet<String> {
    let mut flags: BTreeSet<String> = ["help", "version"].map(str::to_owned).into();
    for rest in args.split("#[arg(").skip(1) {
        let Some((attribute, after)) = rest.split_once(")]\n") else { continue };
        let mut parts = attribute.split(',').map(str::trim);
        let Some(long) = parts.find(|part| part.starts_with("long")) else { continue };
        let field = after.trim_start().trim_start_matches("pub ").split(':').next();
        let name = match long.split('"').nth(1) {
            Some(name) => Some(name.to_owned()),
            None => field.map(|field| field.replace('_', "-")),
        };
        flags.extend(name);
    }
    flags
}

#[test]
fn the_checks_see_what_they_should() {
    assert_eq!(anchor("\"`a_b` is ...; c: d\""), "a_b-is--c-d");
    let found = commands_of("X=1 trine ask a \"b\" --json | jq .x; ls ~/.cache/trine");
    assert_eq!(found, [["ask", "a", "\"b\"", "--json"]]);
    let args = "#[arg(short, long, default_value = \"x\")]\n    pub top_k: u8,\n\
                #[arg(long = \"model\", global = true)]\n    pub models: u8,\n\
                #[arg(value_name = \"A\")]\n    pub path: u8,\n";
    let expected = ["help", "model", "top-k", "version"].map(str::to_owned);
    assert_eq!(flags(args), expected.into());
}
