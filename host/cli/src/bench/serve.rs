//! `trine bench serve`: closed-loop load over real HTTP. Each client has one connection and one
//! question under way; what a step begins it also waits for, so that slow answers count.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{StatusCode, Uri};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use trine_node::{OpenOptions, open};
use trine_runtime::server::Server;
use trine_runtime::{AppOptions, Site};

use super::client::{Client, Reply};
use crate::args::{BenchServe, Common};

/// Requests that are sent before the first step and not counted.
const WARM_UP: usize = 3;

pub fn run(args: BenchServe, common: &Common) -> Result<()> {
    let questions = Arc::new(Questions::read(&args)?);
    let runtime = crate::ask::runtime()?;
    runtime.block_on(async {
        let Some(bundle) = &args.bundle else {
            let url = args.url.clone().context("name a bundle or a server")?;
            return steps(&url, &args, questions).await;
        };
        let options = OpenOptions {
            engine: common.engine()?,
            app: AppOptions {
                limits: args.limits.into(),
                cache: Some(common.compiled()?),
                // The same questions are asked again and again.
                answers: None,
                ..AppOptions::default()
            },
        };
        let store = common.store()?;
        let node = tokio::task::block_in_place(|| open(bundle, &options, &store))?;
        let site = Site::new([(None, node.app)])?;
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), site).await?;
        let url = format!("http://{}", server.address()?).parse()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async { drop(stopped.await) }));
        let outcome = steps(&url, &args, questions).await;
        drop(stop);
        serving.await?;
        outcome
    })
}

/// What a run prints.
#[derive(Serialize)]
struct Report {
    server: String,
    path: String,
    seconds: u64,
    steps: Vec<Step>,
}

/// One number of clients.
#[derive(Default, Serialize)]
struct Step {
    clients: u32,
    /// Answers a second, until the last of them.
    requests_per_second: f64,
    /// Of answers (status 2xx). What had not ended counts with the time it had waited.
    latency_ms: Percentiles,
    /// Answered with 2xx.
    ok: usize,
    /// Refused with 503 and a time to come back.
    refused: usize,
    /// Any other status, and broken connections.
    other: usize,
    /// Still under way when patience ended.
    unfinished: usize,
    /// Of the bodies of answers.
    bytes: usize,
    /// Medians of what the server says of its time, by name.
    server_ms: BTreeMap<String, f64>,
}

#[derive(Default, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// What became of a request, and when.
struct Outcome {
    ended: Instant,
    waited: Duration,
    reply: Option<Result<Reply>>,
}

async fn steps(url: &Uri, args: &BenchServe, questions: Arc<Questions>) -> Result<()> {
    let mut client = Client::new(url, &args.path)?;
    for _ in 0..WARM_UP {
        let reply = client.ask(&questions.next()).await;
        let status = reply.with_context(|| format!("asking {url}"))?.status;
        ensure!(status.is_success(), "{url}{} answers with {status}", args.path);
    }
    drop(client);
    let (server, path) = (url.to_string(), args.path.clone());
    let mut report = Report { server, path, seconds: args.seconds, steps: vec![] };
    if !args.json {
        heading();
    }
    for &clients in &args.clients {
        let step = step(url, args, clients, &questions).await?;
        if !args.json {
            print(&step);
        }
        report.steps.push(step);
    }
    if args.json {
        out!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

async fn step(
    url: &Uri,
    args: &BenchServe,
    clients: u32,
    questions: &Arc<Questions>,
) -> Result<Step> {
    let began = Instant::now();
    let last_question = began + Duration::from_secs(args.seconds);
    let last_answer = last_question + Duration::from_secs(args.patience);
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let client = Client::new(url, &args.path)?;
        tasks.spawn(ask_until(client, questions.clone(), last_question, last_answer));
    }
    let outcomes = tasks.join_all().await.into_iter().flatten().collect();
    Ok(Step { clients, ..Step::of(began, outcomes) })
}

/// One client: asks, waits, asks again. A refused one comes back when it is told to.
async fn ask_until(
    mut client: Client,
    questions: Arc<Questions>,
    last_question: Instant,
    last_answer: Instant,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while Instant::now() < last_question {
        let asked = Instant::now();
        let reply = timeout_at(last_answer, client.ask(&questions.next())).await.ok();
        let ended = Instant::now();
        let refused = match &reply {
            Some(Ok(reply)) if reply.status.is_success() => None,
            Some(Ok(reply)) => reply.retry_after,
            _ => Some(Duration::from_secs(1)),
        };
        outcomes.push(Outcome { ended, waited: asked.elapsed(), reply });
        if let Some(pause) = refused {
            sleep_until((ended + pause).min(last_question)).await;
        }
    }
    outcomes
}

impl Step {
    fn of(began: Instant, outcomes: Vec<Outcome>) -> Step {
        let mut step = Step::default();
        let (mut latencies, mut last) = (Vec::new(), began);
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for Outcome { ended, waited, reply } in outcomes {
            match reply {
                Some(Ok(reply)) if reply.status.is_success() => {
                    step.ok += 1;
                    step.bytes += reply.bytes;
                    last = last.max(ended);
                    latencies.push(ms(reply.latency));
                    for (name, ms) in reply.timing {
                        times.entry(name).or_default().push(ms);
                    }
                }
                Some(Ok(reply)) => match (reply.status, reply.retry_after) {
                    (StatusCode::SERVICE_UNAVAILABLE, Some(_)) => step.refused += 1,
                    _ => step.other += 1,
                },
                Some(Err(_)) => step.other += 1,
                None => {
                    step.unfinished += 1;
                    last = ended;
                    latencies.push(ms(waited));
                }
            }
        }
        let seconds = (last - began).as_secs_f64();
        step.requests_per_second = if step.ok > 0 { step.ok as f64 / seconds } else { 0.0 };
        latencies.sort_by(f64::total_cmp);
        let at = |share| percentile(&latencies, share);
        step.latency_ms = Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) };
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            percentile(&values, 0.5)
        };
        step.server_ms = times.into_iter().map(|(name, of)| (name, median(of))).collect();
        step
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The smallest value that `share` of all do not exceed; 0 of none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn heading() {
    out!(
        "{:>7} {:>10} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>6} {:>10} {:>9}",
        "clients",
        "requests/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "ok",
        "refused",
        "other",
        "unfinished",
        "KB"
    );
}

