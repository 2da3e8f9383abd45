//! Filters, from documents' front matter to what a request finds.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Serving, build_options, index, limits, model, scratch};

/// Pages of which every tenth is of `team: pumps`, with a number and a date each.
const PAGES: usize = 60;

/// The sources of what a search finds in a mode, which admits no more than it should.
fn found(server: &Serving, mode: &str, filter: &Value) -> BTreeSet<String> {
    let body = json!({
        "query": "how to turn the valve", "mode": mode, "top_k": PAGES, "filter": filter,
    });
    let reply = server.post("/v1/retrieve", &body).ok();
    let candidates = reply["candidates"].as_array().unwrap();
    candidates.iter().map(|c| c["source"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_front_matter_and_records_say_filters_every_mode() {
    let Some(_) = model() else { return };
    let folder = scratch().join("fields");
    fs::create_dir_all(folder.join("old")).unwrap();
    for page in 0..PAGES {
        let team = if page % 10 == 0 { "pumps" } else { "valves" };
        let text = format!(
            "---\nteam: {team}\nnumber: {page}\ndate: 2024-{:02}-05\n---\n\n# Page {page}\n\n\
             Turn the valve number {page} to the left until it stands still.\n",
            1 + page % 12
        );
        let name = if page < 3 { format!("old/{page}.md") } else { format!("{page}.md") };
        fs::write(folder.join(name), text).unwrap();
    }
    let record =
        json!({ "_id": "r1", "text": "Turn the valve twice.", "metadata": { "team": "records" } });
    fs::write(folder.join("all.jsonl"), record.to_string()).unwrap();
    let bundle = index("fields.trine", &[folder], &build_options());
    let server = Serving::start(&bundle, limits());

    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let pumps = names(&["old/0.md", "10.md", "20.md", "30.md", "40.md", "50.md"]);
    for mode in ["dense", "lexical", "hybrid"] {
        let found = |filter: Value| found(&server, mode, &filter);
        assert_eq!(found(json!({ "field": "team", "eq": "pumps" })), pumps, "{mode}");
        assert_eq!(found(json!({ "field": "team", "eq": "records" })), names(&["r1"]), "{mode}");
        assert_eq!(
            found(json!({ "field": "source", "glob": "old/**" })),
            names(&["old/0.md", "old/1.md", "old/2.md"])
        );
        let spring = json!({ "field": "date", "gte": "2024-03", "lte": "2024-04" });
        let few = json!({ "field": "number", "lt": 16 });
        assert_eq!(
            found(json!({ "and": [spring, few] })),
            names(&["old/2.md", "3.md", "14.md", "15.md"])
        );
    }
    let refused = |filter: &str| {
        let body: Value = serde_json::from_str(filter).unwrap();
        let body = json!({ "query": "valve", "filter": body });
        server.post("/v1/retrieve", &body).error(400, "invalid_request").to_owned()
    };
    let error = refused(r#"{"field":"tema","eq":"pumps"}"#);
    assert!(error.contains("there are date, extension, media_type, modified, number"), "{error}");
    let error = refused(r#"{"field":"number","eq":"many"}"#);
    assert!(error.contains("holds numbers"), "{error}");
    server.join();
}
