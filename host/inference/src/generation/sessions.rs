//! Texts on a device: the tokens of each, and the pages that hold their keys and values.

use std::collections::BTreeMap;

use trine_kernels::{DecoderDevice, PAGE, PagedSequences};

use super::pool::{PagePool, PoolCounts};
use crate::InferenceError;
use crate::decoder::{DecoderConfig, DecoderModel};
use crate::llama::{Llama, LoadError};

/// 32 million tokens.
const MOST_PAGES: usize = 1 << 20;

/// A session's number; none is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// What one session gets in a step.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    /// The session.
    pub session: SessionId,
    /// Tokens to append. Of a long prompt, a part.
    pub tokens: &'a [u32],
    /// Whether the logits after the last of them are wanted.
    pub logits: bool,
}

/// A decoder on a device, and the texts that it has read so far.
///
/// Every call is for the device's owner thread. Sessions fed in one step are computed together, and
/// none of them sees that in its logits.
pub struct Sessions<D: DecoderDevice> {
    device: D,
    llama: Llama<D>,
    pages: D::Pages,
    pool: PagePool,
    sessions: BTreeMap<SessionId, Session>,
    next: u64,
    /// Of the last step. Memory for it, fresh at each step, would cost as much as a small model's layers.
    logits: Vec<f32>,
}

#[derive(Clone, Default)]
struct Session {
    tokens: Vec<u32>,
    pages: Vec<u32>,
}

impl<D: DecoderDevice> Sessions<D> {
    /// Takes a model to a device, with a cache of at most `cache_bytes`, of which there is room for at
    /// least one page. Fails when a tensor is missing or the device has no room.
    pub fn new(
        device: D,
        model: &DecoderModel,
        cache_bytes: usize,
    ) -> Result<Sessions<D>, LoadError> {
        let llama = Llama::upload(&device, model)?;
        let count = device.pages_within(llama.pages_shape(), cache_bytes).clamp(1, MOST_PAGES);
        let pages = llama.pages(&device, count)?;
        let pool = PagePool::new(count as u32);
        let (sessions, logits) = (BTreeMap::new(), Vec::new());
        Ok(Sessions { device, llama, pages, pool, sessions, next: 0, logits })
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        self.llama.config()
    }

    /// The device in words.
    pub fn device(&self) -> String {
        self.device.name()
    }

    /// The device itself.
    pub fn hardware(&self) -> &D {
        &self.device
    }

    /// Tokens of a step that the device's buffers hold.
    pub fn most_tokens(&self) -> usize {
        self.device.rows_at_most(self.config().widest())
    }

    /// What came of the cache's pages so far.
    pub fn counts(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A session that begins with what the cache has of `prompt`, and how many tokens that is: at most
    /// all but one, and none where nothing is to be reused.
    pub fn create(&mut self, prompt: &[u32]) -> (SessionId, usize) {
        let pages = self.pool.find(prompt);
        let cached = pages.len() * PAGE;
        let session = Session { tokens: prompt[..cached].to_vec(), pages };
        (self.add(session), cached)
    }

    /// Another session that has read the same. Their pages are shared until one of them writes.
    pub fn fork(&mut self, session: SessionId) -> Result<SessionId, InferenceError> {
        let copy = self.session(session)?.clone();
        copy.pages.iter().for_each(|&page| self.pool.share(page));
        Ok(self.add(copy))
    }

    /// Ends a session. Full pages stay, for texts that begin alike, until their room is needed.
    pub fn end(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.remove(&session) {
            session.pages.into_iter().for_each(|page| self.pool.give_back(page));
        }
    }

    /// The tokens that a session has read.
    pub fn tokens(&self, session: SessionId) -> Result<&[u32], InferenceError> {
        Ok(&self.session(session)?.tokens)
    }

    fn add(&mut self, session: Session) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        self.sessions.insert(id, session);
        id
    }

