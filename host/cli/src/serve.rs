//! `trine serve`.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use trine_node::{Follower, OpenOptions, open};
use trine_runtime::AppOptions;
use trine_runtime::server::Server;

use crate::args::{Common, Serve};
use crate::signals::{hangups, told_to_stop};

/// How often the bundle is looked at.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(args: Serve, common: &Common) -> Result<()> {
    let started = Instant::now();
    let options = OpenOptions {
        engine: common.engine()?,
        app: AppOptions {
            limits: args.limits.into(),
            cache: Some(common.cache()?.join("compiled")),
        },
    };
    let runtime = crate::ask::runtime()?;
    let node = open(&args.bundle, &options, &common.store()?)?;
    let follower = Follower::new(args.bundle.clone(), &node)?;
    let (passages, documents) = (node.about.passages, node.about.documents);
    runtime.block_on(async {
        if let Some(address) = args.metrics {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("listening on {address} for metrics"))?;
            out!("metrics on http://{}/metrics", listener.local_addr()?);
            tokio::spawn(node.app.metrics().clone().serve(listener));
        }
        let server = Server::bind(args.listen, node.app)
            .await
            .with_context(|| format!("listening on {}", args.listen))?;
        let address = server.address()?;
        out!(
            "{documents} documents, {passages} passages, ready in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        out!("http://{address}/answer?q=your+question");
        out!("listening on http://{address}");
        let (hangups, handle) = (hangups(), Handle::current());
        std::thread::Builder::new()
            .name("trine-follow".to_owned())
            .spawn(move || follow(follower, hangups, &handle))
            .context("starting to follow the bundle")?;
        server.run(told_to_stop()).await;
        eprintln!("stopped");
        Ok(())
    })
}

/// Serves each new generation of the bundle, until nobody asks for it any more.
fn follow(mut follower: Follower, hangups: Receiver<()>, runtime: &Handle) {
    let mut told = String::new();
    while !matches!(hangups.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
        let looked = follower.look().and_then(|news| {
            let Some(news) = news else { return Ok(None) };
            let told = format!(
                "serving {} documents, {} passages, {}",
                news.about.documents,
                news.about.passages,
                if news.whole { "of a new index" } else { "with what was added and removed" }
            );
            runtime.block_on(follower.serve(news))?;
            Ok(Some(told))
        });
        match looked {
            Ok(None) => told.clear(),
            Ok(Some(line)) => out!("{line}"),
            // Not every second.
            Err(error) if error.to_string() != told => {
                told = error.to_string();
                eprintln!("the bundle that was served is served on: {error}");
            }
            Err(_) => {}
        }
    }
}
