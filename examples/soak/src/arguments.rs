//! The command line of a soak.

/// The parameters of a soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arguments {
    /// The number of operations.
    pub requests: u64,
    /// The seed of the random numbers that determine each operation.
    pub seed: u64,
    /// The number of concurrent operations.
    pub concurrency: u64,
}

impl Arguments {
    /// Parses `--seed N`, `--concurrency N` and the number of operations. The tuple has the name of that argument, its
    /// default, and the default of the concurrency.
    ///
    /// # Errors
    /// A description of the first invalid argument.
    pub fn parse(
        (operations, requests, concurrency): (&str, u64, u64),
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Self, String> {
        let mut parsed = Self { requests, seed: 1, concurrency };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let field = match argument.as_str() {
                name if name == operations => &mut parsed.requests,
                "--seed" => &mut parsed.seed,
                "--concurrency" => &mut parsed.concurrency,
                _ => {
                    return Err(format!(
                        "unknown argument `{argument}`; expected {operations} N, --seed N, --concurrency N"
                    ));
                }
            };
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            *field = value.parse().map_err(|_| format!("invalid number `{value}` for {argument}"))?;
        }
        if parsed.requests == 0 || parsed.concurrency == 0 {
            return Err(format!("{operations} and --concurrency must be positive"));
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
    fn arguments_are_parsed() {
        assert_eq!(parse(""), Ok(Arguments { requests: 200_000, seed: 1, concurrency: 64 }));
        let all = parse("--seed 7 --requests 20 --concurrency 3");
        assert_eq!(all, Ok(Arguments { requests: 20, seed: 7, concurrency: 3 }));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        assert!(parse("--request 3").unwrap_err().starts_with("unknown argument `--request`"));
        assert_eq!(parse("--seed").unwrap_err(), "--seed needs a number");
        assert_eq!(parse("--seed x").unwrap_err(), "invalid number `x` for --seed");
        assert_eq!(parse("--requests 0").unwrap_err(), "--requests and --concurrency must be positive");
    }
}
