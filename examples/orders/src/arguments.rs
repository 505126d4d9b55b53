//! The command line.

/// What is printed for `--help`, and beneath a complaint.
pub(crate) const HELP: &str = "\
orders [--brokers HOST:PORT]

  (no arguments)        on a mock cluster inside of this process: nothing has to be installed
  --brokers HOST:PORT   on a real cluster, in topics of its own, which it makes and removes; several with commas
  --help                prints this
";

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo { brokers: Option<String> },
}

impl Mode {
    /// Reads the arguments; a complaint about the first one that is wrong is the error.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut brokers = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--brokers" => brokers = Some(arguments.next().ok_or("--brokers needs an address")?),
                _ => return Err(format!("there is no argument `{argument}`")),
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
    fn arguments_choose_the_cluster() {
        assert_eq!(parse(""), Ok(Mode::Demo { brokers: None }));
        assert_eq!(parse("--brokers kafka:9092"), Ok(Mode::Demo { brokers: Some("kafka:9092".to_owned()) }));
        assert_eq!(parse("--brokers kafka:9092 -h"), Ok(Mode::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse("--borkers").unwrap_err(), "there is no argument `--borkers`");
        assert_eq!(parse("--brokers").unwrap_err(), "--brokers needs an address");
    }
}
