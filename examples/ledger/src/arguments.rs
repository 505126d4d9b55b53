//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
ledger [--postgres URL] [--redis URL]

  (no arguments)   runs on the servers of `cargo xtask services up postgres redis`, which are started and stopped if they are
                   not running
  --postgres URL   runs on this server, such as postgres://postgres@localhost, whose user may create databases
  --redis URL      runs on this server, such as redis://localhost
  --help           prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo { postgres: Option<String>, redis: Option<String> },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut postgres, mut redis) = (None, None);
        while let Some(argument) = arguments.next() {
            let mut address = || arguments.next().ok_or_else(|| format!("{argument} needs an address"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--postgres" => postgres = Some(address()?),
                "--redis" => redis = Some(address()?),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Self::Demo { postgres, redis })
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_select_the_servers() {
        assert_eq!(parse(""), Ok(Mode::Demo { postgres: None, redis: None }));
        let expected =
            Mode::Demo { postgres: Some("postgres://p".to_owned()), redis: Some("redis://r".to_owned()) };
        assert_eq!(parse("--redis redis://r --postgres postgres://p"), Ok(expected));
        assert_eq!(parse("--redis redis://r -h"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--sever").unwrap_err(), "unknown argument `--sever`");
        assert_eq!(parse("--redis").unwrap_err(), "--redis needs an address");
    }
}
