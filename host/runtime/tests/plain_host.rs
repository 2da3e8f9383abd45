//! The decoder component on a host that has wasi:nn and nothing else: a few lines of wasmtime, and a
//! model that computes the logits after some tokens, all of them anew each time.

#[path = "../../inference/tests/decoder_files/mod.rs"]
mod decoder_files;

use serde_json::json;
use trine_components::DECODER;
use trine_inference::generation::{
    EndReason, Feed, GenerationEvent, GenerationOptions, GenerationRequest, Generations, Sessions,
};
use trine_inference::text::{Message, TextTokenizer};
use trine_inference::{DecoderModel, DeviceChoice, Sampling};
use trine_kernels::CpuDevice;
use trine_runtime::snapshot::{Part, snapshot};
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceAny, ResourceTable};
use wasmtime::{Engine, Store};

use bindings::exports::trine::inference::generation::{self as wit, Event, Finish, Input};
use bindings::wasi::nn::{errors, graph, inference, tensor};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "trine:rag/decoder-component",
        imports: { default: trappable },
        with: {
            "wasi:nn/tensor.tensor": super::Tensor,
            "wasi:nn/errors.error": super::Refusal,
            "wasi:nn/graph.graph": super::Graph,
            "wasi:nn/inference.graph-execution-context": super::Graph,
        },
    });
}

/// Its dimensions, type and bytes.
pub struct Tensor(Vec<u32>, tensor::TensorType, Vec<u8>);

/// Why something was refused.
pub struct Refusal(String);

/// The one model that there is.
pub struct Graph;

/// The host.
struct Plain {
    table: ResourceTable,
    sessions: Sessions<CpuDevice>,
    /// Tokens of each call.
    calls: Vec<usize>,
}

type Fallible<T> = wasmtime::Result<Result<T, Resource<Refusal>>>;

impl errors::Host for Plain {}
impl errors::HostError for Plain {
    fn code(&mut self, _: Resource<Refusal>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(errors::ErrorCode::NotFound)
    }

    fn data(&mut self, error: Resource<Refusal>) -> wasmtime::Result<String> {
        Ok(self.table.get(&error)?.0.clone())
    }

    fn drop(&mut self, error: Resource<Refusal>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl tensor::Host for Plain {}
impl tensor::HostTensor for Plain {
    fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: tensor::TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<Tensor>> {
        Ok(self.table.push(Tensor(dimensions, ty, data))?)
    }

    fn dimensions(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.table.get(&tensor)?.0.clone())
    }

    fn ty(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<tensor::TensorType> {
        Ok(self.table.get(&tensor)?.1)
    }

    fn data(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&tensor)?.2.clone())
    }

    fn drop(&mut self, tensor: Resource<Tensor>) -> wasmtime::Result<()> {
        self.table.delete(tensor)?;
        Ok(())
    }
}

impl graph::Host for Plain {
    fn load(
        &mut self,
        _: Vec<Vec<u8>>,
        _: graph::GraphEncoding,
        _: graph::ExecutionTarget,
    ) -> Fallible<Resource<Graph>> {
        unreachable!("models are loaded by name")
    }

    fn load_by_name(&mut self, name: String) -> Fallible<Resource<Graph>> {
        match name == "tiny" {
            true => Ok(Ok(self.table.push(Graph)?)),
            false => Ok(Err(self.table.push(Refusal(format!("no {name} here")))?)),
        }
    }
}

impl graph::HostGraph for Plain {
    fn init_execution_context(&mut self, _: Resource<Graph>) -> Fallible<Resource<Graph>> {
        Ok(Ok(self.table.push(Graph)?))
    }