    fn session(&self, id: SessionId) -> Result<&Session, InferenceError> {
        self.sessions
            .get(&id)
            .ok_or_else(|| InferenceError::input("session", "there is no such session"))
    }

    /// One step: every feed's tokens are read, together. The logits of each feed that wants them, `[v]`,
    /// which may be changed.
    /// Fails, and leaves all sessions as they were, when a session is unknown or fed twice, a token is
    /// none of the vocabulary's, a text becomes longer than the model's context, or the cache is full.
    pub fn step(&mut self, feeds: &[Feed]) -> Result<Vec<Option<&mut [f32]>>, InferenceError> {
        self.check(feeds)?;
        self.make_room(feeds)?;
        let mut tokens = Vec::new();
        let mut wanted = Vec::new();
        let mut each = Vec::new();
        for feed in feeds {
            let session = self.session(feed.session)?;
            tokens.extend(feed.tokens);
            each.push((feed.tokens.len() as u32, session.tokens.len() as u32, &session.pages[..]));
            if feed.logits {
                wanted.push(tokens.len() as u32 - 1);
            }
        }
        let paged = PagedSequences::new(each)?;
        let Sessions { device, llama, pages, logits, .. } = self;
        device.step(|| llama.forward(device, pages, &tokens, &paged, &wanted, logits))?;
        feeds.iter().for_each(|feed| self.advance(feed));
        let mut rows = self.logits.chunks_exact_mut(self.llama.config().vocabulary);
        Ok(feeds.iter().map(|feed| if feed.logits { rows.next() } else { None }).collect())
    }

    fn check(&self, feeds: &[Feed]) -> Result<(), InferenceError> {
        let DecoderConfig { context, vocabulary, .. } = *self.config();
        for (index, feed) in feeds.iter().enumerate() {
            let session = self.session(feed.session)?;
            if feeds[..index].iter().any(|other| other.session == feed.session) {
                return Err(InferenceError::input("session", "is fed twice in one step"));
            }
            if feed.tokens.is_empty() {
                return Err(InferenceError::input("tokens", "there are none"));
            }
            if let Some(token) = feed.tokens.iter().find(|&&token| token as usize >= vocabulary) {
                let reason = format!("{token} is none of the vocabulary's {vocabulary}");
                return Err(InferenceError::input("tokens", reason));
            }
            let length = session.tokens.len() + feed.tokens.len();
            if length > context {
                let reason = format!("{length} tokens; the model reads at most {context}");
                return Err(InferenceError::input("tokens", reason));
            }
        }
        Ok(())
    }

    /// Gives every fed session pages of its own for what it will write.
    fn make_room(&mut self, feeds: &[Feed]) -> Result<(), InferenceError> {
        for feed in feeds {
            let Some(session) = self.sessions.get_mut(&feed.session) else { continue };
            let (length, pages) = (session.tokens.len(), &mut session.pages);
            // Pages beyond the text are left from a step that failed.
            if let Some(last) = pages.get_mut(length / PAGE)
                && !self.pool.is_own(*last)
            {
                let own = self.pool.take().ok_or(InferenceError::CacheFull)?;
                self.device.copy_page(&mut self.pages, *last, own)?;
                self.pool.give_back(std::mem::replace(last, own));
            }
            while pages.len() * PAGE < length + feed.tokens.len() {
                pages.push(self.pool.take().ok_or(InferenceError::CacheFull)?);
            }
        }
        Ok(())
    }

    /// Takes note of what a session has read, and keeps the pages that are full now.
    fn advance(&mut self, feed: &Feed) {
        let Some(session) = self.sessions.get_mut(&feed.session) else { return };
        let first = session.tokens.len() / PAGE;
        session.tokens.extend(feed.tokens);
        let full = session.tokens.as_chunks::<PAGE>().0;
        for (index, tokens) in full.iter().enumerate().skip(first) {
            let before = index.checked_sub(1).map(|before| session.pages[before]);
            session.pages[index] = self.pool.keep(before, *tokens, session.pages[index]);
        }
    }
}
