//! Compiles every contract in `proto/`, with protox in place of protoc.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message as _;

const PROTOS: &[&str] = &[
    "snippets/v1/snippets.proto",
    "snippets/v1/accounts.proto",
    "ratelimit/v1/ratelimit.proto",
    "views/v1/views.proto",
    "envoy/service/ratelimit/v3/rls.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(PROTOS, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".views").compile_fds(descriptors)?;
    Ok(())
}
