//! Long prompts and requests that come to nothing: how much memory they take, and that all of it is
//! given back. Every byte that is allocated in this process is counted.

mod decoder_files;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use decoder_files::{Case, case, folder, gguf, open, plain};
use tokio::sync::mpsc;
use trine_inference::generation::{
    EndReason, GenerationEvent, GenerationOptions, GenerationRequest, Generations, Generator,
    GeneratorOptions, Sessions,
};
use trine_inference::text::{ChatTemplate, Message};
use trine_inference::{DecoderModel, DeviceChoice, InferenceError, Sampling};
use trine_kernels::gpu::{Adapter, GpuOptions};
use trine_kernels::{CpuDevice, DecoderDevice, PAGE};

/// The system's allocator, counting bytes.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system's own, of which this keeps count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(live, Ordering::Relaxed);
        // SAFETY: what the caller promises is what is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes are those of one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|failed| failed.into_inner())
}

/// The tiny Llama with room for long texts.
fn long_llama() -> Case {
    let mut case = case("llama");
    case.config["max_position_embeddings"] = (40 << 10).into();
    case
}

fn sessions(case: &Case, tokens: usize) -> Sessions<CpuDevice> {
    let files = folder(&case.config, &case.tensors());
    let bytes = tokens.div_ceil(PAGE) * 24_576;
    Sessions::new(CpuDevice::new(2).unwrap(), &open(files.path()), bytes).unwrap()
}

fn request(prompt: Vec<u32>, max_tokens: usize) -> GenerationRequest {
    let request = GenerationRequest { prompt, max_tokens, ..GenerationRequest::default() };
    GenerationRequest { ignore_end: true, ..request }
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * i % 317 % 320).collect()
}

/// Lines an answer up and makes it: the tokens and the end.
fn answer<D: DecoderDevice>(
    generator: &mut Generator<D>,
    request: GenerationRequest,
) -> (Vec<u32>, GenerationEvent) {
    let (sender, mut events) = mpsc::channel(request.max_tokens + 1);
    generator.submit(request, sender).unwrap();
    let mut tokens = Vec::new();
    loop {
        // An error is told as an event too.
        let _ = generator.step();
        while let Ok(event) = events.try_recv() {
            match event {
                GenerationEvent::Token { token, .. } => tokens.push(token),
                end => return (tokens, end),
            }
        }
    }
}

/// Bytes that reading a prompt takes at most, besides the cache, which is there before.
fn bytes_of(prompt: usize) -> usize {
    let sessions = sessions(&long_llama(), 33 << 10);
    let mut generator = Generator::new(sessions, None, GeneratorOptions::default());
    // Buffers that are used again and again are there then too.
    answer(&mut generator, request(vec![1; 600], 2));
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let (_, end) = answer(&mut generator, request(tokens(prompt), 2));
    assert!(matches!(end, GenerationEvent::End { reason: EndReason::Length, .. }), "{end:?}");
    MOST.load(Ordering::Relaxed) - before
}

#[test]
fn memory_grows_with_a_prompts_length_and_not_with_its_square() {
    let _alone = alone();
    let [shorter, longer] = [16 << 10, 32 << 10].map(bytes_of);
    println!("{shorter} bytes for 16k tokens, {longer} for 32k");
    assert!(longer <= 2 * shorter + (1 << 20), "{longer} bytes after {shorter}");
    // A row of scores for each token would be 4 GiB.
    assert!(longer < 16 << 20, "{longer}");
}

#[test]
fn a_repeated_prompt_is_not_read_again() {
    let _alone = alone();
    let sessions = sessions(&long_llama(), 8 << 10);
    let mut generator = Generator::new(sessions, None, GeneratorOptions::default());
    let prompt = tokens(4000);
    let (first, _) = answer(&mut generator, request(prompt.clone(), 20));
    let (again, end) = answer(&mut generator, request(prompt, 20));
    assert_eq!(first, again);
    let GenerationEvent::End { usage, .. } = end else { panic!("{end:?}") };
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (4000, 3999 / PAGE * PAGE));
    assert!((usage.prompt_tokens - usage.cached_tokens) * 5 <= usage.prompt_tokens);
}

