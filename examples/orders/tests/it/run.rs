//! One run of the demonstration: what the services said, and what was drawn.

use std::process::Output;
use std::sync::LazyLock;

use crate::broker::{START, brokers};
use crate::picture::Picture;
use crate::program;

const STEPS: [&str; 7] = [
    "The services start.",
    "An order is one trace",
    "Grace's key",
    "An order that nobody can read",
    "The third parcel",
    "A payment read",
    "The bank is away",
];

pub(crate) static MOCK: LazyLock<Run> = LazyLock::new(|| Run::of(&program(&[]).output().unwrap()));

pub(crate) static BROKER: LazyLock<Run> =
    LazyLock::new(|| Run::of(&program(&["--brokers", &brokers()]).output().unwrap()));

pub(crate) struct Run {
    /// The same, whatever the topics were called.
    output: String,
    /// What the names of its topics began with.
    pub(crate) prefix: Option<String>,
    pub(crate) pictures: Vec<Picture>,
}

impl Run {
    fn of(output: &Output) -> Self {
        assert!(output.status.success(), "{output:#?}; on a real cluster: {START}");
        // A warning would be one of a client that did not mend, or of topics that were not removed.
        let complaints = std::str::from_utf8(&output.stderr).unwrap();
        assert!(!complaints.contains("is not removed"), "{complaints}");
        let output = std::str::from_utf8(&output.stdout).unwrap();
        let named =
            output.lines().find_map(|line| line.strip_prefix("  The names of all topics begin with "));
        let prefix = named.map(str::to_owned);
        let output = match &prefix {
            Some(prefix) => output.replace(prefix, ""),
            None => output.to_owned(),
        };
        let pictures = Picture::all(&output);
        Self { output, prefix, pictures }
    }

    /// What was said in a step, and its pictures.
    #[track_caller]
    pub(crate) fn step(&self, about: &str) -> (Vec<&str>, Vec<Picture>) {
        let output = &self.output;
        let (_, rest) = output.split_once(about).unwrap_or_else(|| panic!("no `{about}` in {output}"));
        let end = STEPS.iter().filter_map(|step| rest.find(step)).min().unwrap_or(rest.len());
        let rest = &rest[..end];
        let said = rest.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect();
        (said, Picture::all(rest))
    }

    /// The pictures of a step, which say what is expected and are so many.
    #[track_caller]
    pub(crate) fn pictures<const N: usize>(&self, about: &str, expected: &[&str]) -> [Picture; N] {
        let (said, pictures) = self.step(about);
        assert_eq!(said, expected);
        pictures.try_into().unwrap_or_else(|pictures| panic!("{pictures:#?}"))
    }
}
