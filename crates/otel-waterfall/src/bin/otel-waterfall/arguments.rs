//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Draws OpenTelemetry traces, with nothing else installed.

otel-waterfall FILE…               draws the traces of OTLP JSON in the terminal; `-` is the standard input
otel-waterfall --html PAGE FILE…   writes traces, log records and metrics as one HTML page
otel-waterfall --demo [--html PAGE]  writes a page that shows what it can do
otel-waterfall --serve [OPTIONS]   receives OTLP on 127.0.0.1 and shows it live
    --http-port PORT   for OTLP over HTTP, and for the page; default: 4318; 0: any free port
    --grpc-port PORT   for OTLP over gRPC; default: 4317; 0: any free port
    --max-mib MIB      memory for the data, beyond which the oldest are forgotten; default: 64
    --demo             sends itself the data of the demo
otel-waterfall doctor              sends one span as the OTEL_* environment says, and reports which step fails
";

#[derive(Debug, PartialEq)]
pub(crate) enum Mode {
    Help,
    Draw { files: Vec<PathBuf> },
    Page { files: Vec<PathBuf>, html: PathBuf },
    Demo { html: Option<PathBuf> },
    Serve(Serve),
    Doctor,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Serve {
    pub(crate) http_port: u16,
    pub(crate) grpc_port: u16,
    pub(crate) max_mib: usize,
    pub(crate) demo: bool,
}

impl Default for Serve {
    fn default() -> Self {
        Self { http_port: 4318, grpc_port: 4317, max_mib: 64, demo: false }
    }
}

pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Mode, String> {
    let mut arguments = arguments.into_iter();
    let (mut files, mut html, mut serves, mut demo) = (Vec::new(), None, false, false);
    let mut options = Serve::default();
    let mut has_options = false;
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| arguments.next().ok_or(format!("{argument} needs {what}"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Mode::Help),
            "--html" => html = Some(PathBuf::from(value("a file")?)),
            "--serve" => serves = true,
            "--demo" => demo = true,
            "--http-port" => options.http_port = number(&argument, &value("a port")?)?,
            "--grpc-port" => options.grpc_port = number(&argument, &value("a port")?)?,
            "--max-mib" => options.max_mib = number(&argument, &value("a number of MiB")?)?,
            other if other.starts_with('-') && other != "-" => return Err(format!("unknown option {other}")),
            _ => files.push(PathBuf::from(&argument)),
        }
        has_options |= matches!(&*argument, "--http-port" | "--grpc-port" | "--max-mib");
    }
    if has_options && !serves {
        return Err("ports and memory are options of --serve".to_owned());
    }
    match (serves, demo, html) {
        (true, _, Some(_)) => Err("--serve shows its page itself: leave --html out".to_owned()),
        (true, ..) | (_, true, _) if !files.is_empty() => Err("--serve and --demo read no files".to_owned()),
        (true, demo, None) => Ok(Mode::Serve(Serve { demo, ..options })),
        (false, true, html) => Ok(Mode::Demo { html }),
        (false, false, Some(_)) if files.is_empty() => Err("--html needs a file to read".to_owned()),
        (false, false, Some(html)) => Ok(Mode::Page { files, html }),
        _ if files == [PathBuf::from("doctor")] => Ok(Mode::Doctor),
        _ if files.is_empty() => Err("nothing to draw".to_owned()),
        _ => Ok(Mode::Draw { files }),
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option}: {text} is not a number in its range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Mode, String> {
        super::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_mode() {
        let files = || vec![PathBuf::from("a.json"), PathBuf::from("-")];
        assert_eq!(parse("a.json -"), Ok(Mode::Draw { files: files() }));
        assert_eq!(parse("a.json --html p.html -"), Ok(Mode::Page { files: files(), html: "p.html".into() }));
        assert_eq!(parse("--demo"), Ok(Mode::Demo { html: None }));
        assert_eq!(parse("--demo --html p.html"), Ok(Mode::Demo { html: Some("p.html".into()) }));
        assert_eq!(parse("--serve"), Ok(Mode::Serve(Serve::default())));
        let options = Serve { http_port: 0, grpc_port: 1, max_mib: 8, demo: true };
        assert_eq!(parse("--serve --http-port 0 --grpc-port 1 --max-mib 8 --demo"), Ok(Mode::Serve(options)));
        assert_eq!(parse("doctor"), Ok(Mode::Doctor));
        assert_eq!(parse("a.json -h"), Ok(Mode::Help));
    }

    #[test]
    fn each_mistake() {
        for (line, problem) in [
            ("", "nothing to draw"),
            ("--html", "--html needs a file"),
            ("--html p.html", "--html needs a file to read"),
            ("--serve --html p.html", "--serve shows its page itself: leave --html out"),
            ("--serve a.json", "--serve and --demo read no files"),
            ("--demo a.json", "--serve and --demo read no files"),
            ("--grpc-port 1 a.json", "ports and memory are options of --serve"),
            ("--serve --http-port 70000", "--http-port: 70000 is not a number in its range"),
            ("--color", "unknown option --color"),
        ] {
            assert_eq!(parse(line), Err(problem.to_owned()), "{line}");
        }
    }
}
