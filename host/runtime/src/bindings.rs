//! Everything that `bindgen!` generates, fenced in.

/// Filling a component before its snapshot.
pub(crate) mod preparable {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "trine:rag/preparable",
        exports: { default: async },
    });
}

/// wasi:nn, with `compute` asynchronous: a guest that waits for a device holds no thread.
pub(crate) mod models {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "trine:rag/models",
        imports: {
            "wasi:nn/inference.[method]graph-execution-context.compute": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:nn/tensor.tensor": crate::nn::Tensor,
            "wasi:nn/errors.error": crate::nn::Error,
            "wasi:nn/graph.graph": crate::nn::Graph,
            "wasi:nn/inference.graph-execution-context": crate::nn::Context,
        },
    });
}

/// Language models; a guest that waits for a token holds no thread.
pub(crate) mod language {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "trine:rag/language-models",
        imports: {
            "trine:inference/generation.[method]session.decode": async | trappable,
            "trine:inference/generation.[method]completion.next": async | trappable,
            default: trappable,
        },
        with: {
            "trine:inference/generation.session": crate::language::Session,
            "trine:inference/generation.completion": crate::language::Completion,
        },
    });
}

/// spin.toml's variables.
pub(crate) mod variables {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "trine:rag/variables",
        imports: { default: trappable },
    });
}

/// The index alone, for measurements; `components/searcher` is its other side.
pub(crate) mod searcher {
    wasmtime::component::bindgen!({
        inline: "
            package trine:bench;

            world searcher {
                export search: func(query: list<f32>, k: u32, ef: u32) -> list<tuple<u32, f32>>;
                export admit: func(passages: list<u32>);
                export search-admitted: func(query: list<f32>, k: u32) -> list<tuple<u32, f32>>;
                export search-whole: func(query: list<f32>, words: string, k: u32) -> list<u32>;
            }
        ",
        exports: { default: async },
    });
}
