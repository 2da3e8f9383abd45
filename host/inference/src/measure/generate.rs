//! How fast a decoder reads and writes.

use std::time::Instant;

use serde::Serialize;
use trine_kernels::DecoderDevice;
use trine_kernels::gpu::GpuOptions;

use crate::device::{self, DeviceChoice, Place};
use crate::generation::{Feed, SessionId, Sessions};
use crate::{DecoderModel, InferenceError, PrecisionOption};

/// What is measured.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Where.
    pub device: DeviceChoice,
    /// How a GPU is opened.
    pub gpu: GpuOptions,
    /// Threads of the CPU; 0 takes as many as the machine runs at once.
    pub threads: usize,
    /// In which numbers the CPU multiplies weights of 16 bits.
    pub precision: PrecisionOption,
    /// Tokens of the prompt that is read.
    pub prompt: usize,
    /// Tokens that are written, after a prompt of [`GenerateReport::generated_after`].
    pub generate: usize,
    /// Texts that are written side by side.
    pub sessions: usize,
    /// How often each is measured; the median counts.
    pub rounds: usize,
}

/// What was measured. Tokens are random; sampling and tokenizing are not a part of it.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateReport {
    /// The device in words.
    pub device: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub generated_tokens: usize,
    /// Tokens read before those that are written.
    pub generated_after: usize,
    /// Tokens of a prompt a second, read in parts of 512.
    pub prompt_tokens_per_second: f64,
    /// Seconds until all of the prompt is read and the next token's logits are there.
    pub prompt_seconds: f64,
    /// The same of a prompt that was read before.
    pub repeated_prompt_seconds: f64,
    /// Tokens a second, written one after another.
    pub generated_tokens_per_second: f64,
    /// Texts written side by side.
    pub sessions: usize,
    /// Tokens a second of all of them together.
    pub sessions_tokens_per_second: f64,
}

/// Tokens of a prompt that a step reads.
const PART: usize = 512;
/// Tokens before those that are written.
const BEFORE: usize = 64;

/// Measures a model on a device. Fails where the device is not there or has no room, and where the
/// model's context is too short.
pub fn generate(
    model: &DecoderModel,
    options: GenerateOptions,
) -> Result<GenerateReport, InferenceError> {
    let tokens = options.prompt.max(options.sessions * (BEFORE + options.generate)) + PART;
    match Place::find(options.device)? {
        Place::Cpu => {
            let device = device::open_cpu(options.threads, options.precision.here())?;
            Bench::new(device, model, tokens)?.run(&options)
        }
        Place::Gpu(index) => {
            let device = device::open_gpu(index, &options.gpu)?;
            Bench::new(device, model, tokens)?.run(&options)
        }
    }
}

struct Bench<D: DecoderDevice> {
    sessions: Sessions<D>,
    /// Of the tokens drawn so far.
    state: u64,
}

impl<D: DecoderDevice> Bench<D> {
    /// With a cache for twice so many tokens in f32.
    fn new(device: D, model: &DecoderModel, tokens: usize) -> Result<Bench<D>, InferenceError> {
        let config = model.config();
        let bytes = 2 * tokens * config.layers * config.heads.keys * config.heads.width * 8;
        Ok(Bench { sessions: Sessions::new(device, model, bytes)?, state: 1 })
    }

    fn run(mut self, options: &GenerateOptions) -> Result<GenerateReport, InferenceError> {
        let GenerateOptions { prompt, generate, sessions, rounds, .. } = *options;
        let mut figures = [const { Vec::new() }; 4];
        for _ in 0..rounds.max(1) {
            let tokens = self.draw(prompt);
            figures[0].push(self.read(&tokens)?);
            figures[1].push(self.read(&tokens)?);
            figures[2].push(self.write(1, generate)?);
            figures[3].push(self.write(sessions, generate)?);
        }
        let [first, repeated, one_rate, all_rate] = figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        });
        Ok(GenerateReport {
            device: self.sessions.device(),
            prompt_tokens: prompt,
            generated_tokens: generate,
            generated_after: BEFORE,
            prompt_tokens_per_second: prompt as f64 / first,
            prompt_seconds: first,
            repeated_prompt_seconds: repeated,
            generated_tokens_per_second: one_rate,
            sessions,
            sessions_tokens_per_second: all_rate,
        })
    }

    fn draw(&mut self, count: usize) -> Vec<u32> {
        let vocabulary = self.sessions.config().vocabulary;
        self.state += 1;
        let drawn = trine_kernels::parity::numbers(count, self.state);
        drawn
            .iter()
            .map(|x| ((x + 1.0) / 2.0 * vocabulary as f32) as u32 % vocabulary as u32)
            .collect()
    }

    /// Seconds to read a prompt, less what the cache has of it.
    fn read(&mut self, tokens: &[u32]) -> Result<f64, InferenceError> {
        let started = Instant::now();
        let (session, cached) = self.sessions.create(tokens);
        self.feed(session, &tokens[cached..])?;
        let taken = started.elapsed().as_secs_f64();
        self.sessions.end(session);
        Ok(taken)
    }

    fn feed(&mut self, session: SessionId, tokens: &[u32]) -> Result<(), InferenceError> {
        let parts = tokens.chunks(PART).count();
        for (index, tokens) in tokens.chunks(PART).enumerate() {
            let logits = index + 1 == parts;
            self.sessions.step(&[Feed { session, tokens, logits }])?;
        }
        Ok(())
    }

    /// Tokens a second of some texts together, each of which gets so many.
    fn write(&mut self, texts: usize, count: usize) -> Result<f64, InferenceError> {
        let ids: Vec<SessionId> = (0..texts).map(|_| self.sessions.create(&[]).0).collect();
        for &session in &ids {
            let before = self.draw(BEFORE);
            self.feed(session, &before)?;
        }
        let tokens = self.draw(texts * count);
        let started = Instant::now();
        for step in tokens.chunks(texts.max(1)) {
            let feed = |(&session, token)| Feed {
                session,
                tokens: std::slice::from_ref(token),
                logits: true,
            };
            let feeds: Vec<Feed> = ids.iter().zip(step).map(feed).collect();
            self.sessions.step(&feeds)?;
        }
        let rate = (texts * count) as f64 / started.elapsed().as_secs_f64();
        ids.into_iter().for_each(|session| self.sessions.end(session));
        Ok(rate)
    }
}
