//! Bytes to text, whatever the encoding.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// A text, and a warning if its bytes are not the file's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub text: String,
    pub warning: Option<String>,
}

/// UTF-8 as it stands, byte order mark included; UTF-16 by its byte order mark; else the
/// encoding that HTML declares, or Windows-1252. The error says why it is no text.
pub(super) fn decode(bytes: Vec<u8>, is_html: bool) -> Result<Decoded, String> {
    let marked = Encoding::for_bom(&bytes).map(|(encoding, _)| encoding);
    let encoding = match marked {
        Some(encoding) if encoding != UTF_8 => encoding,
        _ if bytes.contains(&0) => return Err("is binary (it has NUL bytes)".into()),
        _ => match String::from_utf8(bytes) {
            Ok(text) => {
                return Ok(Decoded { text, warning: None });
            }
            Err(error) => return decode_legacy(error.as_bytes(), is_html),
        },
    };
    decode_as(&bytes, encoding)
}

fn decode_legacy(bytes: &[u8], is_html: bool) -> Result<Decoded, String> {
    let controls = bytes.iter().filter(|b| b.is_ascii_control() && !b.is_ascii_whitespace());
    if controls.count() * 50 > bytes.len() {
        return Err("is binary (too many control characters for a text)".into());
    }
    let declared = if is_html { declared(bytes) } else { None };
    decode_as(bytes, declared.unwrap_or(WINDOWS_1252))
}

fn decode_as(bytes: &[u8], encoding: &'static Encoding) -> Result<Decoded, String> {
    let (text, encoding, had_errors) = encoding.decode(bytes);
    if text.contains('\0') {
        return Err("is binary (it has NUL characters)".into());
    }
    let name = encoding.name();
    let mut warning = format!("was read as {name}; offsets refer to the text in UTF-8");
    if had_errors {
        warning.push_str(", and what is no such text became U+FFFD");
    }
    Ok(Decoded { text: text.into_owned(), warning: Some(warning) })
}

/// The `charset` in the first bytes of an HTML page (HTML, "prescan a byte stream").
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    let (_, value) = head.split_once("charset=")?;
    let value = value.trim_start_matches(['"', '\'']);
    let label = value.split(['"', '\'', '>', ';', ' ', '/']).next()?;
    Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != UTF_8)
}
