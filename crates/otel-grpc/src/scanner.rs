//! An incremental parser of the length-prefixed messages in a body.
//!
//! Follows [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
//! "Length-Prefixed-Message", and [gRPC-Web](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md), whose last
//! message holds the trailers.

/// The bit of a message's flags that marks the trailers of gRPC-Web.
const TRAILERS: u8 = 0x80;

/// The position within the messages of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    prefix: [u8; 5],
    have: usize,
    /// Remaining bytes of the message whose prefix is complete.
    rest: usize,
}

/// The prefix of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    flags: u8,
    pub(crate) bytes: u32,
}

impl Message {
    pub(crate) fn is_compressed(self) -> bool {
        self.flags != 0
    }

    pub(crate) fn is_trailers(self) -> bool {
        self.flags & TRAILERS != 0
    }
}

impl Scanner {
    /// Calls `content` for each part of a message in `bytes`, and `found` for each message whose last byte is in `bytes`.
    pub(crate) fn scan(
        &mut self,
        mut bytes: &[u8],
        mut content: impl FnMut(Message, &[u8]),
        mut found: impl FnMut(Message),
    ) {
        loop {
            let prefix = &mut self.prefix[self.have..];
            let taken = prefix.len().min(bytes.len());
            prefix[..taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            let [flags, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length);
            if self.have < self.prefix.len() {
                return;
            }
            if taken > 0 {
                self.rest = length as usize;
            }
            let message = Message { flags, bytes: length };
            let (part, after) = bytes.split_at(self.rest.min(bytes.len()));
            content(message, part);
            self.rest -= part.len();
            bytes = after;
            if self.rest > 0 {
                return;
            }
            self.have = 0;
            found(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(messages: &[(bool, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (compressed, length) in messages {
            bytes.push(u8::from(*compressed));
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.extend(vec![7; *length]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn messages_are_found_however_they_are_cut(
            messages in prop::collection::vec((any::<bool>(), 0_usize..300), 0..12),
            cuts in prop::collection::vec(1_usize..64, 1..50),
        ) {
            let bytes = encoded(&messages);
            let (mut scanner, mut found) = (Scanner::default(), Vec::new());
            let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (frame, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                for frame in [frame, &[]] {
                    scanner.scan(frame, |_, _| {}, |message| found.push((message.is_compressed(), message.bytes as usize)));
                }
                rest = after;
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn what_is_no_message_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let mut scanner = Scanner::default();
            let mut found = 0;
            for chunk in bytes.chunks(7) {
                scanner.scan(chunk, |_, _| {}, |_| found += 1);
            }
            prop_assert!(found <= bytes.len() / 5);
        }
    }

    #[test]
    fn a_message_that_was_cut_off_is_none() {
        let (mut scanner, mut found) = (Scanner::default(), 0);
        scanner.scan(&encoded(&[(false, 10), (false, 10)])[..29], |_, _| {}, |_| found += 1);
        assert_eq!(found, 1);
    }
}
