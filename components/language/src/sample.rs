//! From logits to the next token.

/// How the next token is chosen. The default takes the likeliest.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the likeliest token.
    pub temperature: f32,
    /// Of how many of the likeliest tokens one is drawn; 0 is all.
    pub top_k: usize,
    /// The likeliest tokens are drawn from until they add up to this probability; 1 is all.
    pub top_p: f32,
    /// Tokens less likely than this part of the likeliest are left out; 0 leaves out none.
    pub min_p: f32,
    /// What the logits of tokens that the text has already are divided by, or multiplied if they are
    /// negative (Keskar et al. 2019); 1 is nothing.
    pub repetition_penalty: f32,
    /// Where the draws begin: the same seed, logits and options give the same tokens.
    pub seed: u64,
    /// Added to the logits of some tokens.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            logit_bias: Vec::new(),
        }
    }
}

/// An option out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {reason}")]
pub struct SamplingError {
    /// The option.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// More biases than any caller has use for.
const MOST_BIASES: usize = 4096;

impl Sampling {
    /// Refuses options out of their range.
    pub fn check(&self) -> Result<(), SamplingError> {
        let within = |name: &'static str, value: f32, least: f32, most: f32| match (least..=most)
            .contains(&value)
        {
            true => Ok(()),
            false => {
                let reason = format!("is {value}; it must be {least} to {most}");
                Err(SamplingError { name, reason })
            }
        };
        within("temperature", self.temperature, 0.0, 100.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        if self.logit_bias.len() > MOST_BIASES {
            let reason = format!("has {} tokens; at most {MOST_BIASES}", self.logit_bias.len());
            return Err(SamplingError { name: "logit_bias", reason });
        }
        self.logit_bias.iter().try_for_each(|&(_, bias)| within("logit_bias", bias, -1e4, 1e4))
    }
}

/// Chooses one text's tokens.
pub struct Sampler {
    options: Sampling,
    /// Of SplitMix64 (Steele, Lea & Flood 2014).
    state: u64,
    /// Whether each token of the vocabulary is in the text; empty where that does not matter.
    seen: Vec<bool>,
}

impl Sampler {
    /// For a text that begins with `prompt`.
    pub fn new(options: Sampling, vocabulary: usize, prompt: &[u32]) -> Sampler {
        let counts = options.repetition_penalty != 1.0;
        let seen = vec![false; if counts { vocabulary } else { 0 }];
        let mut sampler = Sampler { state: options.seed, options, seen };
        prompt.iter().for_each(|&token| sampler.see(token));
        sampler
    }

    fn see(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize) {
            *seen = true;
        }
    }

    /// The next token, which is then taken for a part of the text. The logits are left changed. Of
    /// equal ones the first is taken for the likeliest; what is not a number is never chosen.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        let Sampling { temperature, repetition_penalty, .. } = self.options;
        for logit in logits.iter_mut().filter(|logit| logit.is_nan()) {
            *logit = f32::NEG_INFINITY;
        }
        for &(token, bias) in &self.options.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        for (logit, _) in logits.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen) {
            let factor = repetition_penalty;
            *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
        }
        let token = match temperature > 0.0 {
            true => self.draw(logits),
            false => likeliest(logits),
        };
        self.see(token);
        token
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.options;
        let most = logits[likeliest(logits) as usize];
        if !most.is_finite() {
            return likeliest(logits);
        }
        // Relative to the likeliest: e^0 of that.
        let weight =
            |(token, logit): (usize, &f32)| (token as u32, ((logit - most) / temperature).exp());
        let mut tokens: Vec<(u32, f32)> = logits
            .iter()
            .enumerate()
            .map(weight)
            .filter(|(_, w)| *w > 0.0 && *w >= min_p)
            .collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..tokens.len()).contains(&top_k) {
            tokens.select_nth_unstable_by(top_k - 1, order);
            tokens.truncate(top_k);
        }
        if top_p < 1.0 {
            tokens.sort_unstable_by(order);
            let limit = f64::from(top_p) * sum(&tokens);
            let mut so_far = 0.0;
            let below = tokens.iter().take_while(|(_, w)| {
                let within = so_far < limit;
                so_far += f64::from(*w);
                within
            });
            let count = below.count().max(1);
            tokens.truncate(count);
        } else {
            // In the vocabulary's order, whatever the selection above left.
            tokens.sort_unstable_by_key(|(token, _)| *token);
        }
        let mut rest = self.uniform() * sum(&tokens);
        for &(token, weight) in &tokens {
            rest -= f64::from(weight);
            if rest < 0.0 {
                return token;
            }
        }
        tokens.last().map_or(0, |(token, _)| *token)
    }

    /// A number in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn sum(tokens: &[(u32, f32)]) -> f64 {
    tokens.iter().map(|(_, weight)| f64::from(*weight)).sum()
}

