//! The results of a benchmark: a document of tables, printed as Markdown and written as JSON for `cargo xtask bench report`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::process::Failure;
use crate::table::{Goals, Table};

/// All tables of one run of a benchmark.
#[derive(Debug, Serialize)]
pub struct Document {
    /// The name of the benchmark.
    name: String,
    title: String,
    /// The arguments of the run.
    arguments: Vec<String>,
    machine: Machine,
    /// The time at which the run began, in UTC.
    date: String,
    seconds: f64,
    /// The load average of the last minute, before and after the run.
    load: [f64; 2],
    sections: Vec<Section>,
    #[serde(skip)]
    began: Instant,
}

/// The machine and the tools.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    system: String,
    rust: String,
}

/// A heading with its text and at most one table.
#[derive(Debug, Serialize)]
struct Section {
    /// The level of the heading, from 2.
    level: usize,
    title: String,
    table: Option<Table>,
    /// The paragraphs after the table.
    notes: Vec<String>,
}

impl Document {
    /// Creates the document of a run that begins now.
    pub fn new(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            title: name.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            machine: Machine::current(),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M"]),
            seconds: 0.0,
            load: [load(), f64::NAN],
            sections: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Sets the title.
    pub fn title(&mut self, title: &str) {
        title.clone_into(&mut self.title);
    }

    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) {
        self.begin(2, title.into());
    }

    /// Begins a section below the last one.
    pub fn subsection(&mut self, title: impl Into<String>) {
        self.begin(3, title.into());
    }

    fn begin(&mut self, level: usize, title: String) {
        self.sections.push(Section { level, title, table: None, notes: Vec::new() });
    }

    /// Sets the table of the last section; a table without rows is left out.
    pub fn table(&mut self, table: Table) {
        if let Some(section) = self.sections.last_mut().filter(|_| !table.is_empty()) {
            section.table = Some(table);
        }
    }

    /// Adds a paragraph to the last section.
    pub fn note(&mut self, text: impl Into<String>) {
        if let Some(section) = self.sections.last_mut() {
            section.notes.push(text.into());
        }
    }

    /// Ends the run: sections without content are removed, and the document is printed.
    pub fn finish(&mut self) {
        self.seconds = self.began.elapsed().as_secs_f64();
        self.load[1] = load();
        self.sections.retain(|section| section.level == 2 || section.table.is_some());
        print!("{}", self.markdown());
    }

    /// Writes the document as JSON; the file appears only when it is complete.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let partial = file.with_extension("json.partial");
        fs::write(&partial, serde_json::to_string_pretty(self)?)?;
        Ok(fs::rename(partial, file)?)
    }

    fn markdown(&self) -> String {
        let Self { title, machine, date, load: [before, after], .. } = self;
        let Machine { processor, cores, system, rust } = machine;
        let mut text = format!(
            "# {title}\n\n{processor}, {cores} cores, {system}; {rust}; {date} UTC; load average {before} before, {after} \
             after.\n\n"
        );
        for section in &self.sections {
            text.push_str(&format!("{} {}\n\n", "#".repeat(section.level), section.title));
            if let Some(table) = &section.table {
                text.push_str(&format!("{}\n", table.markdown()));
            }
            for note in &section.notes {
                text.push_str(&format!("{note}\n\n"));
            }
        }
        let goals = self.sections.iter().filter_map(|section| section.table.as_ref());
        let goals: Vec<&Goals> = goals.flat_map(Table::goals).collect();
        let sum = |count: fn(&Goals) -> usize| goals.iter().map(|goals| count(goals)).sum::<usize>();
        text.push_str(&format!("Goals: {} met, {} missed.\n", sum(Goals::met), sum(Goals::missed)));
        text
    }
}

impl Machine {
    fn current() -> Self {
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = information.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map(|(_, model)| model.trim());
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        Self {
            processor: model.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            rust: output(&compiler, &["--version"]),
        }
    }
}

/// Returns the output of a program, or its name if it fails.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    output.map_or_else(
        || program.to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Returns the load average of the last minute.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}
