//! HTTP clients: one that speaks it well, and one that says whatever it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::fixture::Serving;

/// Far more than anything takes; a test that waits so long has hung.
const HUNG: Duration = Duration::from_secs(300);

static AGENT: LazyLock<ureq::Agent> = LazyLock::new(|| {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(HUNG))
        .max_idle_connections_per_host(16)
        .build();
    ureq::Agent::new_with_config(config)
});

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub json: Value,
}

impl Reply {
    fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
        let (parts, mut body) = response.expect("the server did not answer").into_parts();
        let text = body.read_to_string().expect("the body broke off");
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text:?}"));
        Reply { status: parts.status.as_u16(), headers: parts.headers, json }
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json);
        self.json
    }

    /// The message of an error that has this status and code, and nothing beside them.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> &str {
        assert_eq!((self.status, &self.json["error"]["code"]), (status, &json!(code)), "{self:?}");
        let fields: Vec<&String> = self.json["error"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["code", "message"]);
        assert_eq!(self.headers["content-type"], "application/json; charset=utf-8");
        self.json["error"]["message"].as_str().unwrap()
    }
}

/// Asks for a path at an address.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    Reply::read(AGENT.get(format!("http://{address}{path}")).call())
}

/// The text at a path of an address.
pub fn text(address: SocketAddr, path: &str) -> String {
    let response = AGENT.get(format!("http://{address}{path}")).call().unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().read_to_string().unwrap()
}

/// Posts a body, whatever it is.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> Reply {
    Reply::read(AGENT.post(format!("http://{address}{path}")).send(body))
}

/// Text as a query string has it.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Serving {
    /// Asks for a path.
    pub fn get(&self, path: &str) -> Reply {
        get(self.address, path)
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        post(self.address, path, body.to_string().as_bytes())
    }

    /// `GET /answer`, with further parameters.
    pub fn ask(&self, question: &str, more: &str) -> Reply {
        self.get(&format!("/answer?q={}{more}", encoded(question)))
    }

    /// That it answers as ever.
    #[track_caller]
    pub fn is_well(&self) {
        let answer = self.ask("How long may a hand tool be kept?", "").ok();
        let text = answer["answer"].as_str().unwrap();
        assert!(text.contains("fourteen days"), "{answer}");
    }

    /// A connection for saying anything on.
    pub fn connect(&self) -> Raw {
        Raw::to(self.address)
    }
}

/// A bare connection.
pub struct Raw(TcpStream);

impl Raw {
    /// A connection to an address.
    pub fn to(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        Raw(stream)
    }

    /// Says these bytes; that the server has hung up meanwhile is no error here.
    pub fn say(mut self, bytes: impl AsRef<[u8]>) -> Raw {
        let _ = self.0.write_all(bytes.as_ref());
        self
    }

    /// The same connection, for another thread to write on while this one reads.
    pub fn again(&self) -> Raw {
        Raw(self.0.try_clone().unwrap())
    }

    /// Says all of it, until the server hangs up.
    pub fn say_all(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Says that nothing more comes.
    pub fn end(self) -> Raw {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
        self
    }

    /// All that the server says until it hangs up.
    pub fn all(mut self) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
                Ok(_) => break,
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(e) => panic!("the server said nothing: {e}"),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the server says up to an empty line.
    pub fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("the server hung up");
            bytes.push(byte[0]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads on until the server has said these words.
    pub fn until(&mut self, words: &str) {
        let mut bytes = Vec::new();
        while !bytes.ends_with(words.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("the server hung up");
            bytes.push(byte[0]);
        }
    }

    /// Whether the server says something within so long.
    pub fn hears_within(&mut self, patience: Duration) -> bool {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let heard = self.0.peek(&mut [0]).is_ok();
        self.0.set_read_timeout(Some(HUNG)).unwrap();
        heard
    }
}
