//! Commands in the form in which blocking connections receive them: encoded for the server.
//!
//! Follows the [Redis serialization
//! protocol](https://redis.io/docs/latest/develop/reference/protocol-spec/): a command is an array of bulk strings.

use crate::command::Command;

/// The commands that these bytes encode. They end before bytes that encode none.
#[derive(Clone, Debug)]
pub(crate) struct PackedCommands<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for PackedCommands<'a> {
    type Item = Command<PackedArguments<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (left, rest) = number(self.0, b'*')?;
        let arguments = PackedArguments { left, rest };
        let mut skipped = arguments.clone();
        skipped.by_ref().for_each(drop);
        // A command that was cut off is none, and the next one cannot be found.
        self.0 = if skipped.left == 0 { skipped.rest } else { &[] };
        (skipped.left == 0).then_some(Command(arguments))
    }
}

/// The arguments of one command.
#[derive(Clone, Debug)]
pub(crate) struct PackedArguments<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for PackedArguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let (len, rest) = number(self.rest, b'$')?;
        let (argument, rest) = rest.split_at_checked(len)?;
        self.rest = rest.strip_prefix(b"\r\n")?;
        self.left -= 1;
        Some(argument)
    }
}

/// Reads a marker and a number, up to the end of their line.
fn number(bytes: &[u8], marker: u8) -> Option<(usize, &[u8])> {
    let bytes = bytes.strip_prefix(&[marker])?;
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(digits)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest.strip_prefix(b"\r\n")?))
}
