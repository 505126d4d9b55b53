//! The command line.

/// What is printed for `--help`, and beneath a complaint.
pub(crate) const HELP: &str = "\
chat [--serve ADDRESS | --connect ADDRESS --name NAME]

  (no arguments)      a server and two members in one process: they talk, one is cut off, and all traces are drawn
  --serve ADDRESS     serves a room until Ctrl-C, drawing each trace when it is complete
  --connect ADDRESS   joins the room there; what is typed is said, ctrl-D leaves, and one's own traces are drawn
  --name NAME         under which name
  --help              prints this

An address is a host and a port: 127.0.0.1:50051. To serve on port 0 is to serve on a free one.
";

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo,
    Serve { address: String },
    Connect { address: String, name: String },
}

impl Mode {
    /// Reads the arguments; a complaint about the first one that is wrong is the error.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut serve, mut connect, mut name) = (None, None, None);
        while let Some(argument) = arguments.next() {
            let value = match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--serve" => &mut serve,
                "--connect" => &mut connect,
                "--name" => &mut name,
                _ => return Err(format!("there is no argument `{argument}`")),
            };
            *value = Some(arguments.next().ok_or_else(|| format!("{argument} needs a value"))?);
        }
        match (serve, connect, name) {
            (None, None, None) => Ok(Self::Demo),
            (Some(address), None, None) => Ok(Self::Serve { address }),
            (None, Some(address), Some(name)) => Ok(Self::Connect { address, name }),
            (Some(_), Some(_), _) => Err("it is either --serve or --connect".to_owned()),
            (None, Some(_), None) => Err("--connect needs --name".to_owned()),
            (_, None, Some(_)) => Err("--name goes with --connect".to_owned()),
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
    fn arguments_choose_the_mode() {
        let (address, name) = ("127.0.0.1:50051".to_owned(), "ada".to_owned());
        assert_eq!(parse(""), Ok(Mode::Demo));
        assert_eq!(parse("--serve 127.0.0.1:50051"), Ok(Mode::Serve { address: address.clone() }));
        assert_eq!(parse("--name ada --connect 127.0.0.1:50051"), Ok(Mode::Connect { address, name }));
        assert_eq!(parse("--serve here --help"), Ok(Mode::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, complaint) in [
            ("--sevre", "there is no argument `--sevre`"),
            ("--serve", "--serve needs a value"),
            ("--connect here", "--connect needs --name"),
            ("--name ada", "--name goes with --connect"),
            ("--serve here --name ada", "--name goes with --connect"),
            ("--serve here --connect there --name ada", "it is either --serve or --connect"),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), complaint);
        }
    }
}
