//! What is made of a search: surroundings, other documents, other passages, questions in parts, slips of
//! the pen.

use std::collections::{BTreeMap, BTreeSet};

use trine_index::{Index, Likeness, SearchOptions, Surroundings, corrected};

use crate::random::Random;
use crate::{corpus, modes, numbers, options, passage, segment};

#[test]
fn surroundings_stay_in_their_document_and_section() {
    let all = corpus(40, 10);
    let mut index = Index::new(segment(&all[..32]));
    index.lay_over(segment(&all[32..]), vec![16, 17, 18, 19, 20, 21, 22, 23]).unwrap();
    let around = |number, surroundings| -> Vec<u32> {
        let around = index.around(number, surroundings);
        assert!(around.iter().all(|(n, passage)| index.passage(*n).as_ref() == Some(passage)));
        around.into_iter().map(|(number, _)| number).collect()
    };
    for (number, most, expected) in [
        (12, 0, 12..=12),
        (12, 1, 11..=13),
        (8, 2, 8..=10),
        (15, 3, 12..=15),
        (12, u32::MAX, 8..=15),
        (32, 4, 32..=36),
        (39, 9, 32..=39),
    ] {
        let found = around(number, Surroundings::Neighbours(most));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{most} around {number}");
    }
    // Sections of a document: 0, 1, 2; 3, 4, 5; 6, 7.
    for (number, most, expected) in [
        (12, 200, 11..=13),
        (11, 2, 11..=12),
        (12, 2, 11..=12),
        (13, 2, 12..=13),
        (13, 1, 13..=13),
        (13, 0, 13..=13),
        (14, u32::MAX, 14..=15),
    ] {
        let found = around(number, Surroundings::Section(most));
        assert_eq!(found, expected.collect::<Vec<_>>(), "section of {most} around {number}");
    }
    for nothing in [17, 40, u32::MAX] {
        assert!(around(nothing, Surroundings::Section(3)).is_empty());
    }
}

#[test]
fn a_long_document_does_not_hide_the_others() {
    let mut random = Random(11);
    let vector = random.vector();
    // A document of 900 passages that are all nearer than those of the other 20 documents.
    let near = |n: usize| (passage("long.md", n, "coffee coffee".into()), vector.clone());
    let mut all: Vec<_> = (0..900).map(near).collect();
    for n in 0..40 {
        let text = format!("coffee {}", random.text(30));
        all.push((passage(&format!("{}.md", n / 2), n % 2, text), random.vector()));
    }
    let index = Index::new(segment(&all));
    for likeness in modes("coffee", &vector) {
        for (most, k) in [(1, 15), (2, 30), (3, 43)] {
            let mut options = options(k, index.admitted(None).unwrap());
            options.per_document = Some(most);
            let found = index.search(&[likeness], &options);
            assert_eq!(found.len(), k);
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for found in &found {
                *counts.entry(index.passage(found.passage).unwrap().source).or_default() += 1;
            }
            assert!(counts.values().all(|&count| count <= most), "{counts:?}");
            assert_eq!(counts["long.md"], most);
        }
    }
}

#[test]
fn diversity_is_maximal_marginal_relevance() {
    let all = corpus(120, 12);
    let index = Index::new(segment(&all));
    let vector = Random(13).vector();
    let search = |diversity, k| {
        let options = SearchOptions { diversity, ..options(k, index.admitted(None).unwrap()) };
        index.search(&[Likeness::Dense(&vector)], &options)
    };
    let plain = search(None, 120);
    assert_eq!(search(Some(1.0), 20), plain[..20]);
    let (least, greatest) = (plain[119].score, plain[0].score);
    for lambda in [0.0, 0.3, 0.7] {
        let mut rest = numbers(&plain);
        let mut expected = vec![rest.remove(0)];
        while expected.len() < 20 {
            let worth = |&number: &u32| {
                let of = |number: u32| &all[number as usize].1;
                let relevance = (of(number).cosine(&vector) - least) / (greatest - least);
                let like = expected.iter().map(|&other| of(number).cosine(of(other)));
                lambda * relevance - (1.0 - lambda) * like.fold(f32::MIN, f32::max)
            };
            let best = (0..rest.len()).max_by(|&a, &b| worth(&rest[a]).total_cmp(&worth(&rest[b])));
            expected.push(rest.remove(best.unwrap()));
        }
        let chosen = numbers(&search(Some(lambda), 20));
        assert_eq!(chosen, expected, "{lambda}");
        assert_ne!(chosen, numbers(&plain[..20]));
    }
}

#[test]
fn each_part_of_a_question_has_its_best_passages_first() {
    let all = corpus(300, 14);
    let index = Index::new(segment(&all));
    let mut random = Random(15);
    let vectors = [random.vector(), random.vector(), random.vector()];
    let parts = vectors.each_ref().map(Likeness::Dense);
    let together = index.search(&parts, &options(30, index.admitted(None).unwrap()));
    assert!(together.is_sorted_by(|a, b| a.score >= b.score));
    let mut expected = BTreeSet::new();
    for part in parts {
        expected
            .extend(numbers(&index.search(&[part], &options(10, index.admitted(None).unwrap()))));
    }
    let found: BTreeSet<u32> = numbers(&together).into_iter().collect();
    assert_eq!(found.len(), 30);
    assert!(expected.is_subset(&found));
    assert!(index.search(&[], &options(5, index.admitted(None).unwrap())).is_empty());
}

#[test]
fn a_word_that_no_passage_has_is_read_as_the_nearest() {
    let one = |text: &str| (passage("a.md", 0, text.to_owned()), Random(1).vector());
    let mut index = Index::new(segment(&[one("The membership costs thirty euros a year")]));
    index
        .lay_over(segment(&[one("Retrievers embed; configuration of the lathe")]), vec![])
        .unwrap();
    let read = |query: &str| corrected(query, &index.misspelt(query));
    assert_eq!(read("Memebrship, configuraton?"), "membership, configuration?");
    assert_eq!(read("What does the leathe cost"), "What does the lathe cost");
    // Known in another form, too short, too far, quoted, part of a code, or a stop word.
    for fine in ["costing a year", "yaer3", "eur", "\"memebrship\"", "--lahte", "there", "zzzzzz"] {
        assert_eq!(read(fine), fine);
    }
    // Each of them costs a walk through all words.
    assert_eq!(index.misspelt(&"lathee ".repeat(40)).len(), 8);
}
