//! The command line.

use std::path::PathBuf;

/// The usage, printed for `--help` and after an error.
pub(crate) const HELP: &str = "\
transfer [--postgres URL | --no-postgres] [--html FILE]

  (no arguments)    runs the orders and the transfers; the transfers use the server of POSTGRES_URL or a temporary one,
                    and are skipped if PostgreSQL is not installed
  --postgres URL    uses this server and creates two temporary databases; postgres://USER:PASSWORD@HOST:PORT
  --no-postgres     runs the orders only
  --html FILE       path of the page with all traces; default: transfer.html next to the program
  --help            prints this
";

/// The mode that the arguments select.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo {
        page: Option<PathBuf>,
        postgres: Postgres,
    },
    /// Runs an order in a child process that the parent kills.
    OrderVictim {
        folder: PathBuf,
    },
    /// Runs a transfer in a child process that the parent kills, on the database `checking` and the service `savings`.
    TransferVictim {
        folder: PathBuf,
        checking: String,
        savings: String,
    },
}

/// The choice of the Postgres server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Postgres {
    Url(String),
    /// The server of `POSTGRES_URL`, or a temporary one.
    Auto,
    Disabled,
}

impl Mode {
    /// Parses the arguments; the error describes the first invalid one.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut page, mut postgres) = (None, Postgres::Auto);
        while let Some(argument) = arguments.next() {
            let mut value = |kind| arguments.next().ok_or(format!("{argument} needs {kind}"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--html" => page = Some(value("a file")?.into()),
                "--postgres" => postgres = Postgres::Url(value("a URL")?),
                "--no-postgres" => postgres = Postgres::Disabled,
                "--order-victim" => return Ok(Self::OrderVictim { folder: value("a folder")?.into() }),
                "--transfer-victim" => {
                    return Ok(Self::TransferVictim {
                        folder: value("a folder")?.into(),
                        checking: value("a database")?,
                        savings: value("an address")?,
                    });
                }
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(Self::Demo { page, postgres })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, Postgres};

    fn parse(arguments: &str) -> Result<Mode, String> {
        Mode::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_parsed() {
        assert_eq!(parse(""), Ok(Mode::Demo { page: None, postgres: Postgres::Auto }));
        let server = Postgres::Url("postgres://db".to_owned());
        assert_eq!(
            parse("--html a.html --postgres postgres://db"),
            Ok(Mode::Demo { page: Some("a.html".into()), postgres: server })
        );
        assert_eq!(parse("--no-postgres"), Ok(Mode::Demo { page: None, postgres: Postgres::Disabled }));
        assert_eq!(parse("--html a.html -h"), Ok(Mode::Help));
        assert_eq!(parse("--order-victim d"), Ok(Mode::OrderVictim { folder: "d".into() }));
        let (folder, [checking, savings]) = ("d".into(), ["c", "s"].map(str::to_owned));
        assert_eq!(parse("--transfer-victim d c s"), Ok(Mode::TransferVictim { folder, checking, savings }));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert_eq!(parse("--hmtl").unwrap_err(), "unknown argument `--hmtl`");
        assert_eq!(parse("--html").unwrap_err(), "--html needs a file");
        assert_eq!(parse("--transfer-victim d").unwrap_err(), "--transfer-victim needs a database");
    }
}
