//! The command-line program: draws OTLP JSON in the terminal or as a page, receives OTLP, and checks a configuration.

mod arguments;
mod demo;

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use otel_waterfall::{Page, Style, text};

use crate::arguments::{Mode, USAGE, parse};

fn main() -> ExitCode {
    let mode = match parse(std::env::args().skip(1)) {
        Ok(mode) => mode,
        Err(problem) => return fail(&format!("{problem}\n\n{USAGE}")),
    };
    match run(mode) {
        Ok(code) => code,
        Err(error) => fail(&chain(&*error)),
    }
}

fn run(mode: Mode) -> Result<ExitCode, Box<dyn Error>> {
    match mode {
        Mode::Help => write!(std::io::stdout(), "{USAGE}")?,
        Mode::Draw { files } => {
            let page = read(&files)?;
            draw(&page)?;
        }
        Mode::Page { files, html } => write_page(&read(&files)?, &html)?,
        Mode::Demo { html } => {
            let html = html.unwrap_or_else(|| std::env::temp_dir().join("otel-waterfall-demo.html"));
            let mut page = Page::new();
            page.add_otlp_json(&demo::otlp_json(demo::now()))?;
            write_page(&page, &html)?;
        }
        Mode::Serve(options) => return serve(options),
        Mode::Doctor => return doctor(),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "serve")]
mod network;
#[cfg(feature = "serve")]
use network::{doctor, serve};

#[cfg(not(feature = "serve"))]
const WITHOUT_NETWORK: &str =
    "this build has no network: build it with the feature `serve`, which is a default";

#[cfg(not(feature = "serve"))]
fn serve(_: arguments::Serve) -> Result<ExitCode, Box<dyn Error>> {
    Err(WITHOUT_NETWORK.into())
}

#[cfg(not(feature = "serve"))]
fn doctor() -> Result<ExitCode, Box<dyn Error>> {
    Err(WITHOUT_NETWORK.into())
}

/// Reads OTLP JSON from the files; `-` is the standard input.
fn read(files: &[PathBuf]) -> Result<Page, Box<dyn Error>> {
    let mut page = Page::new();
    for file in files {
        let name = file.display();
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            fs::read_to_string(file)
        };
        let text = text.map_err(|error| format!("cannot read {name}: {error}"))?;
        page.add_otlp_json(&text).map_err(|error| format!("cannot read {name}: {}", chain(&error)))?;
    }
    Ok(page)
}

fn draw(page: &Page) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let style = Style::terminal().with_events();
    for trace in page.traces() {
        writeln!(out, "{}", text(trace, &style))?;
    }
    if page.traces().is_empty() {
        writeln!(out, "no spans; `--html PAGE` also shows log records and metrics")?;
    }
    Ok(())
}

fn write_page(page: &Page, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    if path.as_os_str() == "-" {
        return Ok(out.write_all(page.html().as_bytes())?);
    }
    fs::write(path, page.html()).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let traces = page.traces().len();
    let noun = if traces == 1 { "trace" } else { "traces" };
    Ok(writeln!(out, "{traces} {noun} written to {}", path.display())?)
}

/// Formats an error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn fail(message: &str) -> ExitCode {
    // There is no other place for the message of a failed write.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
