//! Who uses which page of a cache, and which pages hold the beginnings of texts that may come again.
//! Knows no device.
//!
//! A full page is known by the page before it and its own tokens, and so by its whole prefix, compared
//! token by token. A page goes when it is needed, nobody uses it, and it was used least recently; never
//! before those that follow it.

use std::collections::HashMap;

use trine_kernels::PAGE;

/// What came of pages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Pages in all.
    pub pages: usize,
    /// Pages that nobody uses and nothing is kept in.
    pub free: usize,
    /// Pages that are kept for texts that begin alike, in use or not.
    pub kept: usize,
    /// Tokens that were found in pages kept.
    pub reused_tokens: u64,
    /// Tokens that were looked for.
    pub asked_tokens: u64,
    /// Pages that were kept and had to go.
    pub evicted: u64,
}

/// A page's place among the kept ones: the page before it, and its tokens.
type Key = (Option<u32>, [u32; PAGE]);

struct Kept {
    key: Key,
    /// Kept pages that follow it.
    followers: u32,
    /// When it was used last.
    used: u64,
}

/// The pages of a cache.
pub(crate) struct PagePool {
    free: Vec<u32>,
    /// Users of each page, the pool itself where it is kept.
    users: Vec<u32>,
    by_prefix: HashMap<Key, u32>,
    kept: HashMap<u32, Kept>,
    clock: u64,
    counts: PoolCounts,
}

impl PagePool {
    pub(crate) fn new(pages: u32) -> PagePool {
        PagePool {
            free: (0..pages).rev().collect(),
            users: vec![0; pages as usize],
            by_prefix: HashMap::new(),
            kept: HashMap::new(),
            clock: 0,
            counts: PoolCounts { pages: pages as usize, ..PoolCounts::default() },
        }
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        PoolCounts { free: self.free.len(), kept: self.kept.len(), ..self.counts }
    }

    /// The kept pages that `tokens` begin with, to be used and given back. At least one token is left
    /// over: of the last one something is wanted.
    pub(crate) fn find(&mut self, tokens: &[u32]) -> Vec<u32> {
        self.clock += 1;
        self.counts.asked_tokens += tokens.len() as u64;
        let mut found: Vec<u32> = Vec::new();
        let whole = &tokens[..tokens.len().saturating_sub(1)];
        for part in whole.as_chunks::<PAGE>().0 {
            let Some(&page) = self.by_prefix.get(&(found.last().copied(), *part)) else { break };
            self.users[page as usize] += 1;
            self.touch(page);
            found.push(page);
        }
        self.counts.reused_tokens += (found.len() * PAGE) as u64;
        found
    }

    /// Keeps a full page that follows `before`, and says which page its user is to have: where one
    /// that holds the same is kept already, that one, and `page` is given back.
    pub(crate) fn keep(&mut self, before: Option<u32>, tokens: [u32; PAGE], page: u32) -> u32 {
        let key = (before, tokens);
        if let Some(&same) = self.by_prefix.get(&key) {
            self.share(same);
            self.give_back(page);
            return same;
        }
        // What follows a page that is not kept could not be found.
        if before.is_some_and(|before| !self.kept.contains_key(&before)) {
            return page;
        }
        self.clock += 1;
        if let Some(kept) = before.and_then(|before| self.kept.get_mut(&before)) {
            kept.followers += 1;
        }
        self.users[page as usize] += 1;
        self.by_prefix.insert(key, page);
        self.kept.insert(page, Kept { key, followers: 0, used: self.clock });
        page
    }

