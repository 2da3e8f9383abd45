//! Turns at a device for what another thread does on it, such as the steps of a language model.
//!
//! A turn waits in the device's line as any work does: ordered by how long it is thought to take,
//! counted, and dropped when nobody waits for it. While it lasts the device's thread does nothing.

use tokio::sync::{mpsc, oneshot};

use super::{Job, Task, Work};

/// The way to a device's line for turns, one at a time.
pub(crate) struct Turns<W: Work> {
    key: usize,
    sender: Option<mpsc::WeakUnboundedSender<Job<W>>>,
}

impl<W: Work> Turns<W> {
    pub(super) fn new(key: usize, sender: Option<mpsc::WeakUnboundedSender<Job<W>>>) -> Turns<W> {
        Turns { key, sender }
    }

    /// Lines up for a turn of about so many tokens, which begins when the lease comes. `None` where
    /// the device's thread has ended: there is nobody to share with.
    pub(crate) fn ask(&self, tokens: usize) -> Option<oneshot::Receiver<Lease>> {
        let (grant, granted) = oneshot::channel();
        let turn = Turn { key: self.key, tokens, grant: Some(grant) };
        let sender = self.sender.as_ref()?.upgrade()?;
        sender.send(Job::new(Task::Turn(turn), None, None)).ok()?;
        Some(granted)
    }
}

impl<W: Work> Clone for Turns<W> {
    fn clone(&self) -> Turns<W> {
        Turns { key: self.key, sender: self.sender.clone() }
    }
}

/// A device, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Lease {
    _held: std::sync::mpsc::Sender<()>,
}

/// A turn that waits.
pub(super) struct Turn {
    pub(super) key: usize,
    pub(super) tokens: usize,
    grant: Option<oneshot::Sender<Lease>>,
}

impl Turn {
    pub(super) fn is_withdrawn(&self) -> bool {
        self.grant.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Gives the device away and waits until it is given back.
    pub(super) fn give(&mut self) {
        let (held, back) = std::sync::mpsc::channel();
        if let Some(grant) = self.grant.take()
            && grant.send(Lease { _held: held }).is_ok()
        {
            // Nothing is ever sent: it ends when the lease is dropped.
            let _ = back.recv();
        }
    }
}
