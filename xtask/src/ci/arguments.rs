//! The command line of `cargo xtask ci`: `[--full] [--yes] [--list | STEP…]`.

use anyhow::{Result, bail};

use crate::ci::{Step, When};

/// The steps of a run, and what the run may do.
pub(super) struct Arguments<'a> {
    pub(super) steps: Vec<&'a Step>,
    /// A step that cannot run on this machine is skipped. False for steps given by name: those fail.
    pub(super) may_skip: bool,
    /// `--yes`: system packages may be installed.
    pub(super) may_install: bool,
}

pub(super) enum Request<'a> {
    List,
    Run(Arguments<'a>),
}

/// Reads the command line. Steps given by name run in the order of the table; without names, all steps of the run.
pub(super) fn parse<'a>(steps: &'a [Step], arguments: &[String]) -> Result<Request<'a>> {
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.starts_with('-'));
    let has = |option: &str| options.iter().any(|given| *given == option);
    if let Some(unknown) =
        options.iter().find(|option| !["--full", "--yes", "--list"].contains(&option.as_str()))
    {
        bail!("unknown option `{unknown}` of `cargo xtask ci`; known: --full, --yes, --list");
    }
    if let Some(unknown) = names.iter().find(|name| steps.iter().all(|step| step.name != name.as_str())) {
        let list: Vec<_> = steps.iter().map(|step| step.name).collect();
        bail!("unknown step `{unknown}` of `cargo xtask ci`; known: {}", list.join(", "));
    }
    if has("--list") {
        return Ok(Request::List);
    }
    let chosen = |step: &&Step| {
        if names.is_empty() {
            step.when == When::Always || has("--full")
        } else {
            names.iter().any(|name| *name == step.name)
        }
    };
    Ok(Request::Run(Arguments {
        steps: steps.iter().filter(chosen).collect(),
        may_skip: names.is_empty(),
        may_install: has("--yes"),
    }))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Request, parse};
    use crate::ci::{STEPS, When};

    fn run(arguments: &[&str]) -> anyhow::Result<Arguments<'static>> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        match parse(STEPS, &arguments)? {
            Request::Run(arguments) => Ok(arguments),
            Request::List => panic!("`{arguments:?}` lists the steps"),
        }
    }

    fn names(arguments: &[&str]) -> Vec<&'static str> {
        run(arguments).unwrap().steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn the_quick_run_has_the_quick_steps_and_the_full_run_has_all() {
        let quick = run(&[]).unwrap();
        assert!(quick.steps.iter().all(|step| step.when == When::Always));
        assert!(quick.may_skip && !quick.may_install);
        for step in ["fmt", "tidy", "clippy", "features", "test", "doc", "deny"] {
            assert!(names(&[]).contains(&step), "{step} is not in the quick run");
        }
        assert_eq!(names(&["--full"]).len(), STEPS.len());
        assert!(run(&["--yes", "--full"]).unwrap().may_install);
    }

    #[test]
    fn steps_given_by_name_run_in_the_order_of_the_table() {
        assert_eq!(names(&["soak-http", "clippy", "fmt"]), ["fmt", "clippy", "soak-http"]);
        assert!(!run(&["fmt"]).unwrap().may_skip);
    }

    #[test]
    fn unknown_names_and_options_are_errors_that_list_the_known_ones() {
        let error =
            |arguments: &[&str]| run(arguments).err().map(|error| error.to_string()).unwrap_or_default();
        let text = error(&["fmt", "clipy"]);
        assert!(text.starts_with("unknown step `clipy` of `cargo xtask ci`; known: tools, fmt, "), "{text}");
        assert_eq!(
            error(&["--ful"]),
            "unknown option `--ful` of `cargo xtask ci`; known: --full, --yes, --list"
        );
    }

    #[test]
    fn the_list_is_asked_for_by_an_option() {
        assert!(matches!(parse(STEPS, &["--list".to_owned()]).unwrap(), Request::List));
    }
}
