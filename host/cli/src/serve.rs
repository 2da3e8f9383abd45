//! `trine serve`.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use trine_node::{Follower, Node, NodeError, OpenOptions, open_all};
use trine_runtime::server::Server;
use trine_runtime::{AppOptions, Site};

use crate::args::{Common, Serve};
use crate::signals::{hangups, told_to_stop};

/// How often the bundle is looked at.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(args: Serve, common: &Common) -> Result<()> {
    let started = Instant::now();
    let (names, paths): (Vec<_>, Vec<_>) = args.bundles.iter().cloned().unzip();
    // Opening takes long; what cannot be served is said before.
    Site::check(names.iter().map(Option::as_deref))?;
    let options = OpenOptions {
        engine: common.engine()?,
        app: AppOptions {
            limits: args.limits.into(),
            cache: Some(common.compiled()?),
            answers: args.answers(),
            models: common.language_models()?,
            preparing: Some(crate::prepare::show),
        },
    };
    let runtime = crate::ask::runtime()?;
    let questions = names.iter().map(|name| match name {
        Some(name) => format!("/v1/{name}/answer?q=your+question"),
        None => "/answer?q=your+question".to_owned(),
    });
    let questions: Vec<String> = questions.collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let nodes = open_all(&paths, &options, &common.store()?)?;
    let following = |(node, path): (&Node, &&Path)| Follower::new(path.to_path_buf(), node);
    let followers = nodes.iter().zip(&paths).map(following).collect::<Result<Vec<_>, _>>()?;
    let documents: u64 = nodes.iter().map(|node| node.about.documents).sum();
    let passages: u64 = nodes.iter().map(|node| node.about.passages).sum();
    let site = Site::new(names.into_iter().zip(nodes.into_iter().map(|node| node.app)))?;
    runtime.block_on(async {
        if let Some(address) = args.metrics {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("listening on {address} for metrics"))?;
            out!("metrics on http://{}/metrics", listener.local_addr()?);
            tokio::spawn(site.metrics().clone().serve(listener));
        }
        let server = Server::bind(args.listen, site)
            .await
            .with_context(|| format!("listening on {}", args.listen))?;
        let address = server.address()?;
        out!(
            "{documents} documents, {passages} passages, ready in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        for model in options.app.models.iter() {
            let (name, device) = (model.name(), model.generations().device());
            out!("{name} on {device}: http://{address}/v1/chat/completions");
        }
        for question in questions {
            out!("http://{address}{question}");
        }
        out!("listening on http://{address}");
        let (hangups, handle) = (hangups(), Handle::current());
        std::thread::Builder::new()
            .name("trine-follow".to_owned())
            .spawn(move || follow(followers, hangups, &handle))
            .context("starting to follow the bundle")?;
        server.run(told_to_stop()).await;
        eprintln!("stopped");
        Ok(())
    })
}

/// Serves each new generation of the bundles, until nobody asks for them any more.
fn follow(followers: Vec<Follower>, hangups: Receiver<()>, runtime: &Handle) {
    let mut followed: Vec<(Follower, String)> =
        followers.into_iter().map(|follower| (follower, String::new())).collect();
    while !matches!(hangups.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
        for (follower, told) in &mut followed {
            match look(follower, runtime) {
                Ok(None) => told.clear(),
                Ok(Some(line)) => out!("{line}"),
                // Not every second.
                Err(error) if error.to_string() != *told => {
                    *told = error.to_string();
                    eprintln!("the bundle that was served is served on: {error}");
                }
                Err(_) => {}
            }
        }
    }
}

/// Serves the bundle's new generation, if it has one, and says what that holds.
fn look(follower: &mut Follower, runtime: &Handle) -> Result<Option<String>, NodeError> {
    let Some(news) = follower.look()? else { return Ok(None) };
    let told = format!(
        "serving {} documents, {} passages, {}",
        news.about.documents,
        news.about.passages,
        if news.whole { "of a new index" } else { "with what was added and removed" }
    );
    runtime.block_on(follower.serve(news))?;
    Ok(Some(told))
}
