//! Standard output, whose reader may leave.

use std::io::Write;

/// `println!`, except that a reader who has seen enough (`trine inspect ... | head`) ends the
/// process quietly instead of with a panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::out::line(format_args!($($text)*)) };
}

pub fn line(text: std::fmt::Arguments) {
    let mut out = std::io::stdout().lock();
    end_on_error(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// A part of a line.
pub fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    end_on_error(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn end_on_error(written: std::io::Result<()>) {
    if let Err(error) = written {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: writing to standard output: {error}");
        }
        std::process::exit(1);
    }
}