    fn drop(&mut self, graph: Resource<Graph>) -> wasmtime::Result<()> {
        self.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for Plain {}
impl inference::HostGraphExecutionContext for Plain {
    fn compute(
        &mut self,
        _: Resource<Graph>,
        inputs: Vec<(String, Resource<Tensor>)>,
    ) -> Fallible<Vec<(String, Resource<Tensor>)>> {
        let names: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["input_ids", "attention_mask"]);
        let mut rows = Vec::new();
        for (_, tensor) in inputs {
            let Tensor(dimensions, ty, data) = self.table.delete(tensor)?;
            assert_eq!((dimensions.len(), dimensions[0], ty), (2, 1, tensor::TensorType::I64));
            let row = data.as_chunks::<8>().0.iter().map(|id| i64::from_le_bytes(*id) as u32);
            rows.push(row.collect::<Vec<u32>>());
        }
        assert!(rows[0].len() == rows[1].len() && rows[1].iter().all(|&one| one == 1));
        self.calls.push(rows[0].len());
        // Of two tokens, as exported models give those of all.
        let (session, _) = self.sessions.create(&[]);
        let feed = Feed { session, tokens: &rows[0], logits: true };
        let logits = self.sessions.step(&[feed]).unwrap().remove(0).unwrap().to_vec();
        self.sessions.end(session);
        let dimensions = vec![1, 2, logits.len() as u32];
        let other = vec![9e9; logits.len()];
        let data = other.iter().chain(&logits).flat_map(|x: &f32| x.to_le_bytes()).collect();
        let logits = Tensor(dimensions, tensor::TensorType::Fp32, data);
        Ok(Ok(vec![("logits".to_owned(), self.table.push(logits)?)]))
    }

    fn drop(&mut self, context: Resource<Graph>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}

/// The component, filled for a model and started.
struct Guest {
    store: Store<Plain>,
    decoder: bindings::DecoderComponent,
}

impl Guest {
    fn start(model: &DecoderModel, tokenizer: &TextTokenizer) -> Guest {
        let setup = json!({
            "model": "tiny",
            "context": model.config().context,
            "ends": model.config().ends,
            "template": model.chat_template().unwrap(),
        });
        let parts = vec![
            Part::bytes("setup", setup.to_string().into_bytes()),
            Part::bytes("tokenizer", tokenizer.json().unwrap().into_bytes()),
        ];
        let filled = snapshot("decoder", DECODER.bytes, parts).unwrap();
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        errors::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Plain| host).unwrap();
        tensor::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Plain| host).unwrap();
        graph::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Plain| host).unwrap();
        inference::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Plain| host).unwrap();
        let device = CpuDevice::new(1).unwrap();
        let sessions = Sessions::new(device, model, 8 << 20).unwrap();
        let host = Plain { table: ResourceTable::new(), sessions, calls: vec![] };
        let mut store = Store::new(&engine, host);
        let component = Component::new(&engine, filled).unwrap();
        let decoder = bindings::DecoderComponent::instantiate(&mut store, &component, &linker);
        let decoder = decoder.unwrap();
        Guest { store, decoder }
    }

    fn session(&mut self, input: &Input) -> Result<ResourceAny, wit::Error> {
        let sessions = self.decoder.trine_inference_generation().session();
        let session = sessions.call_create(&mut self.store, "tiny").unwrap()?;
        sessions.call_prefill(&mut self.store, session, input).unwrap()?;
        Ok(session)
    }

    /// What is written on from a session: tokens, text, and the end.
    fn write(
        &mut self,
        session: ResourceAny,
        options: &wit::Options,
    ) -> Result<(Vec<u32>, String, wit::Completed), wit::Error> {
        let generation = self.decoder.trine_inference_generation();
        let completion = generation.session().call_decode(&mut self.store, session, options);
        let completion = completion.unwrap()?;
        let (mut tokens, mut all) = (Vec::new(), String::new());
        loop {
            let next = generation.completion().call_next(&mut self.store, completion).unwrap()?;
            match next {
                Event::Piece(piece) => {
                    tokens.push(piece.token);
                    all.push_str(&piece.text);
                }
                Event::Rest(text) => all.push_str(&text),
                Event::End(completed) => return Ok((tokens, all, completed)),
            }
        }
    }
}

