//! Answers side by side: each as if it were alone, ended when it should, and nothing left behind.

mod decoder_files;

use std::sync::Arc;

use decoder_files::{case, open, with_tokenizer};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use trine_inference::generation::{
    EndReason, Feed, Generation, GenerationEvent, GenerationOptions, GenerationRequest,
    Generations, Generator, GeneratorOptions, Sessions, Usage,
};
use trine_inference::gguf::Gguf;
use trine_inference::{
    DeviceChoice, Engine, EngineOptions, Graphs, InferenceError, Model, Sampling, Tensor, View,
};
use trine_kernels::{CpuDevice, PAGE};

fn generator(cache: usize, options: GeneratorOptions) -> Generator<CpuDevice> {
    let folder = case("llama").folder();
    let device = CpuDevice::new(2).unwrap();
    let sessions = Sessions::new(device, &open(folder.path()), cache).unwrap();
    Generator::new(sessions, None, options)
}

fn request(prompt: &[u32], max_tokens: usize) -> GenerationRequest {
    GenerationRequest {
        prompt: prompt.to_vec(),
        max_tokens,
        ignore_end: true,
        ..GenerationRequest::default()
    }
}

type Events = mpsc::Receiver<GenerationEvent>;

fn submit(generator: &mut Generator<CpuDevice>, request: GenerationRequest) -> Events {
    let (sender, events) = mpsc::channel(1000);
    generator.submit(request, sender).unwrap();
    events
}

/// The tokens so far, and the end if it has come.
fn read(events: &mut Events) -> (Vec<u32>, Option<GenerationEvent>) {
    let mut tokens = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            GenerationEvent::Token { token, .. } => tokens.push(token),
            end => return (tokens, Some(end)),
        }
    }
    (tokens, None)
}

fn run(generator: &mut Generator<CpuDevice>) {
    for _ in 0..10_000 {
        if generator.is_idle() {
            return;
        }
        generator.step().unwrap();
    }
    panic!("it never ends");
}

#[test]
fn answers_side_by_side_are_those_of_each_alone() {
    let case = case("llama");
    let prompts: Vec<Vec<u32>> =
        [3, 64, 150, 33, 64].iter().map(|n| (0..*n).map(|i| i * 37 % 320).collect()).collect();
    let warm = Sampling {
        temperature: 1.0,
        top_k: 40,
        repetition_penalty: 1.1,
        seed: 5,
        ..Sampling::default()
    };
    let requests: Vec<GenerationRequest> = prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| GenerationRequest {
            sampling: if i % 2 == 0 { warm.clone() } else { Sampling::default() },
            ..request(prompt, 20 + i)
        })
        .collect();
    let alone: Vec<Vec<u32>> = requests
        .iter()
        .map(|request| {
            let mut generator = generator(64 << 20, GeneratorOptions::default());
            let mut events = submit(&mut generator, request.clone());
            run(&mut generator);
            read(&mut events).0
        })
        .collect();
    let options = GeneratorOptions {
        prompt_tokens: 50,
        prompt_tokens_beside: 7,
        ..GeneratorOptions::default()
    };
    let mut generator = generator(64 << 20, options);
    let mut all = Vec::new();
    for request in &requests {
        all.push(submit(&mut generator, request.clone()));
        generator.step().unwrap();
    }
    run(&mut generator);
    for ((events, alone), request) in all.iter_mut().zip(&alone).zip(&requests) {
        let (tokens, end) = read(events);
        assert_eq!((&tokens, tokens.len()), (alone, request.max_tokens));
        let Some(GenerationEvent::End { reason, usage, .. }) = end else { panic!("{end:?}") };
        assert_eq!(reason, EndReason::Length);
        assert_eq!(usage.prompt_tokens, request.prompt.len());
        assert_eq!(usage.generated_tokens, request.max_tokens);
    }
    assert!(generator.sessions().is_empty());
    // Greedy text is transformers'.
    let mut events = submit(&mut generator, request(&case.tokens, 40));
    run(&mut generator);
    assert_eq!(read(&mut events).0, case.greedy);
    let counts = generator.sessions().counts();
    assert_eq!(counts.free + counts.kept, counts.pages);
}

#[test]
fn a_prompt_is_read_beside_answers_and_stalls_none() {
    let options = GeneratorOptions {
        prompt_tokens: 64,
        prompt_tokens_beside: 16,
        ..GeneratorOptions::default()
    };
    let mut generator = generator(64 << 20, options);
    let mut first = submit(&mut generator, request(&[1, 2, 3], 100));
    generator.step().unwrap();
    let long: Vec<u32> = (0..160).collect();
    let mut second = submit(&mut generator, request(&long, 5));
    assert_eq!(read(&mut first).0.len(), 1);
    for _ in 0..9 {
        generator.step().unwrap();
        assert_eq!(read(&mut first).0.len(), 1, "a token in each step");
        assert!(read(&mut second).0.is_empty());
    }
    generator.step().unwrap();
    assert_eq!(read(&mut second).0.len(), 1, "160 tokens are ten parts of 16");
}

