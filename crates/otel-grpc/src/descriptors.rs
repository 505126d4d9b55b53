//! The method names of encoded file descriptor sets.
//!
//! Follows [descriptor.proto](https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto).
//! Its messages are declared here with the few fields that are read, so that the crate needs no generated copy of all.

use std::error::Error;
use std::fmt;

use prost::{DecodeError, Message};

#[derive(Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// The error of a file descriptor set that names no service.
#[derive(Debug)]
pub struct DescriptorError {
    index: usize,
    source: Option<DecodeError>,
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = if self.source.is_some() { "cannot be decoded" } else { "has no service" };
        write!(
            f,
            "file descriptor set {} {fault}: pass the file that tonic_prost_build's `file_descriptor_set_path` writes",
            self.index
        )
    }
}

impl Error for DescriptorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Returns the names of all methods of all sets, as `package.Service/Method`.
pub(crate) fn method_names(sets: &[&[u8]]) -> Result<Vec<String>, DescriptorError> {
    let mut names = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        let files =
            FileSet::decode(*set).map_err(|source| DescriptorError { index, source: Some(source) })?;
        let mut files = files.file.iter().filter(|file| !file.service.is_empty()).peekable();
        if files.peek().is_none() {
            return Err(DescriptorError { index, source: None });
        }
        for File { package, service } in files {
            let dot = if package.is_empty() { "" } else { "." };
            for Service { name: service, method } in service {
                names.extend(method.iter().map(|method| format!("{package}{dot}{service}/{}", method.name)));
            }
        }
    }
    Ok(names)
}
