//! A graph, built, written, read and searched.

use trine_index::{Bitmap, BuildOptions, Graph, Hit, IndexError, Precision, Vector};

/// Numbers that look random, from -1 to 1.
fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1u32 << 24) as f32) * 2.0 - 1.0
    }
}

/// Vectors around a hundred centres, as embeddings of a real corpus lie.
fn clustered(count: usize, dimensions: usize, seed: u64) -> Vec<Vector> {
    let mut next = random(seed);
    let centres: Vec<Vec<f32>> =
        (0..100).map(|_| (0..dimensions).map(|_| next()).collect()).collect();
    let around = |i: usize| centres[i % 100].iter().map(|c| c + 0.7 * next()).collect();
    (0..count).map(around).map(Vector::normalized).collect()
}

fn build(vectors: Vec<Vector>) -> Graph {
    Graph::build::<IndexError>(vectors, BuildOptions::default(), &mut |_| Ok(())).unwrap()
}

fn passages(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.passage).collect()
}

/// The share of a scan's hits that walks find.
fn recall(graph: &Graph, queries: &[Vector], k: usize, ef: usize) -> f64 {
    let found: usize = queries
        .iter()
        .map(|query| {
            let exact = passages(&graph.scan(query, k, None));
            graph.walk(query, k, ef, None).iter().filter(|hit| exact.contains(&hit.passage)).count()
        })
        .sum();
    found as f64 / (queries.len() * k) as f64
}

/// 2,000 are all connected by instant-distance; of 6,000, most are grown onto its graph.
#[test]
fn a_walk_finds_what_a_scan_finds() {
    for count in [2000, 6000] {
        let mut vectors = clustered(count + 100, 48, 7);
        let queries = vectors.split_off(count);
        let graph = build(vectors);
        let graph = Graph::from_bytes(&graph.to_bytes()).unwrap();
        assert_eq!((graph.len(), graph.dimensions()), (count, 48));
        let (ten, many) = (recall(&graph, &queries, 10, 100), recall(&graph, &queries, 200, 400));
        assert!(ten >= 0.98 && many >= 0.97, "recall@10 {ten}, recall@200 {many}");
        let all = recall(&graph, &queries, 10, count);
        assert!(all >= 0.999, "recall@10 with all as candidates {all}");
    }
}

#[test]
fn hits_are_best_first_and_score_by_cosine() {
    for dimensions in [16, 64, 100, 384] {
        let vectors = clustered(500, dimensions, 3);
        let graph = build(vectors.clone());
        for hits in [graph.search(&vectors[42], 5, None), graph.walk(&vectors[42], 5, 50, None)] {
            assert_eq!((hits.len(), hits[0].passage), (5, 42));
            assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for hit in hits {
                let expected = vectors[42].cosine(&vectors[hit.passage as usize]);
                assert!((hit.score - expected).abs() < 1e-6, "{} {expected}", hit.score);
            }
        }
    }
}

#[test]
fn equal_scores_rank_by_number() {
    let mut vectors = clustered(40, 32, 5);
    vectors[30] = vectors[11].clone();
    vectors[7] = vectors[11].clone();
    let graph = build(vectors.clone());
    for hits in [graph.search(&vectors[11], 4, None), graph.walk(&vectors[11], 4, 40, None)] {
        assert_eq!(passages(&hits)[..3], [7, 11, 30]);
    }
}

#[test]
fn a_vector_far_larger_in_one_component_is_found_too() {
    let mut vectors = clustered(300, 64, 9);
    let mut spike = vec![1e-3; 64];
    spike[9] = 1.0;
    vectors[123] = Vector::normalized(spike);
    let graph = build(vectors.clone());
    assert_eq!(graph.walk(&vectors[123], 1, 20, None)[0].passage, 123);
}

#[test]
fn no_vectors_one_vector_and_more_asked_for_than_there_are() {
    let none = build(vec![]);
    let query = Vector::normalized(vec![1.0, 0.0]);
    assert!(none.search(&query, 10, None).is_empty() && none.walk(&query, 10, 10, None).is_empty());
    assert!(Graph::from_bytes(&none.to_bytes()).unwrap().is_empty());
    let one = build(vec![query.clone()]);
    assert_eq!(one.search(&query, 10, None).len(), 1);
    assert_eq!(one.walk(&query, 10, 10, None).len(), 1);
    assert!(one.scan(&query, 0, None).is_empty() && one.walk(&query, 0, 0, None).is_empty());
    let three = build(clustered(3, 8, 1));
    assert_eq!(three.walk(&three_dimensions(), 200, 400, None).len(), 3);
}

/// Of another length than the index has; the missing components count as zeros.
fn three_dimensions() -> Vector {
    Vector::normalized(vec![1.0, 2.0, 3.0])
}

