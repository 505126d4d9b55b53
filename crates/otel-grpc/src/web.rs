//! The status of a gRPC-Web response, whose trailers are the last message of its body.
//!
//! Follows [gRPC-Web](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md). A layer outside of tonic-web's sees
//! such responses.

use tonic::Code;

use crate::content_type::ContentType;
use crate::outcome;
use crate::scanner::Scanner;

/// The names of the trailers with the status and its message.
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// Limit in bytes of the trailers that are read.
const LONGEST: usize = 8 * 1024;

/// The incremental parser of a response's trailers.
#[derive(Debug, Default)]
pub(crate) struct WebTrailers {
    scanner: Scanner,
    /// Present if the body is Base64.
    base64: Option<Base64>,
    trailers: Vec<u8>,
}

impl WebTrailers {
    /// Returns the parser for a response of this content type, if it is gRPC-Web.
    pub(crate) fn new(content_type: ContentType) -> Option<Box<Self>> {
        match content_type {
            ContentType::Grpc | ContentType::Other => None,
            ContentType::Web => Some(Box::default()),
            ContentType::WebText => {
                Some(Box::new(Self { base64: Some(Base64::default()), ..Self::default() }))
            }
        }
    }

    /// Reads a part of the body.
    pub(crate) fn read(&mut self, data: &[u8]) {
        let Self { scanner, base64, trailers } = self;
        let mut scan = |data: &[u8]| {
            scanner.scan(
                data,
                |message, part| {
                    if message.is_trailers() {
                        let room = LONGEST.saturating_sub(trailers.len());
                        trailers.extend_from_slice(&part[..part.len().min(room)]);
                    }
                },
                |_| {},
            );
        };
        match base64 {
            None => scan(data),
            Some(base64) => base64.decode(data, scan),
        }
    }

    /// Returns the status, if the trailers have arrived.
    pub(crate) fn code(&self) -> Option<Code> {
        self.value(GRPC_STATUS).map(Code::from_bytes)
    }

    /// Returns the status message, decoded.
    pub(crate) fn message(&self) -> Option<String> {
        let message = self.value(GRPC_MESSAGE).filter(|message| !message.is_empty());
        message.map(outcome::decode_message)
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        self.trailers.split(|byte| *byte == b'\n').find_map(|line| {
            let (key, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            key.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        })
    }
}

/// An incremental decoder of Base64 ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-4)), with padding also
/// within the text.
#[derive(Clone, Copy, Debug, Default)]
struct Base64 {
    bits: u32,
    /// The number of characters in `bits`, padding included, and of the padding among them.
    characters: u8,
    padding: u8,
}

impl Base64 {
    /// Decodes a part of the text. Characters outside of the alphabet are skipped.
    fn decode(&mut self, text: &[u8], mut decoded: impl FnMut(&[u8])) {
        for byte in text {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.padding += 1;
                    0
                }
                _ => continue,
            };
            self.bits = self.bits << 6 | u32::from(value);
            self.characters += 1;
            if self.characters == 4 {
                let [_, bytes @ ..] = self.bits.to_be_bytes();
                decoded(&bytes[..3_usize.saturating_sub(self.padding.into())]);
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(content_type: ContentType, parts: &[&[u8]]) -> Option<Code> {
        let mut trailers = WebTrailers::new(content_type)?;
        for part in parts {
            trailers.read(part);
        }
        trailers.code()
    }

    const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";
    const INTERNAL: &[u8] = b"\x80\0\0\0\x23grpc-message:no\r\ngrpc-status:13\r\n\r\n";

    #[test]
    fn the_status_is_in_the_last_message_however_it_is_cut() {
        let body = [MESSAGE, INTERNAL].concat();
        for cut in 0..body.len() {
            let (a, b) = body.split_at(cut);
            assert_eq!(code(ContentType::Web, &[a, b]), Some(Code::Internal), "{cut}");
        }
        let mut trailers = WebTrailers::new(ContentType::Web).unwrap();
        trailers.read(INTERNAL);
        assert_eq!(trailers.message().as_deref(), Some("no"));
        assert_eq!(code(ContentType::Web, &[MESSAGE]), None);
        assert_eq!(code(ContentType::Web, &[b"\x80\0\0\0\x0eGRPC-Status: 5\n"]), Some(Code::NotFound));
        assert_eq!(code(ContentType::Grpc, &[&body]), None, "not gRPC-Web");
    }

    #[test]
    fn text_is_base64_with_padding_after_each_part() {
        // The message and the trailers, encoded one by one.
        let text = b"AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czoxMwo=";
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(code(ContentType::WebText, &[a, b]), Some(Code::Internal), "{cut}");
        }
    }

    #[test]
    fn a_peer_cannot_fill_the_memory() {
        let mut trailers = WebTrailers::new(ContentType::Web).unwrap();
        trailers.read(b"\x80\xff\xff\xff\xff");
        for _ in 0..100 {
            trailers.read(&[b'x'; 1000]);
        }
        assert_eq!(trailers.trailers.len(), LONGEST);
        assert_eq!(trailers.code(), None);
    }

    #[test]
    fn any_text_is_decoded_without_a_panic() {
        for byte in 0..=u8::MAX {
            let mut trailers = WebTrailers::new(ContentType::WebText).unwrap();
            trailers.read(&[byte; 33]);
            trailers.read(b"====x=y=z===");
        }
    }
}
