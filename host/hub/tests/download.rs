//! Fetching from a hub over real connections: cut, resumed, retried, refused.

mod fixture;

use std::fs;

use fixture::*;
use tempfile::tempdir;
use trine_hub::{Error, FetchError, Source, Unavailable};

/// The hub of a server that answers for the weights by `answer`, and gives everything else.
fn with_weights(answer: impl Fn(&[u8], &Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match file_of(request) {
        Some(WEIGHTS) if request.method == "GET" => answer(&weights(), request),
        Some(path) => Reply::bytes(&content(path), request),
        None => Reply::status(404),
    })
}

fn unavailable(result: Result<impl Sized, Error>) -> Box<Unavailable> {
    match result {
        Err(Error::Unavailable(unavailable)) => unavailable,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was pulled"),
    }
}

/// What the hub's failure was.
fn hub_failure(result: Result<impl Sized, Error>) -> FetchError {
    let mut tried = unavailable(result).tried.into_iter();
    tried.find(|(source, _)| matches!(source, Source::Hub(_))).unwrap().1
}

#[test]
fn a_pull_brings_every_file_and_a_second_one_asks_nobody() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let folder = pull(&server, cache.path()).unwrap();
    assert_eq!(folder, cache.path().join("models").join("toy"));
    assert_whole(&folder);
    let asked = server.gets().len();
    assert_eq!(pull(&server, cache.path()).unwrap(), folder);
    assert_eq!(server.gets().len(), asked);
    assert_eq!(trine_hub::cached(&manifest(), cache.path()), Some(folder));
}

#[test]
fn a_cut_connection_is_resumed_where_it_was_cut() {
    let server = with_weights(|bytes, request| match request.before {
        0 => Reply::bytes(bytes, request).cut(700_000),
        _ => Reply::bytes(bytes, request),
    });
    let cache = tempdir().unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
    let from: Vec<_> = server.gets_of(&hub(WEIGHTS)).iter().map(|get| get.from).collect();
    assert_eq!(from, [None, Some(700_000)]);
}

#[test]
fn a_later_pull_goes_on_from_an_earlier_ones_part() {
    let server = with_weights(|bytes, request| match request.before {
        0 => Reply::bytes(bytes, request).cut(400_000),
        1..4 => Reply::status(503),
        _ => Reply::bytes(bytes, request),
    });
    let cache = tempdir().unwrap();
    let failure = hub_failure(pull(&server, cache.path()));
    assert!(matches!(failure, FetchError::Status { status: 503, .. }), "{failure}");
    assert_whole(&pull(&server, cache.path()).unwrap());
    assert_eq!(server.gets_of(&hub(WEIGHTS))[4].from, Some(400_000));
}

#[test]
fn a_part_that_is_not_the_files_beginning_is_fetched_anew() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let folder = cache.path().join("models").join("toy");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("weights.bin.part"), vec![7; 1000]).unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
    let from: Vec<_> = server.gets_of(&hub(WEIGHTS)).iter().map(|get| get.from).collect();
    assert_eq!(from, [Some(1000), None]);
}

#[test]
fn a_part_longer_than_the_file_is_fetched_anew() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let folder = cache.path().join("models").join("toy");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("weights.bin.part"), vec![7; weights().len() + 1]).unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
    assert_eq!(server.gets_of(&hub(WEIGHTS))[0].from, None);
}

#[test]
fn a_server_without_ranges_serves_too() {
    let server = with_weights(|bytes, request| {
        let whole = Request { from: None, ..request.clone() };
        match request.before {
            0 => Reply::bytes(bytes, &whole).cut(700_000),
            _ => Reply::bytes(bytes, &whole),
        }
    });
    let cache = tempdir().unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
}

#[test]
fn a_server_that_refuses_the_range_or_sends_another_is_asked_for_the_whole() {
    for refusal in [416, 206] {
        let server = with_weights(move |bytes, request| match request.from {
            None if request.before == 0 => Reply::bytes(bytes, request).cut(700_000),
            None => Reply::bytes(bytes, request),
            Some(_) => Reply::status(refusal).header("Content-Range", "bytes 5-9/10"),
        });
        let cache = tempdir().unwrap();
        assert_whole(&pull(&server, cache.path()).unwrap());
    }
}

