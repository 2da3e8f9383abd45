//! Misdeeds that need no model.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use spin_sdk::http::BoxBody;
use spin_sdk::wasip3::clocks::monotonic_clock;

use crate::bindings::wasi::nn::tensor::{Tensor, TensorType};

/// Computes and never gives its thread back.
pub fn run_for_ever() -> BoxBody {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Waits for what does not come.
pub async fn sleep_for_ever() -> BoxBody {
    loop {
        monotonic_clock::wait_for(3_600_000_000_000).await;
    }
}

/// Takes memory until there is none.
pub fn allocate_for_ever() -> BoxBody {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1u8; 1 << 20]));
    }
}

/// Makes tensors of so many bytes and drops none.
pub fn hold_tensors(bytes: usize) -> BoxBody {
    let data = vec![0; bytes];
    let mut held = Vec::new();
    loop {
        held.push(Tensor::new(&[bytes as u32], TensorType::U8, &data));
    }
}

/// Stops at once.
#[allow(clippy::panic)]
pub fn trap() -> BoxBody {
    panic!("as asked")
}

/// A body that begins and then traps.
#[derive(Default)]
pub struct HalfABody {
    begun: bool,
}

impl http_body::Body for HalfABody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.begun {
            trap();
        }
        self.begun = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"the first half")))))
    }
}
