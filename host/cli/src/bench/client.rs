//! A client that asks one question after another over one connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection, opened when it is needed and kept as long as the server keeps it.
pub struct Client {
    authority: String,
    path: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What a server answered.
pub struct Reply {
    pub status: StatusCode,
    /// Time from the request's first byte to the answer's last.
    pub latency: Duration,
    /// Length of the answer's body.
    pub bytes: usize,
    /// When a refused client may come back.
    pub retry_after: Option<Duration>,
    /// What the server says of its time, in milliseconds (W3C Server Timing).
    pub timing: Vec<(String, f64)>,
}

impl Client {
    /// A client of the server at `server`, which posts to `path`.
    pub fn new(server: &Uri, path: &str) -> Result<Client> {
        ensure!(server.scheme_str() == Some("http"), "write the address as http://HOST:PORT");
        let host = server.host().context("the address has no host")?;
        let port = server.port_u16().unwrap_or(80);
        Ok(Client { authority: format!("{host}:{port}"), path: path.to_owned(), connection: None })
    }

    /// Posts a question. Fails when there is no connection to be had, or it breaks.
    pub async fn ask(&mut self, question: &str) -> Result<Reply> {
        let body = serde_json::json!({ "query": question, "cache": "off" }).to_string();
        let request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let mut connection = self.connect().await?;
        let asked = Instant::now();
        let (head, body) = connection.send_request(request).await?.into_parts();
        let bytes = body.collect().await?.to_bytes().len();
        let latency = asked.elapsed();
        self.connection = Some(connection);
        Ok(Reply {
            status: head.status,
            latency,
            bytes,
            retry_after: retry_after(&head.headers),
            timing: timing(&head.headers),
        })
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How a connection ends, its requests learn.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// `total;dur=12.5, search;dur=0.3` as names and numbers.
fn timing(headers: &HeaderMap) -> Vec<(String, f64)> {
    let lines = headers.get_all("server-timing").iter().filter_map(|line| line.to_str().ok());
    let entry = |entry: &str| {
        let (name, parameters) = entry.split_once(';')?;
        let duration = parameters.split(';').find_map(|p| p.trim().strip_prefix("dur="))?;
        Some((name.trim().to_owned(), duration.parse().ok()?))
    };
    lines.flat_map(|line| line.split(',')).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_servers_times_are_read_and_nonsense_is_passed_over() {
        let mut headers = HeaderMap::new();
        let line = "total;dur=12.5, search;desc=\"x\"; dur=0.25, cache, bad;dur=x";
        headers.insert("server-timing", HeaderValue::from_static(line));
        assert_eq!(timing(&headers), [("total".to_owned(), 12.5), ("search".to_owned(), 0.25)]);
        assert_eq!(retry_after(&headers), None);
        headers.insert("retry-after", HeaderValue::from_static("2"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_address_is_http_and_has_a_host() {
        for bad in ["https://a", "/v1/answer", "a:80"] {
            assert!(Client::new(&bad.parse().unwrap(), "/").is_err(), "{bad}");
        }
        let client = Client::new(&"http://[::1]:8080".parse().unwrap(), "/").unwrap();
        assert_eq!(client.authority, "[::1]:8080");
    }
}
