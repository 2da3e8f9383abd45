//! The model, the bundles and the servers that tests share: each made once a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::{env, fs};

use tokio::sync::oneshot;
use trine_inference::gpu::Adapter;
use trine_inference::{DeviceChoice, EngineOptions, PrecisionOption};
use trine_node::{
    Bm25, BuildOptions, Chunking, Input, LexicalOptions, ModelStore, Node, NodeError, OpenOptions,
};
use trine_runtime::server::Server;
use trine_runtime::{AppOptions, Limits, Site};

/// The model that everything here is indexed with.
pub const MODEL: &str = "all-MiniLM-L6-v2";

/// The application with a component that misbehaves beside the gateway.
const MISBEHAVING_APP: &str = r#"
spin_manifest_version = 2

[application]
name = "misbehaving"

[[trigger.http]]
route = "/misbehave/..."
component = "misbehaving"

[[trigger.http]]
route = "/..."
component = "gateway"

[component.misbehaving]
source = "misbehaving.wasm"

[component.gateway]
source = "gateway.wasm"

[component.gateway.dependencies]
"trine:rag/retriever@0.1.0" = { path = "retriever.wasm" }
"trine:rag/reranker@0.1.0" = { path = "reranker.wasm" }
"trine:rag/generator@0.1.0" = { path = "generator.wasm" }
"#;

/// Where this crate lies.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents that [`bundle`] holds.
pub fn corpus() -> PathBuf {
    here().join("corpus")
}

/// A folder of the target folder for what tests make; kept, so that compiled code is reused.
pub fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trine-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The cache folder that tests use: no model lies in it.
pub fn cache() -> PathBuf {
    scratch().join("cache")
}

/// The model's folder: `TRINE_TEST_MODEL`, or where `trine models pull` puts it.
pub fn model() -> Option<&'static Path> {
    static MODEL_FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = MODEL_FOLDER.get_or_init(|| {
        let caches = [
            env::var_os("TRINE_CACHE").map(PathBuf::from),
            env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("trine")),
            env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/trine")),
        ];
        let pulled = caches.into_iter().flatten().map(|cache| cache.join("models").join(MODEL));
        let named = env::var_os("TRINE_TEST_MODEL").map(PathBuf::from);
        named.into_iter().chain(pulled).find(|folder| folder.join("config.json").is_file())
    });
    if found.is_none() {
        println!("skipped: no model; run `trine models pull` or set TRINE_TEST_MODEL");
    }
    found.as_deref()
}

/// The folder of documents and collections that are not ours to carry.
pub fn shared() -> Option<PathBuf> {
    let beside = || here().ancestors().nth(2).map(|folder| folder.join("shared"));
    let folder = env::var_os("TRINE_SHARED").map(PathBuf::from).or_else(beside);
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: no shared documents; set TRINE_SHARED");
    }
    found
}

/// Models by name, for `folder` as [`MODEL`]; nothing is downloaded.
pub fn store(folder: &Path) -> ModelStore {
    ModelStore {
        cache: cache(),
        folders: BTreeMap::from([(MODEL.to_owned(), folder.to_owned())]),
        weight_cache: true,
        on_event: Box::new(|_| ()),
    }
}

/// How tests compute: on the CPU in f32, as all machines can.
pub fn engine() -> EngineOptions {
    let (device, precision) = (DeviceChoice::Cpu, PrecisionOption::F32);
    EngineOptions { device, precision, threads: 2, ..EngineOptions::default() }
}

/// The first adapter of this machine, software or not, to be used as a GPU. None is a failure
/// where the environment says that there is one.
pub fn gpu() -> Option<DeviceChoice> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let adapters = Adapter::all();
        for adapter in &adapters {
            println!("adapter: {} ({}, {})", adapter.name(), adapter.driver(), adapter.kind());
        }
        !adapters.is_empty()
    });
    let wanted = env::var_os("TRINE_REQUIRE_GPU").is_some();
    assert!(*found || !wanted, "TRINE_REQUIRE_GPU is set, and there is no adapter");
    if !found {
        println!("skipped: no adapter (apt install mesa-vulkan-drivers)");
    }
    found.then_some(DeviceChoice::Gpu(Some(0)))
}

