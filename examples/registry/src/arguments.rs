//! The command line.

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
registry [--etcd [ADDRESS]]

  (no arguments)    keeps the instances in this process
  --etcd            keeps them in the etcd of `cargo xtask services up etcd`, which is started and stopped if it is not running
  --etcd ADDRESS    keeps them in this etcd, such as http://localhost:2379
  --help            prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Static,
    Etcd { address: Option<String> },
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mode = match arguments.next().as_deref() {
            None => Self::Static,
            Some("--help" | "-h") => Self::Help,
            Some("--etcd") => Self::Etcd { address: arguments.next() },
            Some(argument) => return Err(format!("unknown argument `{argument}`")),
        };
        match (mode, arguments.next()) {
            (Self::Etcd { address: Some(address) }, _) if address.starts_with('-') => {
                Err(format!("unknown argument `{address}`"))
            }
            (mode, None) => Ok(mode),
            (_, Some(argument)) => Err(format!("unknown argument `{argument}`")),
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
    fn arguments_select_the_registry() {
        assert_eq!(parse(""), Ok(Mode::Static));
        assert_eq!(parse("-h"), Ok(Mode::Help));
        assert_eq!(parse("--etcd"), Ok(Mode::Etcd { address: None }));
        let address = Some("http://e:2379".to_owned());
        assert_eq!(parse("--etcd http://e:2379"), Ok(Mode::Etcd { address }));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for arguments in ["--etc", "--etcd --etcd", "--etcd a b", "--help x"] {
            let error = parse(arguments).unwrap_err();
            assert!(error.starts_with("unknown argument `"), "{error}");
        }
    }
}
