//! How a language model is asked, as requests say it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bindings::trine::rag::generator::{Order, Writing};
use crate::fields::{Fields, refused};
use crate::problem::Problem;

/// Tokens that one may be drawn from: more than any vocabulary has.
const MOST_CHOICES: u32 = 1 << 20;
/// Tokens that a request may favour or bar.
const MOST_BIASES: usize = 1024;

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// Reads the fields; what was said before is not among them.
pub fn read_writing(fields: &mut Fields) -> Result<Writing, Problem> {
    let stop = match fields.take("stop", "a text or a list of texts")? {
        None => vec![],
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Several(texts)) => texts,
    };
    let order = fields.word("passage_order", &["best_at_ends", "best_first"])?;
    Ok(Writing {
        temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(0.0),
        top_k: fields.number("sample_top_k", 0..=MOST_CHOICES)?.unwrap_or(0),
        top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0),
        min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(0.0),
        repetition_penalty: fields.number("repetition_penalty", 0.01..=100.0)?.unwrap_or(1.0),
        seed: fields.take("seed", "a whole number, not negative")?.unwrap_or(0),
        stop,
        logit_bias: read_bias(fields)?,
        order: if order == Some(1) { Order::BestFirst } else { Order::BestAtEnds },
        history: vec![],
    })
}

/// `{"50256": -100}`.
fn read_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>, Problem> {
    let allowed = "an object of tokens' numbers and biases from -100 to 100";
    let biases: BTreeMap<String, f32> = fields.take("logit_bias", allowed)?.unwrap_or_default();
    if biases.len() > MOST_BIASES {
        return Err(refused("logit_bias", biases.len(), format!("{MOST_BIASES} tokens")));
    }
    let read = |(token, bias): (String, f32)| {
        let token = token.parse().ok().filter(|_| (-100.0..=100.0).contains(&bias));
        token.map(|token| (token, bias)).ok_or_else(|| refused("logit_bias", bias, allowed))
    };
    biases.into_iter().map(read).collect()
}
