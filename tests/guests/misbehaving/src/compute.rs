//! wasi:nn called with whatever a request says, and what it answered, as JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bindings::wasi::nn::errors::Error;
use crate::bindings::wasi::nn::graph::{self, ExecutionTarget, GraphEncoding};
use crate::bindings::wasi::nn::tensor::{Tensor, TensorType};

/// One call.
#[derive(Deserialize)]
struct Call {
    graph: String,
    inputs: Vec<Input>,
    /// Answers with the outputs' f32 values too, as bits.
    #[serde(default)]
    values: bool,
}

/// One input; its data is the values in the type's width, or so many zero bytes.
#[derive(Deserialize)]
struct Input {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    dimensions: Vec<u32>,
    #[serde(default)]
    values: Vec<i64>,
    bytes: Option<usize>,
}

/// Makes the call that the JSON describes.
pub fn as_asked(body: &[u8]) -> anyhow::Result<Value> {
    let call: Call = serde_json::from_slice(body)?;
    let mut inputs = Vec::with_capacity(call.inputs.len());
    for input in &call.inputs {
        let (ty, width) = tensor_type(&input.ty)?;
        let data = match input.bytes {
            Some(bytes) => vec![0; bytes],
            None => input.values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect(),
        };
        inputs.push((input.name.clone(), Tensor::new(&input.dimensions, ty, &data)));
    }
    Ok(answered(compute(&call.graph, inputs, call.values)))
}

/// Offers bytes as a model.
pub fn load_bytes() -> Value {
    let model = [vec![0; 1024]];
    answered(graph::load(&model, GraphEncoding::Onnx, ExecutionTarget::Gpu).map(|_| json!([])))
}

fn compute(name: &str, inputs: Vec<(String, Tensor)>, values: bool) -> Result<Value, Error> {
    let context = graph::load_by_name(name)?.init_execution_context()?;
    let outputs = context.compute(inputs)?;
    let shown = outputs.iter().map(|(name, t)| {
        let mut output = json!({ "name": name, "shape": t.dimensions() });
        if values {
            let data = t.data();
            let bits = data.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
            output["bits"] = bits.collect::<Vec<u32>>().into();
        }
        output
    });
    Ok(shown.collect())
}

fn answered(outcome: Result<Value, Error>) -> Value {
    match outcome {
        Ok(outputs) => json!({ "outputs": outputs }),
        Err(error) => {
            json!({ "error": { "code": format!("{:?}", error.code()), "data": error.data() } })
        }
    }
}

fn tensor_type(name: &str) -> anyhow::Result<(TensorType, usize)> {
    Ok(match name {
        "i64" => (TensorType::I64, 8),
        "i32" => (TensorType::I32, 4),
        "u8" => (TensorType::U8, 1),
        "fp16" => (TensorType::Fp16, 2),
        "fp32" => (TensorType::Fp32, 4),
        "fp64" => (TensorType::Fp64, 8),
        other => anyhow::bail!("no tensor type is called {other}"),
    })
}