#[test]
fn vectors_without_direction_or_components_are_no_danger() {
    let zeros = build(vec![Vector::normalized(vec![0.0; 8]); 5]);
    let query = Vector::normalized(vec![1.0; 8]);
    assert_eq!(passages(&zeros.walk(&query, 5, 10, None)), [0, 1, 2, 3, 4]);
    assert_eq!(zeros.search(&Vector::normalized(vec![f32::NAN; 8]), 2, None).len(), 2);
    assert_eq!(zeros.walk(&Vector::normalized(vec![f32::NAN; 8]), 2, 5, None).len(), 2);
    let empty = build(vec![Vector::normalized(vec![]); 3]);
    assert_eq!(empty.search(&query, 2, None).len(), 2);
}

#[test]
fn odd_vectors_are_refused() {
    let vectors = vec![Vector::normalized(vec![1.0; 4]), Vector::normalized(vec![1.0; 5])];
    let refused = |vectors| {
        let built = Graph::build::<IndexError>(vectors, BuildOptions::default(), &mut |_| Ok(()));
        built.err().unwrap().to_string()
    };
    assert_eq!(refused(vectors), "vector 1 has 5 dimensions, the first has 4");
    let long = vec![Vector::normalized(vec![1.0; 65_537])];
    assert_eq!(refused(long), "vectors of 65537 dimensions: an index holds at most 65536");
}

#[test]
fn progress_reaches_the_end_and_can_stop_a_build() {
    let vectors = clustered(3000, 16, 2);
    let mut told = vec![];
    let options = BuildOptions { threads: 2, ..BuildOptions::default() };
    let built = Graph::build::<IndexError>(vectors.clone(), options, &mut |done| {
        told.push(done);
        Ok(())
    });
    assert_eq!(built.unwrap().len(), 3000);
    assert!(told.is_sorted() && told.last() == Some(&3000), "{told:?}");
    let stopped = Graph::build(vectors, options, &mut |done| {
        if done < 3000 { Ok(()) } else { Err(IndexError::Bytes("stop")) }
    });
    assert!(matches!(stopped.err(), Some(IndexError::Bytes("stop"))));
}

