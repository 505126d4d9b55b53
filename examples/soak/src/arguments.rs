//! The arguments that every soak takes.

/// How long a soak is, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arguments {
    /// How many operations there are.
    pub requests: u64,
    /// What decides what each operation does.
    pub seed: u64,
    /// How many operations run at the same time.
    pub concurrency: u64,
}

impl Arguments {
    /// Reads `--seed N`, `--concurrency N`, and how many operations there are: what that argument is called, and what
    /// it and the concurrency are if nothing is said, differs.
    ///
    /// # Errors
    /// A complaint about the first argument that is wrong.
    pub fn parse(
        (operations, requests, concurrency): (&str, u64, u64),
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Self, String> {
        let mut parsed = Self { requests, seed: 1, concurrency };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let field = match argument.as_str() {
                given if given == operations => &mut parsed.requests,
                "--seed" => &mut parsed.seed,
                "--concurrency" => &mut parsed.concurrency,
                _ => {
                    return Err(format!(
                        "there is no argument `{argument}`; there are {operations} N, --seed N, --concurrency N"
                    ));
                }
            };
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            *field = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
        }
        if parsed.requests == 0 || parsed.concurrency == 0 {
            return Err("nothing would be done".to_owned());
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn parse(arguments: &str) -> Result<Arguments, String> {
        Arguments::parse(("--requests", 200_000, 64), arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(parse(""), Ok(Arguments { requests: 200_000, seed: 1, concurrency: 64 }));
        let all = parse("--seed 7 --requests 20 --concurrency 3");
        assert_eq!(all, Ok(Arguments { requests: 20, seed: 7, concurrency: 3 }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(parse("--request 3").unwrap_err().starts_with("there is no argument `--request`"));
        assert_eq!(parse("--seed").unwrap_err(), "--seed needs a number");
        assert_eq!(parse("--seed x").unwrap_err(), "`x` is not a number");
        assert_eq!(parse("--requests 0").unwrap_err(), "nothing would be done");
    }
}
