//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
chat [--serve ADDRESS | --connect ADDRESS --name NAME]

  (no arguments)      runs a server and two members in one process, breaks a connection, and draws all traces
  --serve ADDRESS     serves a room until Ctrl-C, drawing each trace when it is complete
  --connect ADDRESS   joins the room and sends each typed line; Ctrl-D leaves and draws the member's traces
  --name NAME         the member's name
  --help              prints this

ADDRESS is HOST:PORT, for example 127.0.0.1:50051. --serve with port 0 selects a free port.
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo,
    Serve { address: String },
    Connect { address: String, name: String },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut serve, mut connect, mut name) = (None, None, None);
        while let Some(argument) = arguments.next() {
            let value = match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--serve" => &mut serve,
                "--connect" => &mut connect,
                "--name" => &mut name,
                _ => return Err(format!("unknown argument `{argument}`")),
            };
            *value = Some(arguments.next().ok_or_else(|| format!("{argument} needs a value"))?);
        }
        match (serve, connect, name) {
            (None, None, None) => Ok(Self::Demo),
            (Some(address), None, None) => Ok(Self::Serve { address }),
            (None, Some(address), Some(name)) => Ok(Self::Connect { address, name }),
            (Some(_), Some(_), _) => Err("--serve and --connect exclude each other".to_owned()),
            (None, Some(_), None) => Err("--connect requires --name".to_owned()),
            (_, None, Some(_)) => Err("--name requires --connect".to_owned()),
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
        let (address, name) = ("127.0.0.1:50051".to_owned(), "ada".to_owned());
        assert_eq!(parse(""), Ok(Mode::Demo));
        assert_eq!(parse("--serve 127.0.0.1:50051"), Ok(Mode::Serve { address: address.clone() }));
        assert_eq!(parse("--name ada --connect 127.0.0.1:50051"), Ok(Mode::Connect { address, name }));
        assert_eq!(parse("--serve here --help"), Ok(Mode::Help));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, message) in [
            ("--sevre", "unknown argument `--sevre`"),
            ("--serve", "--serve needs a value"),
            ("--connect here", "--connect requires --name"),
            ("--name ada", "--name requires --connect"),
            ("--serve here --name ada", "--name requires --connect"),
            ("--serve here --connect there --name ada", "--serve and --connect exclude each other"),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), message);
        }
    }
}