/// The same by the host's own generator, with a cache.
fn expected(
    generations: &Generations,
    request: GenerationRequest,
) -> (Vec<u32>, String, EndReason, usize) {
    let mut generation = generations.generate_blocking(request).unwrap();
    let (mut tokens, mut all) = (Vec::new(), String::new());
    loop {
        match generation.next_blocking().unwrap() {
            GenerationEvent::Token { token, text } => {
                tokens.push(token);
                all.push_str(&text);
            }
            GenerationEvent::End { reason, text, usage } => {
                all.push_str(&text);
                return (tokens, all, reason, usage.prompt_tokens);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn options(max_tokens: u32, stop: &[String], sampling: &Sampling) -> wit::Options {
    let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed, .. } = *sampling;
    let logit_bias = sampling.logit_bias.clone();
    let top_k = top_k as u32;
    let sampling =
        wit::Sampling { temperature, top_k, top_p, min_p, repetition_penalty, seed, logit_bias };
    wit::Options { max_tokens, stop: stop.to_vec(), sampling }
}

#[test]
fn the_same_is_written_with_and_without_trine_inference() {
    let (_folder, model) = decoder_files::with_tokenizer();
    let tokenizer = std::sync::Arc::new(model.tokenizer().unwrap());
    let mut guest = Guest::start(&model, &tokenizer);
    let template = model.chat_template().unwrap().unwrap();
    let own = GenerationOptions {
        device: DeviceChoice::Cpu,
        threads: 1,
        cache_bytes: 8 << 20,
        ..GenerationOptions::default()
    };
    let generations = Generations::start(model, Some(tokenizer.clone()), own).unwrap();
    let said = [("system", "hi the"), ("user", "the é hi")];
    let messages = said.map(|(role, content)| (role.to_owned(), content.to_owned()));
    let message = |(role, content)| Message { role, content };
    let prompt = template.prompt(&messages.clone().map(message)).unwrap();
    let prompt = tokenizer.encode(&prompt, false).unwrap();
    let message = |(role, content)| wit::Message { role, content };
    let chat = Input::Chat(messages.map(message).to_vec());
    let warm = Sampling {
        temperature: 1.5,
        top_p: 0.9,
        repetition_penalty: 1.2,
        seed: 4,
        logit_bias: vec![(7, 2.0)],
        ..Sampling::default()
    };
    let mut whole = String::new();
    for sampling in [Sampling::default(), warm] {
        let stops: Vec<String> = whole.chars().skip(9).take(2).map(String::from).collect();
        for stop in [vec![], stops] {
            let request = GenerationRequest {
                prompt: prompt.clone(),
                max_tokens: 40,
                sampling: sampling.clone(),
                stop: stop.clone(),
                ignore_end: false,
                logits: false,
            };
            let (tokens, text, reason, read) = expected(&generations, request);
            let session = guest.session(&chat).unwrap();
            let options = options(40, &stop, &sampling);
            let written = guest.write(session, &options).unwrap();
            assert_eq!((&written.0, &written.1), (&tokens, &text), "{sampling:?} {stop:?}");
            let finish = match reason {
                EndReason::End => Finish::End,
                EndReason::Stop => Finish::Stop,
                EndReason::Length => Finish::Length,
            };
            assert_eq!(written.2.finish, finish);
            let usage = written.2.usage;
            assert_eq!((usage.prompt_tokens as usize, usage.cached_tokens), (read, 0));
            assert_eq!(usage.generated_tokens as usize, tokens.len());
            whole = text;
        }
    }
    // All that was read is read again for each token.
    let calls = &guest.store.data().calls;
    assert_eq!(calls[..3], [prompt.len(), prompt.len() + 1, prompt.len() + 2]);
}

#[test]
fn what_cannot_be_is_refused() {
    let (_folder, model) = decoder_files::with_tokenizer();
    let tokenizer = model.tokenizer().unwrap();
    let mut guest = Guest::start(&model, &tokenizer);
    let plain = Sampling::default();
    let generation = guest.decoder.trine_inference_generation();
    let models = generation.call_models(&mut guest.store).unwrap();
    assert_eq!((models[0].name.as_str(), models[0].context, models[0].chat), ("tiny", 512, true));
    let unknown = generation.session().call_create(&mut guest.store, "other").unwrap();
    assert!(matches!(unknown, Err(wit::Error::UnknownModel(text)) if text.contains("tiny")));
    let long = Input::Tokens(vec![5; 512]);
    assert!(
        matches!(guest.session(&long), Err(wit::Error::InvalidInput(text)) if text.contains("512"))
    );
    let session = guest.session(&Input::Text("hi".to_owned())).unwrap();
    let wrong = Sampling { temperature: -1.0, ..plain.clone() };
    for options in [
        options(0, &[], &plain),
        options(5, &[], &wrong),
        options(5, &vec!["x".to_owned(); 17], &plain),
    ] {
        let refused = guest.write(session, &options);
        assert!(matches!(refused, Err(wit::Error::InvalidInput(_))), "{refused:?}");
    }
    // The context ends the text, and a fork is a text of its own.
    let session = guest.session(&Input::Tokens(vec![5; 508])).unwrap();
    let sessions = guest.decoder.trine_inference_generation().session();
    let fork = sessions.call_fork(&mut guest.store, session).unwrap();
    for session in [session, fork] {
        let (tokens, _, end) = guest.write(session, &options(9, &[], &plain)).unwrap();
        assert!(tokens.len() <= 4 && end.usage.prompt_tokens == 508, "{end:?}");
    }
}
