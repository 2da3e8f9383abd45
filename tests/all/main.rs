//! What crosses crates, over real HTTP and the real command, with the real model.
//!
//! `fixture` finds the model and builds the bundles, once a process; `client` speaks HTTP, well
//! and badly. A test whose model or documents are missing says `skipped: ...` and returns.

mod answers;
mod bad_input;
mod broken_http;
mod bundles;
mod cli;
mod client;
mod collections;
mod command;
mod compiled;
mod cross_encoder;
mod endings;
mod evaluation;
mod fair;
mod filters;
mod fixture;
mod gpu;
mod house;
mod hybrid;
mod index;
mod interrupts;
mod limits;
mod living;
mod load;
mod models;
mod overload;
mod prepared;
mod resume;
mod scripted;
mod search;
mod tensors;
mod through_nn;
mod updates;
mod wit;
mod writing;
