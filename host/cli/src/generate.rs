//! `trine generate`: a language model alone, without documents.

use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trine_inference::generation::{
    EndReason, GenerationEvent, GenerationRequest, Generations, Usage,
};
use trine_inference::text::Message;
use trine_node::LanguageModel;

use crate::args::{Common, Generate};
use crate::signals::told_to_stop;

/// Exit status where Ctrl-C ended the answer.
const INTERRUPTED: u8 = 130;
/// Tokens of an answer, where neither the user nor the model's context says less.
const MOST_TOKENS: usize = 512;

pub fn run(args: Generate, common: &Common) -> Result<ExitCode> {
    let name = common.language_model().context("name a language model with --model")?;
    let language_model = common.store()?.language_model(name)?;
    let request = request(&args, &language_model)?;
    let LanguageModel { name, model, tokenizer, .. } = language_model;
    let generations = Generations::start(model, Some(tokenizer), common.generation()?)?;
    let answer = crate::ask::runtime()?.block_on(answer(&generations, request, args.json))?;
    answer.print(&name, generations.device(), args.json);
    Ok(match answer.reason {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(INTERRUPTED),
    })
}

fn request(args: &Generate, language_model: &LanguageModel) -> Result<GenerationRequest> {
    let text = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
            text
        }
    };
    let prompt = if args.raw {
        language_model.tokenizer.encode(&text, true)?
    } else {
        let message = |role: &str, content| Message { role: role.to_owned(), content };
        let system = args.system.clone().map(|system| message("system", system));
        let messages: Vec<Message> = system.into_iter().chain([message("user", text)]).collect();
        language_model.prompt(&messages).context("the prompt (--raw gives it as it is)")?
    };
    let room = language_model.model.config().context.saturating_sub(prompt.len());
    let max_tokens = args.sampling.max_tokens.map(|most| most as usize);
    Ok(GenerationRequest {
        prompt,
        max_tokens: max_tokens.unwrap_or(MOST_TOKENS.min(room.max(1))),
        sampling: args.sampling.sampling(),
        stop: args.sampling.stop.clone(),
        ignore_end: false,
        logits: false,
    })
}

/// What came of a prompt.
struct Answer {
    text: String,
    /// `None` where the user ended it.
    reason: Option<EndReason>,
    usage: Usage,
    /// Seconds until the first token, and from it to the last.
    seconds: [f64; 2],
}

/// Makes an answer, which goes to standard output as it comes unless it is `quiet`.
async fn answer(
    generations: &Generations,
    request: GenerationRequest,
    quiet: bool,
) -> Result<Answer> {
    let prompt_tokens = request.prompt.len();
    let started = Instant::now();
    let mut generation = generations.generate(request).await?;
    let mut stopped = std::pin::pin!(told_to_stop());
    let mut answer = Answer {
        text: String::new(),
        reason: None,
        usage: Usage { prompt_tokens, ..Usage::default() },
        seconds: [0.0; 2],
    };
    loop {
        let event = tokio::select! {
            event = generation.next() => event,
            () = &mut stopped => return Ok(answer),
        };
        let elapsed = started.elapsed().as_secs_f64();
        let text = match event {
            Some(GenerationEvent::Token { text, .. }) => {
                answer.usage.generated_tokens += 1;
                match answer.usage.generated_tokens {
                    1 => answer.seconds[0] = elapsed,
                    _ => answer.seconds[1] = elapsed - answer.seconds[0],
                }
                text
            }
            Some(GenerationEvent::End { reason, text, usage }) => {
                (answer.reason, answer.usage) = (Some(reason), usage);
                text
            }
            Some(GenerationEvent::Logits { .. }) => bail!("it was asked for text"),
            Some(GenerationEvent::Failed(error)) => return Err(error.into()),
            None => bail!("the device has stopped"),
        };
        if !quiet {
            crate::out::text(&text);
        }
        answer.text.push_str(&text);
        if answer.reason.is_some() {
            return Ok(answer);
        }
    }
}

impl Answer {
    fn print(&self, model: &str, device: &str, json: bool) {
        if json {
            out!("{}", self.json(model, device));
            return;
        }
        out!("");
        let Usage { prompt_tokens, cached_tokens, generated_tokens } = self.usage;
        let [first, rest] = self.seconds;
        let cached = match cached_tokens {
            0 => String::new(),
            cached => format!(" ({cached} of them cached)"),
        };
        eprintln!("{prompt_tokens} tokens read{cached}, the first written after {first:.2} s");
        eprintln!("{generated_tokens} written, {:.1} a second", rate(generated_tokens, rest));
    }

    fn json(&self, model: &str, device: &str) -> Value {
        let Usage { prompt_tokens, cached_tokens, generated_tokens } = self.usage;
        let [first, rest] = self.seconds;
        json!({
            "model": model,
            "device": device,
            "text": self.text,
            "end": match self.reason {
                Some(EndReason::End) => "end",
                Some(EndReason::Stop) => "stop",
                Some(EndReason::Length) => "length",
                None => "interrupted",
            },
            "usage": {
                "prompt_tokens": prompt_tokens,
                "cached_tokens": cached_tokens,
                "generated_tokens": generated_tokens,
            },
            "first_token_ms": first * 1e3,
            "generated_tokens_per_second": rate(generated_tokens, rest),
        })
    }
}

/// Tokens a second after the first; 0 where there are no two.
fn rate(tokens: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { (tokens - 1) as f64 / seconds } else { 0.0 }
}
