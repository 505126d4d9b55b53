//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
invoices [--broker URL]

  (no arguments)   runs on the broker of `cargo xtask services up rabbitmq`, which is started and stopped if it is not running
  --broker URL     runs on this broker, such as amqp://guest:guest@localhost:5672
  --help           prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo { broker: Option<String> },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut broker = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--broker" => broker = Some(arguments.next().ok_or("--broker needs an address")?),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Self::Demo { broker })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_select_the_broker() {
        assert_eq!(parse(""), Ok(Mode::Demo { broker: None }));
        let broker = Some("amqp://n:5672".to_owned());
        assert_eq!(parse("--broker amqp://n:5672"), Ok(Mode::Demo { broker }));
        assert_eq!(parse("--broker amqp://n:5672 -h"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--borker").unwrap_err(), "unknown argument `--borker`");
        assert_eq!(parse("--broker").unwrap_err(), "--broker needs an address");
    }
}