#[test]
fn a_redirect_keeps_the_range() {
    let server = Server::start(|request| {
        let elsewhere = format!("/cdn/{WEIGHTS}");
        match file_of(request) {
            Some(WEIGHTS) => Reply::status(302).header("Location", &elsewhere),
            Some(path) => Reply::bytes(&content(path), request),
            None if request.path != elsewhere => Reply::status(404),
            None if request.before == 0 => Reply::bytes(&weights(), request).cut(700_000),
            None => Reply::bytes(&weights(), request),
        }
    });
    let cache = tempdir().unwrap();
    assert_whole(&pull(&server, cache.path()).unwrap());
    let from: Vec<_> = server.gets_of("/cdn/weights.bin").iter().map(|get| get.from).collect();
    assert_eq!(from, [None, Some(700_000)]);
}

#[test]
fn a_server_that_fails_for_a_while_is_asked_again() {
    for status in [500, 503, 429] {
        let server = with_weights(move |bytes, request| match request.before {
            0 | 1 => Reply::status(status).header("Retry-After", "0"),
            _ => Reply::bytes(bytes, request),
        });
        let cache = tempdir().unwrap();
        assert_whole(&pull(&server, cache.path()).unwrap());
        assert_eq!(server.gets_of(&hub(WEIGHTS)).len(), 3, "{status}");
    }
}

#[test]
fn a_server_that_goes_on_failing_is_given_up() {
    let server = with_weights(|_, _| Reply::status(500));
    let cache = tempdir().unwrap();
    let failure = hub_failure(pull(&server, cache.path()));
    assert!(matches!(failure, FetchError::Status { status: 500, .. }), "{failure}");
    assert_eq!(server.gets_of(&hub(WEIGHTS)).len(), 4);
}

#[test]
fn a_connection_that_is_always_cut_is_given_up() {
    let server = with_weights(|bytes, request| Reply::bytes(bytes, request).cut(10));
    let cache = tempdir().unwrap();
    let failure = hub_failure(pull(&server, cache.path()));
    let cut = matches!(failure, FetchError::Cut { received: 40, expected: 1_500_000, .. });
    assert!(cut, "{failure}");
}

#[test]
fn another_content_is_refused_and_not_kept() {
    let server = with_weights(|bytes, request| {
        let mut other = bytes.to_vec();
        other[1_000_000] ^= 1;
        Reply::bytes(&other, request)
    });
    let cache = tempdir().unwrap();
    let failure = hub_failure(pull(&server, cache.path()));
    assert!(matches!(failure, FetchError::Content { .. }), "{failure}");
    assert!(failure.to_string().contains("another file; refused"), "{failure}");
    assert_eq!(server.gets_of(&hub(WEIGHTS)).len(), 1);
    let left = names(&cache.path().join("models").join("toy"));
    assert!(!left.iter().any(|name| name.starts_with(WEIGHTS)), "{left:?}");
    assert_eq!(trine_hub::cached(&manifest(), cache.path()), None);
}

#[test]
fn another_size_is_refused_before_a_byte_is_written() {
    for size in [1_499_999, 1_500_001] {
        let server = with_weights(move |bytes, request| {
            let mut other = bytes.to_vec();
            other.resize(size, 0);
            Reply::bytes(&other, request)
        });
        let cache = tempdir().unwrap();
        let failure = hub_failure(pull(&server, cache.path()));
        let FetchError::Size { found, expected, .. } = failure else {
            panic!("{failure}");
        };
        assert_eq!((found, expected), (size as u64, 1_500_000));
        let part = cache.path().join("models/toy/weights.bin.part");
        assert_eq!(fs::metadata(part).unwrap().len(), 0);
    }
}

#[test]
fn a_stream_without_an_end_cannot_fill_the_disk() {
    let server =
        with_weights(|bytes, request| Reply::bytes(&bytes.repeat(4), request).unsized_body());
    let cache = tempdir().unwrap();
    let failure = hub_failure(pull(&server, cache.path()));
    assert!(matches!(failure, FetchError::Size { .. }), "{failure}");
    let part = cache.path().join("models/toy/weights.bin.part");
    assert!(fs::metadata(part).unwrap().len() <= 1_500_000);
}

#[test]
fn a_cache_that_cannot_be_written_is_the_disks_error() {
    let (server, cache) = (Server::hub(), tempdir().unwrap());
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    let error = pull(&server, &file).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
