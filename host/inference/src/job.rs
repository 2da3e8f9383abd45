//! A request on its way through a device: texts that a pass may take some at a time.

use std::ops::Range;

use crate::request::{Request, Wanted};
use crate::scheduler::{Piecewise, Work};
use crate::{ModelInfo, Tensor};

/// A request and the model it is for.
pub(crate) struct Job {
    pub(crate) model: usize,
    pub(crate) request: Request,
    /// Each text's first token, and the end of the last.
    starts: Vec<usize>,
    /// Of the result.
    shape: Vec<usize>,
}

impl Job {
    /// `request` for a device's model of number `model`.
    pub(crate) fn new(model: usize, info: &ModelInfo, request: Request) -> Job {
        let n = request.lengths.len();
        let shape = match request.wanted {
            Wanted::HiddenStates { width } => vec![n, width, info.hidden_size],
            Wanted::Logits => vec![n, info.labels],
            Wanted::Spans { width } => vec![n, width, info.labels],
            Wanted::Scores => vec![n.saturating_sub(1), 1 + info.hidden_size],
            Wanted::Embeddings => vec![n, info.hidden_size],
        };
        let mut starts = vec![0];
        let mut end = 0;
        starts.extend(request.lengths.iter().map(|&length| {
            end += length as usize;
            end
        }));
        Job { model, request, starts, shape }
    }

    /// Whether the first text is compared with the others, and is no piece of its own.
    pub(crate) fn compares(&self) -> bool {
        self.request.wanted == Wanted::Scores
    }

    /// The texts that some pieces need: theirs, and before them the one they are compared with.
    pub(crate) fn texts(&self, pieces: Range<usize>) -> impl Iterator<Item = usize> {
        let query = usize::from(self.compares());
        (0..query).chain(pieces.start + query..pieces.end + query)
    }

    /// The tokens of a text among its request's.
    pub(crate) fn text(&self, text: usize) -> Range<usize> {
        self.starts[text]..self.starts[text + 1]
    }
}

impl Piecewise for Job {
    fn key(&self) -> usize {
        self.model
    }

    fn pieces(&self) -> usize {
        self.request.lengths.len().saturating_sub(usize::from(self.compares()))
    }

    fn tokens(&self, pieces: Range<usize>) -> usize {
        if pieces.is_empty() {
            return 0;
        }
        match self.compares() {
            true => self.starts[1] + self.starts[pieces.end + 1] - self.starts[pieces.start + 1],
            false => self.starts[pieces.end] - self.starts[pieces.start],
        }
    }
}

impl Work for Job {
    type Output = Tensor;

    fn output(&self, values: Vec<f32>) -> Tensor {
        Tensor::f32(self.shape.clone(), values)
    }
}