/// One of the ways in which a request comes to nothing. `round` makes each unlike the others.
fn come_to_nothing(generator: &mut Generator<CpuDevice>, round: u32) {
    let (sender, events) = mpsc::channel(2000);
    let prompt: Vec<u32> = (0..90).map(|i| (i * 7 + round * 13) % 320).collect();
    let mut refused = |request| generator.submit(request, sender.clone()).unwrap_err();
    match round % 6 {
        // The caller goes away in the middle of it.
        0 => {
            generator.submit(request(prompt, 200), sender).unwrap();
            (0..4).for_each(|_| generator.step().unwrap());
            drop(events);
            generator.step().unwrap();
        }
        // It may have so many tokens and no more.
        1 => {
            let (tokens, end) = answer(generator, request(prompt, 3));
            let length = matches!(end, GenerationEvent::End { reason: EndReason::Length, .. });
            assert!(length && tokens.len() == 3, "{tokens:?}, {end:?}");
        }
        2 => assert_eq!(refused(request(prompt, 30_000)), InferenceError::CacheFull),
        3 => assert!(refused(request(prompt, 1 << 20)).to_string().contains("reads 40960")),
        4 => {
            let sampling = Sampling { top_p: f32::NAN, ..Sampling::default() };
            let wrong = GenerationRequest { sampling, ..request(prompt, 5) };
            assert!(refused(wrong).to_string().contains("top_p"));
        }
        _ => {
            let template = "{% for m in messages %}{{ m.content.nothing.at_all }}{% endfor %}";
            let template = ChatTemplate::new(template.to_owned(), String::new(), String::new());
            let message = Message { role: "user".to_owned(), content: round.to_string() };
            let failed = template.prompt(&[message]).unwrap_err().to_string();
            assert!(failed.contains("template"), "{failed}");
        }
    }
    assert!(generator.is_idle() && generator.sessions().is_empty());
}

#[test]
fn a_thousand_requests_that_come_to_nothing_leave_no_memory_behind() {
    let _alone = alone();
    let sessions = sessions(&long_llama(), 2 << 10);
    let mut generator = Generator::new(sessions, None, GeneratorOptions::default());
    // Until the cache is full of what may come again, and buffers are as large as they get.
    (0..300).for_each(|round| come_to_nothing(&mut generator, round));
    let before = LIVE.load(Ordering::Relaxed);
    (300..1300).for_each(|round| come_to_nothing(&mut generator, round));
    let after = LIVE.load(Ordering::Relaxed);
    println!("{before} bytes before, {after} after");
    assert!(after <= before + (64 << 10), "{before} bytes before, {after} after");
    let counts = generator.sessions().counts();
    assert_eq!(counts.free + counts.kept, counts.pages);
}

#[test]
fn a_model_whose_file_is_removed_answers_on() {
    let _alone = alone();
    let case = case("llama");
    let files = case.folder();
    let model = open(files.path());
    let options = GenerationOptions {
        device: DeviceChoice::Cpu,
        threads: 2,
        cache_bytes: 1 << 20,
        ..GenerationOptions::default()
    };
    let path = files.path().to_owned();
    files.close().unwrap();
    assert!(DecoderModel::open(&path).is_err());
    let generations = Generations::start(model, None, options).unwrap();
    let request = request(case.tokens.clone(), case.greedy.len());
    let mut generation = generations.generate_blocking(request).unwrap();
    let mut found = Vec::new();
    while let Some(GenerationEvent::Token { token, .. }) = generation.next_blocking() {
        found.push(token);
    }
    assert_eq!(found, case.greedy);
}

