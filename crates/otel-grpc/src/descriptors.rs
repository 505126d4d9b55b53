//! The method names of an encoded file descriptor set.

use prost::{DecodeError, Message as _};
use prost_types::FileDescriptorSet;

/// Returns the names of all methods, as `package.Service/Method`.
pub(crate) fn method_names(encoded: &[u8]) -> Result<Vec<String>, DecodeError> {
    let set = FileDescriptorSet::decode(encoded)?;
    let mut names = Vec::new();
    for file in &set.file {
        let package = match file.package() {
            "" => String::new(),
            package => format!("{package}."),
        };
        for service in &file.service {
            let name = |method: &str| format!("{package}{}/{method}", service.name());
            names.extend(service.method.iter().map(|method| name(method.name())));
        }
    }
    Ok(names)
}
