//! An answer shown while it is made.

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use trine_node::Node;

use super::{Answer, Passage, Problem, refusal, request};

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Found {
    passages: Vec<Passage>,
}

/// Posts a question, writes the answer's text to standard output as it comes, and returns all of it.
pub async fn show(node: &Node, body: &Value) -> Result<Answer> {
    let response = node.app.handle(request("/v1/answer", body)?).await;
    let (parts, mut body) = response.context("no route leads to /v1/answer")??.into_parts();
    if !parts.status.is_success() {
        return Err(refusal(parts.status, &body.collect().await?.to_bytes()));
    }
    let (mut read, mut passages) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        read.extend(frame?.into_data().unwrap_or_default());
        while let Some((name, data)) = next_event(&mut read)? {
            match name.as_str() {
                "passages" => passages = serde_json::from_str::<Found>(&data)?.passages,
                "text" => crate::out::text(&serde_json::from_str::<Text>(&data)?.text),
                "error" => {
                    out!("");
                    bail!("{}", serde_json::from_str::<Problem>(&data)?.error.message);
                }
                "answer" => {
                    let answer: Answer =
                        serde_json::from_str(&data).context("reading the answer")?;
                    // Nothing was written of it.
                    out!("{}", if answer.abstained { &answer.answer } else { "" });
                    return Ok(Answer { passages, ..answer });
                }
                _ => {}
            }
        }
    }
    bail!("the answer broke off")
}

/// Takes the name and the data of the first event that is whole.
fn next_event(read: &mut Vec<u8>) -> Result<Option<(String, String)>> {
    let Some(end) = read.windows(2).position(|bytes| bytes == b"\n\n") else { return Ok(None) };
    let event = String::from_utf8(read.drain(..end + 2).collect())?;
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (name, data) = (field("event: "), field("data: "));
    Ok(Some((name.unwrap_or_default().to_owned(), data.unwrap_or_default().to_owned())))
}
