//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
orders [--brokers HOST:PORT]

  (no arguments)        runs on a mock cluster in this process
  --brokers HOST:PORT   runs on a real cluster, comma-separated brokers; creates topics and deletes them at the end
  --help                prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo { brokers: Option<String> },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut brokers = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--brokers" => brokers = Some(arguments.next().ok_or("--brokers needs an address")?),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Self::Demo { brokers })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_select_the_cluster() {
        assert_eq!(parse(""), Ok(Mode::Demo { brokers: None }));
        assert_eq!(parse("--brokers kafka:9092"), Ok(Mode::Demo { brokers: Some("kafka:9092".to_owned()) }));
        assert_eq!(parse("--brokers kafka:9092 -h"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--borkers").unwrap_err(), "unknown argument `--borkers`");
        assert_eq!(parse("--brokers").unwrap_err(), "--brokers needs an address");
    }
}
