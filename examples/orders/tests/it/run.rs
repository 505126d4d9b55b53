//! One run of the demonstration: its reports and its pictures.

use std::process::Output;
use std::sync::LazyLock;

use crate::broker::{START, brokers};
use crate::picture::Picture;
use crate::program;

const STEPS: [&str; 8] = [
    "The services start.",
    "An order is one trace",
    "Grace's key",
    "An unreadable order",
    "The third parcel",
    "A payment is read",
    "The bank is unavailable",
    "A second member joins the returns desk",
];

pub(crate) static MOCK: LazyLock<Run> = LazyLock::new(|| Run::parse(&program(&[]).output().unwrap()));

pub(crate) static BROKER: LazyLock<Run> =
    LazyLock::new(|| Run::parse(&program(&["--brokers", &brokers()]).output().unwrap()));

pub(crate) struct Run {
    /// The standard output, without the prefix of the topics.
    output: String,
    /// The prefix of the topics.
    pub(crate) prefix: Option<String>,
    pub(crate) pictures: Vec<Picture>,
}

impl Run {
    fn parse(output: &Output) -> Self {
        assert!(output.status.success(), "{output:#?}; on a real cluster: {START}");
        let stderr = std::str::from_utf8(&output.stderr).unwrap();
        assert!(!stderr.contains("cannot delete"), "{stderr}");
        let output = std::str::from_utf8(&output.stdout).unwrap();
        let prefix = output.lines().find_map(|line| line.strip_prefix("  topics have the prefix "));
        let prefix = prefix.map(str::to_owned);
        let output = match &prefix {
            Some(prefix) => output.replace(prefix, ""),
            None => output.to_owned(),
        };
        let pictures = Picture::all(&output);
        Self { output, prefix, pictures }
    }

    /// The reports of a step, and its pictures.
    #[track_caller]
    pub(crate) fn step(&self, about: &str) -> (Vec<&str>, Vec<Picture>) {
        let output = &self.output;
        let (_, rest) = output.split_once(about).unwrap_or_else(|| panic!("no `{about}` in {output}"));
        let end = STEPS.iter().filter_map(|step| rest.find(step)).min().unwrap_or(rest.len());
        let rest = &rest[..end];
        let reports = rest.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect();
        (reports, Picture::all(rest))
    }

    /// Checks the reports of a step and returns its pictures, of which there must be `N`.
    #[track_caller]
    pub(crate) fn pictures<const N: usize>(&self, about: &str, expected: &[&str]) -> [Picture; N] {
        let (reports, pictures) = self.step(about);
        assert_eq!(reports, expected);
        pictures.try_into().unwrap_or_else(|pictures| panic!("{pictures:#?}"))
    }
}
