//! The public API: whatever clients send to it, by gRPC and HTTP, they get an answer that the contract allows.

#![no_main]

mod api;
mod contract;
mod errors;
mod message;
mod session;
mod web;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| session::play(script));
