//! The command line.

use std::path::PathBuf;

/// What is printed for `--help`, and beneath a complaint.
pub(crate) const HELP: &str = "\
transfer [--postgres URL | --no-postgres] [--html FILE]

  (no arguments)    the orders need nothing; the transfers need a Postgres, which is the one of POSTGRES_URL, or one that
                    is started if its programs are installed; else they are left out
  --postgres URL    on this server, in two databases which are made and dropped; postgres://USER:PASSWORD@HOST:PORT
  --no-postgres     the orders alone
  --html FILE       where the page with all traces goes; beside the program if not told
  --help            prints this
";

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Help,
    Demo {
        page: Option<PathBuf>,
        postgres: Postgres,
    },
    /// The program starts itself so, to be killed.
    OrderVictim {
        folder: PathBuf,
    },
    /// The same for a transfer: the URL of the database `checking` and the address of the service `savings`.
    TransferVictim {
        folder: PathBuf,
        checking: String,
        savings: String,
    },
}

/// Which Postgres.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Postgres {
    At(String),
    IfThere,
    Without,
}

impl Mode {
    /// Reads the arguments; a complaint about the first one that is wrong is the error.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut page, mut postgres) = (None, Postgres::IfThere);
        while let Some(argument) = arguments.next() {
            let mut value = |what| arguments.next().ok_or(format!("{argument} needs {what}"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--html" => page = Some(value("a file")?.into()),
                "--postgres" => postgres = Postgres::At(value("a URL")?),
                "--no-postgres" => postgres = Postgres::Without,
                "--order-victim" => return Ok(Self::OrderVictim { folder: value("a folder")?.into() }),
                "--transfer-victim" => {
                    return Ok(Self::TransferVictim {
                        folder: value("a folder")?.into(),
                        checking: value("a database")?,
                        savings: value("an address")?,
                    });
                }
                _ => return Err(format!("there is no argument `{argument}`")),
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
    fn arguments_are_read() {
        assert_eq!(parse(""), Ok(Mode::Demo { page: None, postgres: Postgres::IfThere }));
        let there = Postgres::At("postgres://db".to_owned());
        assert_eq!(
            parse("--html a.html --postgres postgres://db"),
            Ok(Mode::Demo { page: Some("a.html".into()), postgres: there })
        );
        assert_eq!(parse("--no-postgres"), Ok(Mode::Demo { page: None, postgres: Postgres::Without }));
        assert_eq!(parse("--html a.html -h"), Ok(Mode::Help));
        assert_eq!(parse("--order-victim d"), Ok(Mode::OrderVictim { folder: "d".into() }));
        let (folder, [checking, savings]) = ("d".into(), ["c", "s"].map(str::to_owned));
        assert_eq!(parse("--transfer-victim d c s"), Ok(Mode::TransferVictim { folder, checking, savings }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse("--hmtl").unwrap_err(), "there is no argument `--hmtl`");
        assert_eq!(parse("--html").unwrap_err(), "--html needs a file");
        assert_eq!(parse("--transfer-victim d").unwrap_err(), "--transfer-victim needs a database");
    }
}
