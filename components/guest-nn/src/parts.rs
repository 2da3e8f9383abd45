//! The parts a component is given before its snapshot, chunk by chunk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::DeserializeOwned;
use trine_index::setup;
use trine_text::tokens::Encoder;

/// Named byte strings on their way in.
#[derive(Default)]
pub struct Parts(BTreeMap<String, Vec<u8>>);

impl Parts {
    /// No parts yet.
    pub const fn new() -> Parts {
        Parts(BTreeMap::new())
    }

    /// Appends a chunk to the part of that name, which must be one of `known`. A part that comes
    /// in one chunk is never copied.
    pub fn append(&mut self, part: String, chunk: Vec<u8>, known: &[&str]) -> Result<(), String> {
        if !known.contains(&part.as_str()) {
            return Err(format!("no part is called `{part}`; the parts are {known:?}"));
        }
        match self.0.entry(part) {
            Entry::Vacant(entry) => drop(entry.insert(chunk)),
            Entry::Occupied(mut entry) => entry.get_mut().extend_from_slice(&chunk),
        }
        Ok(())
    }

    /// Whether a part of that name was given.
    pub fn has(&self, part: &str) -> bool {
        self.0.contains_key(part)
    }

    /// Takes a part out; missing ones are an error.
    pub fn take(&mut self, part: &str) -> Result<Vec<u8>, String> {
        self.0.remove(part).ok_or_else(|| format!("the part `{part}` is missing"))
    }

    /// Takes the settings out.
    pub fn take_setup<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        serde_json::from_slice(&self.take(setup::SETUP)?).map_err(|e| format!("setup: {e}"))
    }

    /// The tokenizer of part `name`, if it was given.
    pub fn take_encoder_if_any(
        &mut self,
        name: &str,
        max_tokens: usize,
    ) -> Result<Option<Encoder>, String> {
        let json = self.0.remove(name);
        json.map(|json| Encoder::new(&json, max_tokens).map_err(|e| e.to_string())).transpose()
    }

    /// Takes the tokenizer out, for a window of `max_tokens`, and uses it once, so that what it
    /// makes on its first use is in the snapshot.
    pub fn take_encoder(&mut self, max_tokens: usize) -> Result<Encoder, String> {
        let json = self.take(setup::TOKENIZER)?;
        let encoder = Encoder::new(&json, max_tokens).map_err(|e| e.to_string())?;
        encoder.encode("Warm-up: a few words, 1 number.").map_err(|e| e.to_string())?;
        Ok(encoder)
    }
}
