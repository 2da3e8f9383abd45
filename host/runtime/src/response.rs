//! A response on its way from a guest's task to the server: its head, then frames.

use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::{mpsc, oneshot};

use crate::RuntimeError;

/// A response's body: frames as the guest makes them.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, RuntimeError>;

/// Where a body's frames go.
pub(crate) type Frames = mpsc::Sender<Result<Frame<Bytes>, RuntimeError>>;

/// Where a response's head goes, and since when it has been awaited.
pub(crate) struct HeadSender {
    /// When the request arrived.
    pub(crate) arrived: Instant,
    /// When it was admitted.
    pub(crate) started: Instant,
    pub(crate) sender: oneshot::Sender<http::response::Parts>,
}

impl HeadSender {
    /// Adds where the time went (<https://www.w3.org/TR/server-timing/>, milliseconds): waiting to
    /// be admitted, waiting for models and in them, and all together. Gives the head back when
    /// nobody waits for it.
    pub(crate) fn send(
        self,
        mut head: http::response::Parts,
        inference: Duration,
    ) -> Result<(), http::response::Parts> {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let (queue, total) = (ms(self.started - self.arrived), ms(self.arrived.elapsed()));
        let inference = ms(inference);
        let timing =
            format!("queue;dur={queue:.3}, inference;dur={inference:.3}, total;dur={total:.3}");
        if let Ok(timing) = HeaderValue::try_from(timing) {
            head.headers.append("server-timing", timing);
        }
        self.sender.send(head)
    }
}

/// Frames from the guest's task; the task goes on as long as the body is held.
pub(crate) fn body(
    mut frames: mpsc::Receiver<Result<Frame<Bytes>, RuntimeError>>,
    task: AbortOnDrop,
) -> Body {
    let mut cut = None;
    let stream = futures::stream::poll_fn(move |cx| {
        let _running = &task;
        if let Some(error) = cut.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match frames.poll_recv(cx) {
            // A failed body makes hyper drop what it has not sent, the head even. It sends what it
            // has when there is no frame for now; so the failure comes a moment later.
            Poll::Ready(Some(Err(error))) => {
                cut = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => frame,
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

/// A guest's task, which ends when nobody waits for it.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::JoinHandle<Result<(), RuntimeError>>);

impl AbortOnDrop {
    pub(crate) async fn outcome(mut self) -> Result<(), RuntimeError> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => Err(RuntimeError::Trap(error.to_string())),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
