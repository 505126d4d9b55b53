//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
notifications [--server URL]

  (no arguments)   runs on the server of `cargo xtask services up nats`, which is started and stopped if it is not running
  --server URL     runs on this server, such as nats://localhost:4222, which needs JetStream
  --help           prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo { server: Option<String> },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut server = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--server" => server = Some(arguments.next().ok_or("--server needs an address")?),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Self::Demo { server })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_select_the_server() {
        assert_eq!(parse(""), Ok(Mode::Demo { server: None }));
        let server = Some("nats://n:4222".to_owned());
        assert_eq!(parse("--server nats://n:4222"), Ok(Mode::Demo { server }));
        assert_eq!(parse("--server nats://n:4222 -h"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--sever").unwrap_err(), "unknown argument `--sever`");
        assert_eq!(parse("--server").unwrap_err(), "--server needs an address");
    }
}
