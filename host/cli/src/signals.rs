//! What the system and the user tell a running command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result};

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

/// Whether all that a command was asked for is kept, so that ending loses nothing.
static KEPT: AtomicBool = AtomicBool::new(false);

/// From here on a signal that [`interrupted`] waits for ends the process at once.
pub fn all_is_kept() {
    KEPT.store(true, Ordering::Relaxed);
}

/// A flag that Ctrl-C (or SIGTERM) sets; a second one ends the process at once.
pub fn interrupted() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the signal handler")?;
    std::thread::Builder::new()
        .name("trine-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                told_to_stop().await;
                if !KEPT.load(Ordering::Relaxed) {
                    eprintln!("stopping; once more to stop at once");
                    set.store(true, Ordering::Relaxed);
                    told_to_stop().await;
                }
                std::process::exit(130);
            });
        })
        .context("starting the signal handler")?;
    Ok(flag)
}

/// Receives something on each SIGHUP, and is disconnected when the runtime ends.
pub fn hangups() -> Receiver<()> {
    let (sender, receiver) = channel();
    tokio::spawn(async move {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            if let Ok(mut hangup) = signal(SignalKind::hangup()) {
                while hangup.recv().await.is_some() && sender.send(()).is_ok() {}
            }
        }
        std::future::pending::<()>().await;
        drop(sender);
    });
    receiver
}
