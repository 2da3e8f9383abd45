//! `trine serve`.

use std::time::Instant;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use trine_node::{OpenOptions, open};
use trine_runtime::AppOptions;
use trine_runtime::server::Server;

use crate::args::{Common, Serve};

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
        server.run(told_to_stop()).await;
        eprintln!("stopped");
        Ok(())
    })
}

/// Ready on Ctrl-C, or when the system asks the process to end.
pub async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
