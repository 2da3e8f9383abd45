//! What opening a bundle makes for the first time, shown, and made ahead.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use trine_runtime::{AppOptions, Preparing};

/// Bytes of an index that is filled in so long that one wants to know how far it is.
const LARGE: u64 = 100 << 20;

/// Makes what opening `bundle` on this machine would have to make first, and keeps it in the folder
/// `compiled`. What goes wrong is a warning: the bundle is whole, and what is not ready is made when it is
/// opened.
pub fn ahead(bundle: &Path, compiled: PathBuf, quiet: bool) {
    // What the bundle was built in is free by now.
    crate::heap::trim();
    let options = AppOptions {
        cache: Some(compiled),
        preparing: (!quiet).then_some(show),
        ..AppOptions::default()
    };
    if let Err(error) = trine_node::prepare(bundle, &options) {
        eprintln!("warning: {} is not prepared: {error}", bundle.display());
    }
}

/// The same as the last thing that a command does: Ctrl-C ends it at once, for all else is done.
pub fn at_last(bundle: &Path, compiled: PathBuf, quiet: bool) {
    crate::signals::all_is_kept();
    ahead(bundle, compiled, quiet);
}

/// Says on standard error what is being made: on a terminal in one line that goes away.
pub fn show(what: Preparing) {
    /// Tenths of an index that were told.
    static TENTHS: AtomicU64 = AtomicU64::new(0);
    let text = match what {
        Preparing::Waiting => "preparing: another process does it; waiting".to_owned(),
        Preparing::Code => "preparing: compiling components".to_owned(),
        Preparing::Filling { done, total } => {
            let tenths = (done * 10).checked_div(total).unwrap_or(10);
            if TENTHS.swap(tenths, Ordering::Relaxed) == tenths || total < LARGE {
                return;
            }
            format!("preparing: filling the index, {tenths}0 % of {:.0} MB", total as f64 / 1e6)
        }
        Preparing::Memory => "preparing: writing what was filled".to_owned(),
        Preparing::Done => String::new(),
    };
    match std::io::stderr().is_terminal() {
        true => eprint!("\r\x1b[2K{text}"),
        false if text.is_empty() => {}
        false => eprintln!("{text}"),
    }
}
