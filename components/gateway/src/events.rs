//! An answer as server-sent events, each sent when it is there
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde::Serialize;
use serde_json::json;

use crate::answering::{Answering, Step};
use crate::problem::Problem;
use crate::reply::AnswerReply;

/// How an answer is told.
pub trait Events: Send {
    /// What is known before the first part.
    fn begin(&mut self, begun: &AnswerReply) -> Vec<String>;
    /// One part; none where it is not told.
    fn step(&mut self, step: Step<'_>) -> Option<String>;
    /// The end of an answer that is complete.
    fn end(&mut self, reply: AnswerReply) -> Vec<String>;
    /// The end of one that is not.
    fn fail(&mut self, problem: Problem) -> Vec<String>;
}

/// A body that is made while it is sent. Nothing of the answer is pulled ahead of its reader.
pub struct EventStream {
    events: Box<dyn Events>,
    /// None when all is in `ready`.
    answering: Option<Answering>,
    ready: VecDeque<String>,
    /// Whether the host had its turn since the last part.
    yielded: bool,
}

impl EventStream {
    /// Tells `answering` in this way.
    pub fn new(answering: Answering, mut events: impl Events + 'static) -> EventStream {
        let ready = events.begin(answering.begun()).into();
        EventStream { events: Box::new(events), answering: Some(answering), ready, yielded: false }
    }

    /// Pulls one part.
    fn pull(&mut self, mut answering: Answering) {
        match answering.next() {
            Ok(Some(step)) => {
                self.ready.extend(self.events.step(step));
                self.answering = Some(answering);
            }
            Ok(None) => self.ready.extend(self.events.end(answering.reply())),
            Err(problem) => self.ready.extend(self.events.fail(problem)),
        }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))));
            }
            // Pulling blocks this instance, and with it the host's passing on of what was written.
            self.yielded = !self.yielded;
            if self.yielded && self.answering.is_some() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(answering) = self.answering.take() else { return Poll::Ready(None) };
            self.pull(answering);
        }
    }
}

/// The events of `POST /v1/answer`: `passages`, then `text`, `citation` and `sentence` as they come,
/// then `answer` or `error`.
pub struct AnswerEvents;

impl Events for AnswerEvents {
    fn begin(&mut self, begun: &AnswerReply) -> Vec<String> {
        vec![event("passages", &json!({ "query": begun.query, "passages": begun.passages }))]
    }

    fn step(&mut self, step: Step<'_>) -> Option<String> {
        Some(match step {
            Step::Text(text) if text.is_empty() => return None,
            Step::Text(text) => event("text", &json!({ "text": text })),
            Step::Citation(citation) => event("citation", citation),
            Step::Sentence(sentence) => event("sentence", sentence),
        })
    }

    fn end(&mut self, reply: AnswerReply) -> Vec<String> {
        vec![event("answer", &AnswerReply { passages: None, ..reply })]
    }

    fn fail(&mut self, problem: Problem) -> Vec<String> {
        vec![event("error", &problem.error())]
    }
}

fn event(name: &str, value: &impl Serialize) -> String {
    format!("event: {name}\n{}", data(value))
}

/// An event without a name. JSON is one line.
pub fn data(value: &impl Serialize) -> String {
    // What cannot be written as JSON is none of what is told.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    format!("data: {json}\n\n")
}
