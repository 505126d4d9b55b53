//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
rest-api [--serve [--port PORT]]

  (no arguments)   starts both services on free ports, sends requests, draws their traces, prints the metrics
  --serve          keeps serving until Ctrl-C, drawing each trace when it is complete
  --port PORT      port of the users API on 127.0.0.1; default: 3000; 0 selects a free port
  --help           prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo,
    Serve { port: u16 },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut serve, mut port) = (false, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--serve" => serve = true,
                "--port" => {
                    let value = arguments.next().ok_or("--port needs a number")?;
                    let number = value.parse().map_err(|_| format!("invalid port `{value}`"))?;
                    port = Some(number);
                }
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        match (serve, port) {
            (true, port) => Ok(Self::Serve { port: port.unwrap_or(3000) }),
            (false, None) => Ok(Self::Demo),
            (false, Some(_)) => Err("--port requires --serve".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_select_the_mode() {
        assert_eq!(parse(""), Ok(Mode::Demo));
        assert_eq!(parse("--serve"), Ok(Mode::Serve { port: 3000 }));
        assert_eq!(parse("--serve --port 0"), Ok(Mode::Serve { port: 0 }));
        assert_eq!(parse("--port 8080 --serve"), Ok(Mode::Serve { port: 8080 }));
        assert_eq!(parse("--serve -h"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--sevre").unwrap_err(), "unknown argument `--sevre`");
        assert_eq!(parse("--serve --port").unwrap_err(), "--port needs a number");
        assert_eq!(parse("--serve --port 70000").unwrap_err(), "invalid port `70000`");
        assert_eq!(parse("--port 80").unwrap_err(), "--port requires --serve");
    }
}
