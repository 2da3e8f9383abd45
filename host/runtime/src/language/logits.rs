//! Language models as wasi:nn has them: tokens in, the logits of what follows out.

use trine_inference::generation::{GenerationEvent, GenerationRequest};
use trine_inference::{InferenceError, Tensor, TensorData};

use super::LanguageModel;
use super::host::LanguageState;

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";

impl LanguageState {
    /// The logits `[1, v]` after a text's tokens, by the names of exported models. What the cache has
    /// of an earlier call is not computed again, and not counted.
    pub(crate) async fn logits(
        &mut self,
        model: &LanguageModel,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, InferenceError> {
        let prompt = text(inputs)?;
        if self.tokens == 0 {
            return Err(over("tokens"));
        }
        let request = GenerationRequest { prompt, logits: true, ..GenerationRequest::default() };
        let mut generation = model.generations().generate(request).await?;
        match self.next(&mut generation).await {
            Some(Some(GenerationEvent::Logits { logits, usage })) => {
                let read = usage.prompt_tokens - usage.cached_tokens;
                self.tokens = self.tokens.saturating_sub(read);
                let dims = vec![1, logits.len()];
                Ok(vec![("logits".to_owned(), Tensor::f32(dims, logits))])
            }
            Some(Some(GenerationEvent::Failed(error))) => Err(error),
            Some(_) => Err(InferenceError::Stopped),
            None => Err(over("seconds")),
        }
    }
}

fn over(what: &str) -> InferenceError {
    InferenceError::Failed(format!("the request's {what} for language models are used up"))
}

fn refuse(input: &str, reason: String) -> InferenceError {
    InferenceError::InvalidInput { input: input.to_owned(), reason }
}

/// The tokens of a call. Refuses inputs that there are not, more than one text, and padding.
fn text(inputs: Vec<(String, Tensor)>) -> Result<Vec<u32>, InferenceError> {
    let [mut ids, mut mask] = [None, None];
    for (name, tensor) in inputs {
        let place = match name.as_str() {
            IDS => &mut ids,
            MASK => &mut mask,
            _ => return Err(refuse(&name, "is no input of a language model".to_owned())),
        };
        if place.replace(row(&name, tensor)?).is_some() {
            return Err(refuse(&name, "is given twice".to_owned()));
        }
    }
    let missing = |name| refuse(name, "is missing".to_owned());
    let (ids, mask) = (ids.ok_or_else(|| missing(IDS))?, mask.ok_or_else(|| missing(MASK))?);
    if mask.len() != ids.len() || mask.iter().any(|&one| one != 1) {
        return Err(refuse(MASK, format!("must be {} ones", ids.len())));
    }
    Ok(ids)
}

/// The numbers of a tensor `[1, n]`.
fn row(name: &str, Tensor { dims, data }: Tensor) -> Result<Vec<u32>, InferenceError> {
    if dims.len() != 2 || dims[0] != 1 || dims[1] != data.len() {
        return Err(refuse(name, format!("is {dims:?}; a call reads one text, [1, n]")));
    }
    let numbers: Option<Vec<u32>> = match data {
        TensorData::I64(ids) => ids.into_iter().map(|id| u32::try_from(id).ok()).collect(),
        TensorData::I32(ids) => ids.into_iter().map(|id| u32::try_from(id).ok()).collect(),
        TensorData::F32(_) => return Err(refuse(name, "has no whole numbers".to_owned())),
    };
    numbers.ok_or_else(|| refuse(name, "has numbers that are no tokens".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_one_text_without_padding() {
        let ids = |n: usize| Tensor::i64([1, n], (0..n as i64).collect());
        let ones = |n: usize| Tensor::i64([1, n], vec![1; n]);
        let call = |ids, mask| text(vec![(MASK.to_owned(), mask), (IDS.to_owned(), ids)]);
        assert_eq!(call(ids(3), ones(3)).unwrap(), [0, 1, 2]);
        let narrow = Tensor { dims: vec![1, 2], data: TensorData::I32(vec![7, 8]) };
        assert_eq!(call(narrow, ones(2)).unwrap(), [7, 8]);
        for (ids, mask, named) in [
            (ids(3), ones(2), "3 ones"),
            (ids(3), ids(3), "3 ones"),
            (Tensor::i64([3, 1], vec![1; 3]), ones(3), "[3, 1]"),
            (Tensor::i64([1, 4], vec![1; 3]), ones(3), "[1, 4]"),
            (Tensor::i64([1, 2], vec![-1, 1 << 40]), ones(2), "no tokens"),
            (Tensor::f32([1, 2], vec![1.0; 2]), ones(2), "whole numbers"),
        ] {
            let error = call(ids, mask).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let one = |name: &str| (name.to_owned(), ones(1));
        for (inputs, named) in [
            (vec![one(IDS)], "attention_mask"),
            (vec![one(IDS), one(IDS)], "twice"),
            (vec![one("token_type_ids")], "token_type_ids"),
        ] {
            assert!(text(inputs).unwrap_err().to_string().contains(named), "{named}");
        }
    }
}