#[test]
fn an_answer_whose_caller_is_gone_ends_within_a_step() {
    let mut generator = generator(64 << 20, GeneratorOptions::default());
    for round in 0..200 {
        let events = submit(&mut generator, request(&[1, 2, round], 100));
        generator.step().unwrap();
        assert_eq!(generator.sessions().len(), 1);
        drop(events);
        generator.step().unwrap();
        assert!(generator.sessions().is_empty() && generator.is_idle());
    }
    let counts = generator.sessions().counts();
    assert_eq!(counts.free + counts.kept, counts.pages);
}

#[test]
fn answers_wait_for_room_and_are_refused_where_there_never_is_any() {
    // Four pages of 24 KiB: two layers of two heads, each 16 columns of keys and a panel of values.
    let options = GeneratorOptions { waiting: 3, ..GeneratorOptions::default() };
    let mut generator = generator(100_000, options);
    let pages = generator.sessions().counts().pages;
    let (sender, _events) = mpsc::channel(9);
    let refused = generator.submit(request(&[1; 100], pages * 32), sender.clone());
    assert_eq!(refused, Err(InferenceError::CacheFull));
    let mut all: Vec<Events> =
        (0..3).map(|i| submit(&mut generator, request(&[i; 40], (pages - 2) * 32))).collect();
    let busy = generator.submit(request(&[1], 1), sender);
    assert!(matches!(busy, Err(InferenceError::Busy { waiting: 3 })), "{busy:?}");
    generator.step().unwrap();
    assert_eq!(generator.sessions().len(), 1, "the others wait");
    run(&mut generator);
    for events in &mut all {
        assert_eq!(read(events).0.len(), (pages - 2) * 32);
    }
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut generator = generator(64 << 20, GeneratorOptions::default());
    let mut refused = |request: GenerationRequest| {
        let (sender, _events) = mpsc::channel(9);
        generator.submit(request, sender).unwrap_err().to_string()
    };
    assert!(refused(request(&[], 5)).contains("prompt"));
    assert!(refused(request(&[1], 0)).contains("max_tokens"));
    assert!(refused(request(&[1; 500], 13)).contains("512"));
    assert!(refused(request(&[1], usize::MAX)).contains("512"));
    let stop = vec!["x".to_owned()];
    assert!(refused(GenerationRequest { stop, ..request(&[1], 5) }).contains("tokenizer"));
    let sampling = Sampling { temperature: -1.0, ..Sampling::default() };
    assert!(refused(GenerationRequest { sampling, ..request(&[1], 5) }).contains("temperature"));
    assert!(refused(request(&[1, 400], 5)).contains("400 is none of the vocabulary's 320"));
    assert!(generator.is_idle());
}

#[test]
fn a_gguf_brings_its_tokenizer_and_template() {
    let (_folder, model) = with_tokenizer();
    let gguf: &Gguf = model.gguf().unwrap();
    assert!(gguf.get("tokenizer.ggml.scores").is_some());
    let tokenizer = model.tokenizer().unwrap();
    let names = |text: &str| -> Vec<String> {
        let tokens = tokenizer.encode(text, true).unwrap();
        tokens.iter().map(|&token| tokenizer.name(token).unwrap()).collect()
    };
    // `hi` scores above `he`, so it is merged first.
    assert_eq!(names("hi the"), ["<s>", "▁hi", "▁the"]);
    assert_eq!(names("é"), ["<s>", "▁", "<0xC3>", "<0xA9>"]);
    for text in ["hi the hi", "é 🦀 the", "  two", ""] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, true).unwrap()).unwrap(), text);
    }
    let template = model.chat_template().unwrap().unwrap();
    let message = trine_inference::text::Message { role: "user".into(), content: "hi".into() };
    assert_eq!(template.prompt(&[message]).unwrap(), "<s>hi</s>");
}

/// All of an answer: its text, its tokens, and its end.
fn collect(mut generation: Generation) -> (String, usize, GenerationEvent) {
    let (mut all, mut count) = (String::new(), 0);
    while let Some(event) = generation.next_blocking() {
        match event {
            GenerationEvent::Token { text, .. } => {
                all.push_str(&text);
                count += 1;
            }
            GenerationEvent::End { ref text, .. } => {
                all.push_str(text);
                return (all, count, event);
            }
            failed @ (GenerationEvent::Failed(_) | GenerationEvent::Logits { .. }) => {
                return (all, count, failed);
            }
        }
    }
    panic!("an answer without an end");
}

