//! Standard output, whose reader may leave.

use std::io::Write;

/// `println!`, except that a reader who has seen enough (`trine inspect ... | head`) ends the
/// process quietly instead of with a panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}

pub fn line(text: std::fmt::Arguments) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: writing to standard output: {error}");
        }
        std::process::exit(1);
    }
}