fn print(step: &Step) {
    let Percentiles { p50, p90, p99, max } = step.latency_ms;
    out!(
        "{:>7} {:>10.2} {p50:>9.1} {p90:>9.1} {p99:>9.1} {max:>9.1} {:>7} {:>7} {:>6} {:>10} {:>9}",
        step.clients,
        step.requests_per_second,
        step.ok,
        step.refused,
        step.other,
        step.unfinished,
        step.bytes / 1000
    );
}

/// Questions, each asked in its turn.
struct Questions {
    all: Vec<String>,
    next: AtomicUsize,
}

impl Questions {
    fn read(args: &BenchServe) -> Result<Questions> {
        let all = match &args.questions {
            None => made_up(),
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
                text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
            }
        };
        ensure!(!all.is_empty(), "there are no questions in the file");
        Ok(Questions { all, next: AtomicUsize::new(0) })
    }

    fn next(&self) -> String {
        self.all[self.next.fetch_add(1, Ordering::Relaxed) % self.all.len()].clone()
    }
}

/// A few hundred questions that any handbook may be asked.
fn made_up() -> Vec<String> {
    let asked = [
        "Who decides about",
        "What does it cost to change",
        "How long must I wait for",
        "Where do I find the rules for",
        "When was the last change to",
        "Whom do I tell about a problem with",
        "Which limits are there on",
        "What happens if I miss the deadline for",
        "How do I ask for an exception to",
        "Is there a form for",
        "What must be done before",
        "Why is there a limit to",
    ];
    let about = [
        "travel abroad",
        "a new account",
        "working hours",
        "the security review",
        "paid leave",
        "a second monitor",
        "access to the database",
        "the training budget",
        "overtime",
        "a meeting room",
        "the release process",
        "personal data",
        "hiring a contractor",
        "remote work",
        "a lost badge",
        "incident reports",
        "the style guide",
        "parental leave",
        "software licences",
        "the annual plan",
        "health insurance",
        "open source contributions",
        "a change of team",
        "the archive",
    ];
    let question = |about| asked.map(|asked| format!("{asked} {about}?"));
    about.into_iter().flat_map(question).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            [0.5, 0.9, 0.99, 1.0].map(|s| percentile(&values, s)),
            [50.0, 90.0, 99.0, 100.0]
        );
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn only_a_503_that_says_when_to_come_back_is_a_refusal() {
        let began = Instant::now();
        let outcome = |status: u16, retry_after| Outcome {
            ended: began + Duration::from_secs(2),
            waited: Duration::from_secs(2),
            reply: Some(Ok(Reply {
                status: StatusCode::from_u16(status).unwrap(),
                latency: Duration::from_secs(2),
                bytes: 10,
                retry_after,
                timing: vec![("total".to_owned(), 5.0)],
            })),
        };
        let pause = Some(Duration::from_secs(1));
        let unfinished = Outcome {
            ended: began + Duration::from_secs(4),
            waited: Duration::from_secs(4),
            reply: None,
        };
        let all = [(200, None), (503, pause), (503, None), (500, pause)];
        let mut outcomes: Vec<Outcome> = all.map(|(s, r)| outcome(s, r)).into();
        outcomes.push(unfinished);
        let step = Step::of(began, outcomes);
        assert_eq!((step.ok, step.refused, step.other, step.unfinished), (1, 1, 2, 1));
        assert_eq!((step.bytes, step.requests_per_second), (10, 0.25));
        assert_eq!((step.latency_ms.p50, step.latency_ms.max), (2000.0, 4000.0));
        assert_eq!(step.server_ms["total"], 5.0);
    }

    #[test]
    fn made_up_questions_differ() {
        let all = made_up();
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!((distinct.len(), all.len()), (288, 288));
    }
}