#[test]
fn bytes_that_end_early_go_on_or_are_of_another_version_are_refused() {
    let bytes = build(clustered(40, 20, 4)).to_bytes();
    for length in 0..bytes.len() {
        assert!(Graph::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert!(Graph::from_bytes(&longer).is_err());
    let mut other = bytes;
    other[0] = 1;
    let error = Graph::from_bytes(&other).err().unwrap().to_string();
    assert!(error.contains("another version"), "{error}");
    assert!(Graph::from_bytes(b"not a graph").is_err());
}

/// Whatever the bytes, reading them and walking what was read ends without a panic, and every hit
/// is a passage.
#[test]
fn changed_bytes_are_refused_or_harmless() {
    let graph = build(clustered(2200, 20, 4));
    let bytes = graph.to_bytes();
    let query = Vector::normalized(vec![1.0; 20]);
    let mut next = random(11);
    let mut draw = |below: usize| ((next() + 1.0) / 2.0 * below as f32) as usize % below;
    // The head, the sizes, passages and links: what a walk is led by.
    let led_by = bytes.len() - 2200 * 3 * 64;
    let (mut refused, mut read) = (0, 0);
    for round in 0..1500 {
        let mut changed = bytes.clone();
        for _ in 0..=draw(3) {
            let at = if round % 3 == 0 { draw(64) } else { draw(led_by) };
            changed[at] = [0, 1, 0x7f, 0x80, 0xff, draw(256) as u8][draw(6)];
        }
        match Graph::from_bytes(&changed) {
            Err(_) => refused += 1,
            Ok(graph) => {
                read += 1;
                let hits = graph.walk(&query, 10, 30, None);
                assert!(hits.iter().all(|hit| (hit.passage as usize) < graph.len()));
                assert_eq!(graph.scan(&query, 10, None).len(), 10.min(graph.len()));
            }
        }
    }
    assert!(refused > 300 && read > 100, "{refused} refused, {read} read");
}

/// Lengths as great as can be written are refused.
#[test]
fn great_lengths_in_few_bytes_are_refused() {
    let bytes = build(clustered(40, 20, 4)).to_bytes();
    // The length of each array, and the numbers of the first.
    for at in (8..72).step_by(8).chain((72..92).step_by(4)) {
        for great in [1u64 << 20, 1 << 31, u64::from(u32::MAX), u64::MAX] {
            let (mut bytes, width) = (bytes.clone(), if at < 72 { 8 } else { 4 });
            bytes[at..at + width].copy_from_slice(&great.to_le_bytes()[..width]);
            assert!(Graph::from_bytes(&bytes).is_err(), "{great} at {at}");
        }
    }
}

/// Fewer bits of vectors change no walk; what it finds is scored as well as they allow.
#[test]
fn every_precision_walks_alike() {
    let vectors = clustered(3000, 24, 5);
    let exact = build(vectors.clone());
    for (precision, error) in [(Precision::F16, 1e-4), (Precision::Int8, 0.01)] {
        let mut silent = |_| Ok::<(), IndexError>(());
        let options = BuildOptions { precision, threads: 1, ..BuildOptions::default() };
        let graph = Graph::build(vectors.clone(), options, &mut silent).unwrap();
        let bytes = graph.to_bytes();
        assert!(bytes.len() < exact.to_bytes().len());
        let graph = Graph::from_bytes(&bytes).unwrap();
        assert_eq!(graph.precision(), precision);
        for query in vectors.iter().step_by(100) {
            let hits = graph.scan(query, 10, None);
            let numbers: Vec<u32> = hits.iter().map(|hit| hit.passage).collect();
            for (hit, cosine) in hits.iter().zip(exact.cosines(query, &numbers)) {
                assert!((hit.score - cosine).abs() < error, "{precision:?}: {hit:?} {cosine}");
            }
            let truth = exact.scan(query, 10, None);
            let known = truth.iter().filter(|hit| numbers.contains(&hit.passage)).count();
            assert!(known >= 8, "{precision:?}: {known} of 10");
        }
    }
}

/// The share of the exact hits that filtered searches find, and whether all they find is admitted.
fn filtered_recall(graph: &Graph, queries: &[Vector], admitted: &Bitmap) -> f64 {
    let (mut found, mut exact) = (0, 0);
    for query in queries {
        let truth = passages(&graph.scan(query, 10, Some(admitted)));
        let hits = passages(&graph.search(query, 10, Some(admitted)));
        assert_eq!(hits.len(), admitted.count().min(10));
        assert!(hits.iter().all(|&passage| admitted.contains(passage)));
        found += hits.iter().filter(|hit| truth.contains(hit)).count();
        exact += truth.len();
    }
    found as f64 / exact.max(1) as f64
}

/// At every selectivity, by chance, and all that is nearest to a point or farthest from it.
#[test]
fn a_filtered_search_finds_what_a_filtered_scan_finds() {
    let mut vectors = clustered(8_100, 48, 11);
    let queries = vectors.split_off(8_000);
    let graph = build(vectors.clone());
    let mut near: Vec<u32> = (0..8_000).collect();
    near.sort_by(|&a, &b| {
        let cosine = |i: u32| vectors[i as usize].cosine(&vectors[0]);
        cosine(b).total_cmp(&cosine(a))
    });
    let far: Vec<u32> = near.iter().rev().copied().collect();
    let mut next = random(4);
    for count in [0, 1, 5, 80, 800, 4_000, 7_000, 8_000] {
        let mut sets = vec![Bitmap::none(8_000); 3];
        near[..count].iter().for_each(|&passage| sets[0].insert(passage));
        far[..count].iter().for_each(|&passage| sets[1].insert(passage));
        let share = count as f32 / 4_000.0 - 1.0;
        (0..8_000).filter(|_| next() < share).for_each(|passage| sets[2].insert(passage));
        for set in &sets {
            let recall = filtered_recall(&graph, &queries, set);
            assert!(recall >= 0.98 || set.count() == 0, "{count}: {recall}");
        }
    }
}

/// A walk that meets too much that is not admitted looks at all that is.
#[test]
fn a_walk_far_from_all_that_is_admitted_finds_it() {
    let vectors = clustered(6_000, 48, 12);
    let graph = build(vectors.clone());
    let mut far: Vec<u32> = (0..6_000).collect();
    let cosine = |&i: &u32| vectors[i as usize].cosine(&vectors[0]);
    far.sort_by(|a, b| cosine(a).total_cmp(&cosine(b)));
    let mut admitted = Bitmap::none(6_000);
    far[..3_000].iter().for_each(|&passage| admitted.insert(passage));
    let exact = passages(&graph.scan(&vectors[0], 10, Some(&admitted)));
    assert_eq!(passages(&graph.walk(&vectors[0], 10, 20, Some(&admitted))), exact);
}

/// A scan compares roughly first, and is exact all the same.
#[test]
fn a_scan_finds_what_cosines_say() {
    for dimensions in [3, 64, 384] {
        let vectors = clustered(3_000, dimensions, 13);
        let graph = build(vectors.clone());
        for query in clustered(20, dimensions, 14) {
            let mut all: Vec<(f32, u32)> =
                vectors.iter().map(|vector| vector.cosine(&query)).zip(0..).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            for k in [1, 10, 200] {
                let hits = graph.scan(&query, k, None);
                let least = hits.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
                assert!((least - all[k - 1].0).abs() < 1e-6, "{least} {}", all[k - 1].0);
                assert_eq!(hits.len(), k);
            }
        }
    }
}
