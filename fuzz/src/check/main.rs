//! The request path: whatever clients send, in whatever order, they get an answer that the contracts allow.

#![no_main]

mod answers;
mod errors;
mod script;
mod service;
mod session;

use libfuzzer_sys::fuzz_target;
use script::Script;

fuzz_target!(|script: Script| session::play(script));