    /// A page for one user, to be written. `None` where all are in use.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            self.evict();
        }
        let page = self.free.pop()?;
        self.users[page as usize] = 1;
        Some(page)
    }

    /// Whether a page has one user, who may write it.
    pub(crate) fn is_own(&self, page: u32) -> bool {
        self.users[page as usize] == 1
    }

    /// One more user.
    pub(crate) fn share(&mut self, page: u32) {
        self.users[page as usize] += 1;
    }

    /// One user less.
    pub(crate) fn give_back(&mut self, page: u32) {
        let users = &mut self.users[page as usize];
        *users = users.saturating_sub(1);
        if *users == 0 {
            self.free.push(page);
        }
    }

    fn touch(&mut self, page: u32) {
        if let Some(kept) = self.kept.get_mut(&page) {
            kept.used = self.clock;
        }
    }

    /// Lets the page go that was used least recently, if there is one to go.
    fn evict(&mut self) {
        let idle =
            |(page, kept): &(&u32, &Kept)| kept.followers == 0 && self.users[**page as usize] == 1;
        let oldest = self.kept.iter().filter(idle).min_by_key(|(page, kept)| (kept.used, **page));
        let Some((&page, _)) = oldest else { return };
        if let Some(kept) = self.kept.remove(&page) {
            self.by_prefix.remove(&kept.key);
            if let Some(before) = kept.key.0.and_then(|before| self.kept.get_mut(&before)) {
                before.followers -= 1;
            }
        }
        self.counts.evicted += 1;
        self.give_back(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: usize, seed: u32) -> Vec<u32> {
        (0..count as u32).map(|i| i * 7 + seed).collect()
    }

    /// Takes pages for all full pages of a text, keeps them, and gives them back.
    fn hold(pool: &mut PagePool, tokens: &[u32]) -> Vec<u32> {
        let mut pages = pool.find(tokens);
        for part in &tokens.as_chunks::<PAGE>().0[pages.len()..] {
            let page = pool.take().unwrap();
            pages.push(pool.keep(pages.last().copied(), *part, page));
        }
        pages.iter().for_each(|&page| pool.give_back(page));
        pages
    }

    #[test]
    fn texts_that_begin_alike_share_pages() {
        let mut pool = PagePool::new(8);
        let first = tokens(3 * PAGE + 1, 1);
        let pages = hold(&mut pool, &first);
        assert_eq!((pages.len(), pool.counts().kept, pool.counts().free), (3, 3, 5));
        assert_eq!(pool.find(&first), pages);
        // One token is left over, so the third page would be one too many.
        assert_eq!(pool.find(&first[..3 * PAGE]), pages[..2]);
        let mut other = first.clone();
        other[PAGE] = 0;
        assert_eq!(pool.find(&other), pages[..1]);
        // The same tokens elsewhere are another page.
        assert!(pool.find(&first[PAGE..]).is_empty());
        assert!(!pool.is_own(pages[0]));
        let counts = pool.counts();
        assert_eq!(counts.reused_tokens as usize, (3 + 2 + 1) * PAGE);
    }

    #[test]
    fn of_pages_that_hold_the_same_one_is_kept() {
        let mut pool = PagePool::new(4);
        let part = [7; PAGE];
        let (one, other) = (pool.take().unwrap(), pool.take().unwrap());
        assert_eq!(pool.keep(None, part, one), one);
        assert_eq!(pool.keep(None, part, other), one, "its user has the first from now on");
        assert_eq!((pool.counts().free, pool.counts().kept), (3, 1));
        pool.give_back(one);
        pool.give_back(one);
        assert_eq!(pool.find(&[7; PAGE + 1]), [one]);
    }

    #[test]
    fn what_was_used_least_recently_goes_and_what_follows_goes_first() {
        let mut pool = PagePool::new(4);
        let (one, other) = (tokens(2 * PAGE + 1, 1), tokens(2 * PAGE + 1, 2));
        let pages = hold(&mut pool, &one);
        hold(&mut pool, &other);
        assert_eq!(pool.counts().free, 0);
        pool.find(&other).iter().for_each(|&page| pool.give_back(page));
        assert_eq!(pool.take(), Some(pages[1]));
        assert_eq!(pool.find(&one), pages[..1], "its beginning is still there, and now in use");
        // In use: the other text's end goes, though it was used more recently.
        assert!(pool.take().is_some());
        let found = pool.find(&other);
        assert_eq!(found.len(), 1);
        assert_eq!(pool.take(), None, "all are in use");
        pool.give_back(found[0]);
        assert_eq!(pool.take(), Some(found[0]));
        assert_eq!(pool.counts().evicted, 3);
    }

    /// Whatever is done in whatever order, no page is lost and none has two owners.
    #[test]
    fn no_page_is_lost() {
        let mut pool = PagePool::new(16);
        let mut held: Vec<Vec<u32>> = Vec::new();
        let mut random = 1u64;
        let mut draw = move |below: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % below
        };
        for _ in 0..5000 {
            if draw(2) == 0 || held.is_empty() {
                let text = tokens(PAGE * (1 + draw(4)) + 1, draw(6) as u32);
                let mut pages = pool.find(&text);
                for part in &text.as_chunks::<PAGE>().0[pages.len()..] {
                    let Some(page) = pool.take() else { break };
                    assert!(!held.iter().flatten().any(|&other| other == page));
                    pages.push(pool.keep(pages.last().copied(), *part, page));
                }
                held.push(pages);
            } else {
                let pages = held.swap_remove(draw(held.len()));
                pages.into_iter().for_each(|page| pool.give_back(page));
            }
        }
        held.drain(..).flatten().for_each(|page| pool.give_back(page));
        let counts = pool.counts();
        assert_eq!(counts.free + counts.kept, 16);
        for _ in 0..16 {
            assert!(pool.take().is_some());
        }
        assert_eq!((pool.take(), pool.counts().kept), (None, 0));
    }
}
