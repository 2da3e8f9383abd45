//! Files that the fuzzer thinks of: GGUF's directory is read or refused, in memory no larger than the
//! file asks for.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = trine_inference::gguf::check(bytes);
});