/// Whatever kind of file it is: what was to be read of it is an error, and the process lives.
#[test]
fn a_model_whose_file_is_cut_short_says_so() {
    let _alone = alone();
    let case = case("llama");
    let files = case.folder();
    let sessions = Sessions::new(CpuDevice::new(1).unwrap(), &open(files.path()), 1 << 20).unwrap();
    let mut generator = Generator::new(sessions, None, GeneratorOptions::default());
    let (whole, _) = answer(&mut generator, request(vec![1, 2], 3));
    assert_eq!(whole.len(), 3);
    let weights = files.path().join("model.safetensors");
    std::fs::File::options().write(true).open(weights).unwrap().set_len(100).unwrap();
    let (_, end) = answer(&mut generator, request(vec![1, 3], 3));
    let GenerationEvent::Failed(InferenceError::Failed(text)) = end else { panic!("{end:?}") };
    assert!(text.contains("file cannot be read"), "{text}");
    assert!(generator.is_idle());
}

/// As a device does that is opened anew.
#[test]
fn weights_of_a_file_that_was_cut_short_since_are_an_error() {
    let _alone = alone();
    let case = case("llama");
    let (files, (_kept, gguf)) = (case.folder(), gguf(&case.config, &case.tensors(), plain));
    for (path, file) in
        [(files.path(), files.path().join("model.safetensors")), (&gguf, gguf.clone())]
    {
        let model = open(path);
        let take = || Sessions::new(CpuDevice::new(1).unwrap(), &model, 1 << 20).map(drop);
        take().unwrap();
        let file = std::fs::File::options().write(true).open(file).unwrap();
        let whole = file.metadata().unwrap().len();
        for length in [whole / 2, 0] {
            file.set_len(length).unwrap();
            let error = take().unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}

#[test]
fn a_lost_device_fails_every_answer_with_a_word() {
    let _alone = alone();
    let Some(adapter) = Adapter::all().into_iter().next() else {
        return println!("skipped: no adapter (apt install mesa-vulkan-drivers)");
    };
    let files = case("llama").folder();
    let device = adapter.open(GpuOptions::default()).unwrap();
    let sessions = Sessions::new(device, &open(files.path()), 1 << 20).unwrap();
    let options = GeneratorOptions { answers: 1, ..GeneratorOptions::default() };
    let mut generator = Generator::new(sessions, None, options);
    let mut all: Vec<_> = (0..2)
        .map(|_| {
            let (sender, events) = mpsc::channel(100);
            generator.submit(request(vec![1, 2, 3], 50), sender).unwrap();
            events
        })
        .collect();
    generator.step().unwrap();
    generator.sessions().hardware().destroy();
    let lost = loop {
        // What was on its way may still arrive.
        if let Err(error) = generator.step() {
            break error;
        }
    };
    assert!(matches!(lost, InferenceError::DeviceLost(_)), "{lost}");
    for events in &mut all {
        let mut last = None;
        while let Ok(event) = events.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(GenerationEvent::Failed(lost.clone())), "under way or waiting");
    }
    assert!(generator.is_idle());
}

#[test]
fn operators_read_what_became_of_answers() {
    let _alone = alone();
    let files = case("llama").folder();
    let options = GenerationOptions {
        device: DeviceChoice::Cpu,
        cache_bytes: 1 << 20,
        ..GenerationOptions::default()
    };
    let generations = Generations::start(open(files.path()), None, options).unwrap();
    for _ in 0..2 {
        let mut generation = generations.generate_blocking(request(tokens(100), 4)).unwrap();
        while generation.next_blocking().is_some() {}
    }
    // Told after what it counts.
    futures::executor::block_on(generations.counts()).unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    generations.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "answers_total{outcome=\"Length\"} 2",
        "prompt_tokens_total 200",
        "cached_tokens_total 96",
        "generated_tokens_total 8",
        "first_token_seconds_count 2",
        "under_way 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}
