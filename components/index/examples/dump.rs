//! scratch
use std::io::Write;
use trine_eval::{Collection, Hit, Run, evaluate};
use trine_index::lexical::*;
fn main() {
    let w: Vec<u8> = std::env::var("W").unwrap_or("2,2,1".into()).split(',').map(|x| x.parse().unwrap()).collect();
    let dump = std::env::var("DUMP").ok();
    for folder in std::env::args().skip(1) {
        let c = Collection::open(&folder).unwrap();
        let docs: Vec<_> = c.documents().unwrap().map(|d| d.unwrap()).collect();
        let qrels = c.qrels().unwrap();
        let t = std::time::Instant::now();
        let opt = LexicalOptions { weights: Weights { title: w[0], headings: w[1], text: w[2] }, ..Default::default() };
        let ix = Inverted::build(docs.iter().map(|d| Fields { title: &d.title, headings: &[], text: &d.text }), opt).unwrap();
        let built = t.elapsed();
        let bytes = ix.to_bytes().unwrap();
        let t = std::time::Instant::now();
        let ix = Inverted::from_bytes(&bytes).unwrap();
        let opened = t.elapsed();
        let mut run = Run::default();
        let mut out = dump.as_ref().map(|d| std::io::BufWriter::new(std::fs::File::create(format!("{d}/{}.bm25.f32", c.name())).unwrap()));
        let all: Vec<u32> = (0..docs.len() as u32).collect();
        let mut js = Vec::new();
        let mut took = std::time::Duration::ZERO;
        let mut n = 0;
        for q in c.queries().unwrap() {
            if qrels.get(&q.id).is_none() { continue }
            n += 1;
            if (c.name().starts_with("squad")) && n > 1500 { break }
            let t = std::time::Instant::now();
            let query = ix.query(&q.text);
            let hits = ix.search(&query, 200, Bm25::default(), |_| true);
            took += t.elapsed();
            run.insert(&q.id, hits.iter().map(|h| (docs[h.passage as usize].id.clone(), h.score))).unwrap();
            if let Some(out) = &mut out {
                for s in ix.scores(&query, &all, Bm25::default()) { out.write_all(&s.to_le_bytes()).unwrap(); }
                js.push(format!("{query:?}"));
            }
        }
        if let Some(d) = &dump { std::fs::write(format!("{d}/{}.stats", c.name()), js.join("\n")).unwrap(); }
        let e = evaluate(&qrels, &run).unwrap();
        println!("{} ndcg {:?} build {built:?} bytes {} of {} open {opened:?} per query {:?}", c.name(), e.mean, bytes.len(), docs.iter().map(|d| d.text.len() + d.title.len()).sum::<usize>(), took / n);
    }
}