/// How tests index.
pub fn build_options() -> BuildOptions {
    BuildOptions {
        embedder: MODEL.to_owned(),
        reranker: "trine-reranker".to_owned(),
        reader: Some("trine-reader".to_owned()),
        chunking: Chunking::Sections,
        overlap: 32,
        lexical: LexicalOptions::default(),
        bm25: Bm25::default(),
        vectors: None,
        engine: engine(),
        app: None,
        resume: false,
    }
}

/// Indexes `paths` into `name` of the scratch folder. Tests run side by side, and a second build of one
/// bundle meanwhile is refused: what several tests open is built once, as [`bundle`] is.
pub fn index(name: &str, paths: &[PathBuf], options: &BuildOptions) -> PathBuf {
    let output = scratch().join(name);
    let input = Input { paths, output: &output };
    let store = store(model().expect("asked for before"));
    trine_node::build(&input, options, &store, &|_| Ok(())).unwrap();
    output
}

/// The test documents, indexed.
pub fn bundle() -> Option<&'static Path> {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    model()?;
    Some(BUNDLE.get_or_init(|| index("corpus.trine", &[corpus()], &build_options())))
}

/// The same with the component that misbehaves.
pub fn misbehaving_bundle() -> Option<&'static Path> {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    model()?;
    Some(BUNDLE.get_or_init(|| {
        let app = tempfile::tempdir().unwrap();
        for component in trine_components::ALL {
            fs::write(app.path().join(component.file), component.bytes).unwrap();
        }
        fs::write(app.path().join("misbehaving.wasm"), trine_tests::MISBEHAVING).unwrap();
        let manifest = app.path().join("spin.toml");
        fs::write(&manifest, MISBEHAVING_APP).unwrap();
        let options = BuildOptions { app: Some(manifest), ..build_options() };
        index("misbehaving.trine", &[corpus()], &options)
    }))
}

/// Opens a bundle with the model in `folder`.
pub fn open(bundle: &Path, folder: &Path, limits: Limits) -> Result<Node, NodeError> {
    open_with(bundle, &store(folder), limits)
}

/// The same with other models.
pub fn open_with(bundle: &Path, store: &ModelStore, limits: Limits) -> Result<Node, NodeError> {
    open_on(engine(), bundle, store, limits)
}

/// The same on another device.
pub fn open_on(
    engine: EngineOptions,
    bundle: &Path,
    store: &ModelStore,
    limits: Limits,
) -> Result<Node, NodeError> {
    let cache = Some(cache().join("compiled"));
    let app = AppOptions { limits, cache, ..AppOptions::default() };
    trine_node::open(bundle, &OpenOptions { engine, app }, store)
}

/// Few at a time, so that many servers fit into one process.
pub fn limits() -> Limits {
    Limits { concurrency: 8, ..Limits::default() }
}

/// A server over the test documents that all tests share; nobody stops it.
pub fn server() -> Option<&'static Serving> {
    static SERVER: OnceLock<Serving> = OnceLock::new();
    let bundle = bundle()?;
    Some(SERVER.get_or_init(|| Serving::start(bundle, limits())))
}

/// A server in this process, on a port of its own.
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Serves `bundle` on a thread.
    pub fn start(bundle: &Path, limits: Limits) -> Serving {
        Serving::with_store(bundle, &store(model().expect("asked for before")), limits)
    }

    /// The same with other models.
    pub fn with_store(bundle: &Path, store: &ModelStore, limits: Limits) -> Serving {
        Serving::over(open_with(bundle, store, limits).unwrap())
    }

    /// The same on another device.
    pub fn with_engine(bundle: &Path, engine: EngineOptions, limits: Limits) -> Serving {
        let store = store(model().expect("asked for before"));
        Serving::over(open_on(engine, bundle, &store, limits).unwrap())
    }

    /// Serves what is open already.
    pub fn over(node: Node) -> Serving {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2).enable_all().build().unwrap().block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let site = Site::new([(None, node.app)]).unwrap();
                let server = Server::bind(any, site).await.unwrap();
                tell.send(server.address().unwrap()).unwrap();
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let address = told.recv().unwrap();
        Serving { address, stop: Mutex::new(Some(stop)), thread: Some(thread) }
    }

    /// Tells it to stop; what is in flight goes on.
    pub fn tell_to_stop(&self) {
        drop(self.stop.lock().unwrap().take());
    }

    /// Waits for its end, once told to stop.
    pub fn join(mut self) {
        self.tell_to_stop();
        self.thread.take().unwrap().join().expect("the server panicked");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}
