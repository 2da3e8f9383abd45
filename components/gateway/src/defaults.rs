//! What a request does not say: the application's variables, or the values that RAG is mostly run
//! with.

use spin_sdk::variables;

use crate::problem::Problem;

/// Defaults for requests.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Candidates the retriever fetches: enough that the answer is among them.
    pub top_k: u32,
    /// Passages the reranker keeps: few enough to read.
    pub top_n: u32,
}

impl Defaults {
    /// Reads the variables `top_k` and `top_n`.
    pub async fn read() -> Result<Defaults, Problem> {
        Ok(Defaults { top_k: variable("top_k", 50).await?, top_n: variable("top_n", 5).await? })
    }
}

/// A host without that variable leaves the default; a value that is no number in range is the
/// operator's mistake, and is said.
async fn variable(name: &str, default: u32) -> Result<u32, Problem> {
    let Ok(value) = variables::get(name).await else {
        return Ok(default);
    };
    match value.parse() {
        Ok(number @ 1..=200) => Ok(number),
        _ => Err(Problem::Configuration(format!(
            "the application's variable {name} is `{value}`; it may be 1 to 200"
        ))),
    }
}