/// The first of the largest logits.
fn likeliest(logits: &[f32]) -> u32 {
    // Side by side, which the compiler makes vectors of: a vocabulary is long.
    let (parts, rest) = logits.as_chunks::<16>();
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; 16];
    for part in parts {
        most.iter_mut().zip(part).for_each(|(most, &logit)| *most = larger(*most, logit));
    }
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    logits.iter().position(|&logit| logit == most).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(options: Sampling, logits: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(options, logits.len(), &[]);
        let mut counts = vec![0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.sample(&mut logits.to_vec()) as usize] += 1;
        }
        counts
    }

    fn warm() -> Sampling {
        Sampling { temperature: 1.0, seed: 7, ..Sampling::default() }
    }

    #[test]
    fn draws_have_the_logits_probabilities() {
        // 1/2, 1/4, 1/8, 1/8.
        let logits = [8.0, 4.0, 2.0, 2.0].map(|x: f32| x.ln());
        for (found, expected) in
            counts(warm(), &logits).into_iter().zip([0.5f64, 0.25, 0.125, 0.125])
        {
            // Five deviations.
            let deviation = (20_000.0 * expected * (1.0 - expected)).sqrt();
            assert!((found as f64 - 20_000.0 * expected).abs() < 5.0 * deviation, "{found}");
        }
        let cold = counts(Sampling { temperature: 0.5, ..warm() }, &logits);
        // 64 : 16 : 4 : 4.
        assert!((cold[0] as f64 - 20_000.0 * 64.0 / 88.0).abs() < 350.0, "{cold:?}");
    }

    #[test]
    fn unlikely_tokens_are_left_out() {
        let logits = [4.0, 8.0, 2.0, 2.0].map(|x: f32| x.ln());
        let left = |options: Sampling| {
            let counts = counts(options, &logits);
            (0..4).filter(|&i| counts[i] > 0).collect::<Vec<_>>()
        };
        assert_eq!(left(warm()), [0, 1, 2, 3]);
        assert_eq!(left(Sampling { top_k: 2, ..warm() }), [0, 1]);
        assert_eq!(left(Sampling { top_k: 3, ..warm() }), [0, 1, 2], "of equal ones the first");
        assert_eq!(left(Sampling { top_p: 0.5, ..warm() }), [1]);
        assert_eq!(left(Sampling { top_p: 0.51, ..warm() }), [0, 1]);
        assert_eq!(left(Sampling { top_p: 0.0, ..warm() }), [1]);
        assert_eq!(left(Sampling { min_p: 0.3, ..warm() }), [0, 1]);
        assert_eq!(left(Sampling { min_p: 1.0, ..warm() }), [1]);
        assert_eq!(left(Sampling { temperature: 0.0, ..warm() }), [1]);
        let bias = vec![(0, -1e4), (1, -1e4), (9, 5.0)];
        assert_eq!(left(Sampling { logit_bias: bias, ..warm() }), [2, 3]);
    }

    #[test]
    fn what_was_said_becomes_less_likely() {
        let options = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        let mut sampler = Sampler::new(options, 3, &[2]);
        let mut next = || sampler.sample(&mut [1.5, 1.0, 2.0]);
        assert_eq!([next(), next(), next()], [0, 1, 2]);
        let options = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(Sampler::new(options, 2, &[0]).sample(&mut [-1.0, -1.5]), 1);
    }

    #[test]
    fn odd_logits_and_options_are_answered() {
        let mut sampler = Sampler::new(warm(), 3, &[]);
        assert_eq!(sampler.sample(&mut [f32::NAN, 1.0, f32::NEG_INFINITY]), 1);
        assert_eq!(sampler.sample(&mut [f32::NAN; 3]), 0);
        assert_eq!(sampler.sample(&mut [0.0, f32::INFINITY, 0.0]), 1);
        let bad = |options: Sampling| options.check().unwrap_err().to_string();
        assert!(bad(Sampling { temperature: -1.0, ..warm() }).contains("temperature"));
        assert!(bad(Sampling { temperature: f32::NAN, ..warm() }).contains("temperature"));
        assert!(bad(Sampling { top_p: 1.1, ..warm() }).contains("top_p"));
        assert!(bad(Sampling { repetition_penalty: 0.0, ..warm() }).contains("repetition_penalty"));
        assert!(bad(Sampling { logit_bias: vec![(1, f32::INFINITY)], ..warm() }).contains("bias"));
        warm().check().unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let tokens = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(Sampling { seed, ..warm() }, 100, &[]);
            (0..50).map(|_| sampler.sample(&mut [0.0; 100])).collect()
        };
        assert_eq!(tokens(1), tokens(1));
        assert_ne!(tokens(1), tokens(2));
    }
}