#[test]
fn logits_are_those_of_a_session_and_the_cache_helps() {
    let (_folder, model) = with_tokenizer();
    let prompt: Vec<u32> = (0..2 * PAGE as u32 + 5).map(|i| i * 7 % 60).collect();
    let mut sessions = Sessions::new(CpuDevice::new(1).unwrap(), &model, 8 << 20).unwrap();
    let (session, _) = sessions.create(&[]);
    let feed = Feed { session, tokens: &prompt, logits: true };
    let expected = sessions.step(&[feed]).unwrap().remove(0).unwrap().to_vec();
    let sessions = Sessions::new(CpuDevice::new(1).unwrap(), &model, 8 << 20).unwrap();
    let mut generator = Generator::new(sessions, None, GeneratorOptions::default());
    for cached_tokens in [0, 2 * PAGE] {
        let request = GenerationRequest {
            prompt: prompt.clone(),
            logits: true,
            ..GenerationRequest::default()
        };
        let mut events = submit(&mut generator, request);
        run(&mut generator);
        let usage = Usage { prompt_tokens: prompt.len(), cached_tokens, generated_tokens: 0 };
        let logits = GenerationEvent::Logits { logits: expected.clone(), usage };
        assert_eq!(read(&mut events), (vec![], Some(logits)));
    }
}

#[test]
fn a_thread_makes_answers_of_text_for_many_callers() {
    let (_folder, model) = with_tokenizer();
    let tokenizer = Arc::new(model.tokenizer().unwrap());
    let options = GenerationOptions {
        device: DeviceChoice::Cpu,
        cache_bytes: 8 << 20,
        ..GenerationOptions::default()
    };
    let generations = Generations::start(model, Some(tokenizer.clone()), options).unwrap();
    assert!(generations.device().contains("CPU"));
    let prompt = tokenizer.encode("hi the", true).unwrap();
    let ask = |stop: Vec<String>| {
        generations.generate_blocking(GenerationRequest { stop, ..request(&prompt, 30) }).unwrap()
    };
    let (whole, count, end) = collect(ask(vec![]));
    assert_eq!(count, 30);
    assert!(matches!(end, GenerationEvent::End { reason: EndReason::Length, .. }));
    let stop: String = whole.chars().skip(12).take(3).collect();
    let at = whole.find(&stop).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (text, _, end) = collect(ask(vec![stop.clone()]));
                assert_eq!(text, whole[..at]);
                assert!(matches!(end, GenerationEvent::End { reason: EndReason::Stop, .. }));
                // Dropped at once: others do not wait for it.
                drop(ask(vec![]));
            });
        }
    });
    let counts = futures::executor::block_on(generations.counts()).unwrap();
    assert_eq!(counts.pages, (8 << 20) / 24576);
    let refused = generations.generate_blocking(request(&[], 5)).unwrap_err();
    assert!(refused.to_string().contains("prompt"), "{refused}");
    // Ends with answers under way.
    let _under_way = ask(vec![]);
    drop(generations);
}

/// An engine of an encoder on the CPU.
fn engine() -> Engine {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-cross-encoder");
    let mut graphs = Graphs::new();
    graphs.insert("cross", Arc::new(Model::open(folder).unwrap()), View::CrossEncoder).unwrap();
    let device = DeviceChoice::Cpu;
    Engine::start(graphs, EngineOptions { device, ..EngineOptions::default() }).unwrap()
}

/// Batches and steps that an engine's device has done.
fn done(engine: &Engine) -> usize {
    let (mut registry, mut text) = (Registry::default(), String::new());
    engine.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find(|line| line.contains("outcome=\"Done\""));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn steps_have_their_turns_in_the_line_of_a_shared_device() {
    let case = case("llama");
    let files = case.folder();
    let options = GenerationOptions {
        device: DeviceChoice::Cpu,
        cache_bytes: 8 << 20,
        ..GenerationOptions::default()
    };
    let generations = Generations::start(open(files.path()), None, options).unwrap();
    let engine = engine();
    generations.share(&engine);
    let write = || {
        let wanted = request(&case.tokens, case.greedy.len());
        let mut generation = generations.generate_blocking(wanted).unwrap();
        let mut tokens = Vec::new();
        while let Some(GenerationEvent::Token { token, .. }) = generation.next_blocking() {
            tokens.push(token);
        }
        tokens
    };
    let ids = |name: &str| (name.to_owned(), Tensor::i64(vec![1, 3], vec![1; 3]));
    let call = || {
        let inputs = vec![ids("input_ids"), ids("attention_mask")];
        engine.compute_blocking("cross", inputs).unwrap();
    };
    std::thread::scope(|scope| {
        let written = scope.spawn(write);
        (0..20).for_each(|_| call());
        assert_eq!(written.join().unwrap(), case.greedy);
    });
    // The last token is sent within its step; a call behind the step ends when the step is counted.
    call();
    let steps = done(&engine) - 21;
    assert!(steps >= case.greedy.len(), "{steps}");
    // What has nobody to share with goes on alone.
    drop(engine);
    assert_eq!(write(), case.greedy);
}
