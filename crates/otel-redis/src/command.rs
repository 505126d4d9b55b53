//! Commands, read from their arguments: the name, the position of the key, and the text without values.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/): `db.operation.name` is
//! the name of the command as the application wrote it, `db.query.text` has the syntax of Redis' command line.

mod keys;
pub(crate) mod packed;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write as _;

use redis::{Arg, Cmd};

use crate::command::keys::{FirstKey, first_key};

/// The name of a command that is no name, such as a complete line of text.
const OTHER: &str = "_OTHER";

/// The longest part of a name, in bytes. The longest one of Redis has 21.
const LONGEST: usize = 32;

/// The number of arguments that a text has, each as `?`.
const MAX_ARGUMENTS: usize = 16;

/// The number of commands of a pipeline whose texts are shown.
const MAX_COMMANDS: usize = 16;

/// The mark of what a text leaves out.
const LEFT_OUT: &str = "...";

/// The commands whose first argument is the second part of their name.
const CONTAINERS: &[&str] = &[
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY", "MODULE",
    "OBJECT", "PUBSUB", "SCRIPT", "SLOWLOG", "XGROUP", "XINFO",
];

/// The commands that have credentials among their arguments.
const WITH_CREDENTIALS: &[&str] = &["ACL SETUSER", "AUTH", "CONFIG SET", "HELLO", "MIGRATE", "SENTINEL"];

/// A command, as the iterator over its arguments, of which the first is the name.
#[derive(Clone, Debug)]
pub(crate) struct Command<I>(pub(crate) I);

/// Returns the arguments of a command of redis. A cursor is shown as an argument of no bytes.
pub(crate) fn arguments(command: &Cmd) -> Command<impl ExactSizeIterator<Item = &[u8]> + Clone> {
    Command(command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => &[],
    }))
}

impl<'a, I: Iterator<Item = &'a [u8]> + Clone> Command<I> {
    /// Returns the name, and the number of arguments that it consists of.
    pub(crate) fn name(&self) -> (Cow<'a, str>, usize) {
        let mut arguments = self.0.clone();
        let Some(name) = arguments.next().and_then(part) else { return (Cow::Borrowed(OTHER), 1) };
        if is_in(CONTAINERS, name)
            && let Some(second) = arguments.next().and_then(part)
        {
            return (Cow::Owned(format!("{name} {second}")), 2);
        }
        (Cow::Borrowed(name), 1)
    }

    /// Returns the first key, if the command has one whose place is known.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        let mut arguments = self.0.clone();
        let name = part(arguments.next()?)?;
        match first_key(name) {
            FirstKey::At(place) => arguments.nth(place - 1),
            FirstKey::AfterCount(place) => {
                let count = arguments.nth(place - 1)?;
                if count == b"0" { None } else { arguments.next() }
            }
            FirstKey::Unknown => None,
        }
    }

    /// Returns the SHA-1 digest of the script that the command runs.
    pub(crate) fn script(&self) -> Option<&'a str> {
        let mut arguments = self.0.clone();
        if !is_in_bytes(&["EVALSHA", "EVALSHA_RO"], arguments.next()?) {
            return None;
        }
        let digest = std::str::from_utf8(arguments.next()?).ok()?;
        let is_digest = digest.len() == 40 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(digest)
    }

    /// Returns the name of the function that the command calls. It is part of the application's library of functions.
    pub(crate) fn function(&self) -> Option<&'a str> {
        let mut arguments = self.0.clone();
        if !is_in_bytes(&["FCALL", "FCALL_RO"], arguments.next()?) {
            return None;
        }
        let function = std::str::from_utf8(arguments.next()?).ok()?;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = (1..=LONGEST).contains(&function.len()) && function.bytes().all(is_part);
        is_name.then_some(function)
    }

    /// Writes the command without its values: `?` for each, or the template for the first key.
    fn write_text(&self, template: Option<&str>, text: &mut String) {
        let (name, consumed) = self.name();
        text.push_str(&name);
        let key = template.and_then(|_| self.key());
        let mut template = template;
        for (number, argument) in self.0.clone().skip(consumed).enumerate() {
            text.push(' ');
            if number == MAX_ARGUMENTS {
                text.push_str(LEFT_OUT);
                return;
            }
            let is_key = key.is_some_and(|key| std::ptr::eq(key, argument));
            match template.filter(|_| is_key) {
                Some(shown) => {
                    text.push_str(shown);
                    template = None;
                }
                None => text.push('?'),
            }
        }
    }

    /// Writes the command with its values, up to this length of the text, and without them if credentials may be among them.
    fn write_verbatim(&self, limit: usize, text: &mut String) {
        if is_in(WITH_CREDENTIALS, &self.name().0) {
            return self.write_text(None, text);
        }
        for (number, argument) in self.0.clone().enumerate() {
            if text.len() >= limit {
                return;
            }
            if number > 0 {
                text.push(' ');
            }
            let shown = argument.get(..limit - text.len().min(limit)).unwrap_or(argument);
            let _ = write!(text, "{}", String::from_utf8_lossy(shown));
        }
    }
}

/// The rule by which texts of commands are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TextForm {
    WithoutValues,
    Verbatim(usize),
}

/// Returns the text of commands, which follow each other after a semicolon, with the template of the first key of each.
pub(crate) fn text<'a, I>(
    commands: impl IntoIterator<Item = Command<I>>,
    template: Option<&str>,
    form: TextForm,
) -> String
where
    I: Iterator<Item = &'a [u8]> + Clone,
{
    let mut text = String::with_capacity(32);
    for (number, command) in commands.into_iter().enumerate() {
        if number > 0 {
            text.push_str("; ");
        }
        match form {
            _ if number == MAX_COMMANDS => {
                text.push_str(LEFT_OUT);
                break;
            }
            TextForm::WithoutValues => command.write_text(template, &mut text),
            TextForm::Verbatim(limit) => command.write_verbatim(limit, &mut text),
        }
    }
    text
}

/// Returns the part of a name that these bytes are, or `None` if they are none.
fn part(bytes: &[u8]) -> Option<&str> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = bytes.len() <= LONGEST && bytes.first()?.is_ascii_alphabetic() && bytes.iter().all(is_part);
    std::str::from_utf8(bytes).ok().filter(|_| is_name)
}

fn is_in(list: &[&str], name: &str) -> bool {
    is_in_bytes(list, name.as_bytes())
}

#[inline]
fn is_in_bytes(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name))
}
