//! Many clients for a while: no error but what the bound allows, and memory that does not grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::json;

use crate::client::{encoded, get, post};
use crate::command::{Served, run, trine_with_model};
use crate::fixture::bundle;

const CLIENTS: usize = 100;

/// Requests after which every slot of the instance pool has been used: what a slot keeps is then
/// there. Counted in requests, so that a slow machine is as warm as a fast one.
const WARM: u64 = 3000;

/// 10, or what `TRINE_LOAD_SECONDS` says.
fn seconds() -> u64 {
    env::var("TRINE_LOAD_SECONDS").map_or(10, |text| text.parse().expect("a number of seconds"))
}

/// Memory of a process, in KiB: its proportional set size. The resident set size would count a
/// page of a snapshot once for each of the instances that share it.
fn memory_of(pid: u32) -> u64 {
    let sizes = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = sizes.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Pages that were mapped for a process without reading a disk, since it started.
#[cfg(target_os = "linux")]
fn page_faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().nth(7).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn what_requests_read_stays_mapped_for_those_that_follow() {
    let Some(bundle) = bundle() else { return };
    let server = Served::start(bundle, &[]);
    let ask = |from: usize| (from..from + 50).for_each(|turn| one_request(&server, turn));
    // As many as there may be slots in turn.
    ask(0);
    let before = page_faults(server.child.id());
    ask(50);
    let faults = (page_faults(server.child.id()) - before) / 50;
    // Some 20, where an instance whose slot is unmapped has 500.
    assert!(faults < 150, "{faults} a request");
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_clients_for_a_while() {
    let Some(bundle) = bundle() else { return };
    let server = Served::start(bundle, &[]);
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let duration = Duration::from_secs(seconds());
    let (memory, measured) = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, answered, stop) = (&server, &answered, &stop);
            scope.spawn(move || {
                for turn in client.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // A client that fails must not leave the others waiting for it.
                    let failing = StopOnPanic(stop);
                    one_request(server, turn);
                    drop(failing);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while answered.load(Ordering::Relaxed) < WARM && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        let (started, before) = (Instant::now(), answered.load(Ordering::Relaxed));
        let mut memory = Vec::new();
        while started.elapsed() < duration {
            memory.push((started.elapsed(), memory_of(server.child.id())));
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        (memory, answered.load(Ordering::Relaxed) - before)
    });
    let peak = |from: f64, to: f64| {
        let within = |t: &Duration| (duration.mul_f64(from)..duration.mul_f64(to)).contains(t);
        memory.iter().filter(|(t, _)| within(t)).map(|(_, kib)| *kib).max().unwrap_or(0)
    };
    let (first, rest) = (peak(0.0, 1.0 / 3.0), peak(1.0 / 3.0, 2.0));
    println!(
        "{measured} requests in {:.1} s; {} MiB in the first third, {} MiB after",
        duration.as_secs_f64(),
        first >> 10,
        rest >> 10
    );
    assert!(first > 0 && measured > 0, "nothing was measured");
    assert!(rest as f64 <= first as f64 * 1.1, "memory grew from {first} to {rest} KiB");
}

/// Tells everybody to stop when its thread panics.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Retrieval and whole answers in turn, each a question of its own.
fn one_request(server: &Served, turn: usize) {
    let question = format!("What does number {turn} of the tools cost a day?");
    if turn.is_multiple_of(2) {
        let body = json!({ "query": question }).to_string();
        let reply = post(server.address, "/v1/retrieve", body.as_bytes()).ok();
        assert!(!reply["candidates"].as_array().unwrap().is_empty());
    } else {
        let path = format!("/answer?q={}&top_k=5", encoded(&question));
        let reply = get(server.address, &path).ok();
        assert_eq!(reply["query"], question);
        assert_eq!(reply["supporting_docs"].as_array().unwrap().len(), 5);
    }
}

/// What `trine bench serve` counted in its only step.
fn bench(more: &[&str]) -> serde_json::Value {
    let Some(bundle) = bundle() else { return serde_json::Value::Null };
    let mut command = trine_with_model(&[&"bench", &"serve", &"--json", &"--seconds", &"1"]);
    command.args(more);
    if !more.contains(&"--url") {
        command.arg(bundle);
    }
    let ended = run(command);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()["steps"][0].take()
}

#[test]
fn sixty_four_clients_are_all_answered() {
    let Some(bundle) = bundle() else { return };
    let server = Served::start(bundle, &[]);
    let url = format!("http://{}", server.address);
    let step = bench(&["--url", &url, "--clients", "64"]);
    assert!(step["ok"].as_u64().unwrap() >= 64, "{step}");
    let failed = ["refused", "other", "unfinished"].map(|kind| step[kind].as_u64().unwrap());
    assert_eq!(failed, [0; 3], "{step}");
    // The server's own account of its time is part of what its clients waited.
    let ms = |name: &str| step["server_ms"][name].as_f64().unwrap();
    assert!(ms("inference") > 0.0 && ms("inference") <= ms("total"), "{step}");
    assert!(ms("total") <= step["latency_ms"]["max"].as_f64().unwrap(), "{step}");
}

#[test]
fn a_crowd_beyond_the_bound_is_refused_and_told_when_to_come_back() {
    if bundle().is_none() {
        return;
    }
    let step = bench(&["--clients", "64", "--concurrency", "1", "--waiting", "1"]);
    let count = |kind: &str| step[kind].as_u64().unwrap();
    assert!(count("ok") > 0 && count("refused") > 0, "{step}");
    assert_eq!((count("other"), count("unfinished")), (0, 0), "{step}");
}
