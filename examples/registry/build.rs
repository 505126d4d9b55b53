//! Compiles `proto/stock.proto` without `protoc`: generates client, server and the file descriptor set.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["stock.proto"], ["proto"])?;
    let out =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; run this build script with Cargo")?);
    fs::write(out.join("stock.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
