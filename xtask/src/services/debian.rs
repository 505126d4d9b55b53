//! Packages of Debian and Ubuntu that a native recipe needs. They are installed only with permission: `--yes` on the
//! command line, or `CI` in the environment.

use std::{
    env,
    ffi::OsStr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::process::{answer, program, run_within};

/// Timeout of one `apt-get` command.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// `--yes` was given.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Permits [`install`] to change the system.
pub(crate) fn allow_install() {
    ALLOWED.store(true, Ordering::Relaxed);
}

fn may_install() -> bool {
    is_permitted(ALLOWED.load(Ordering::Relaxed), env::var_os("CI").as_deref())
}

fn is_permitted(yes: bool, ci: Option<&OsStr>) -> bool {
    yes || ci.is_some_and(|value| !value.is_empty())
}

/// A program, and the package that has it.
pub(crate) type Requirement = (&'static str, &'static str);

/// Returns `true` if a program of that name is on `PATH`.
pub(crate) fn has(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

pub(super) fn is_root(folder: &Path) -> bool {
    answer(program("id", folder).arg("-u")).as_deref() == Some("0")
}

/// Installs the packages with apt-get, as root and with permission. Otherwise returns an error that names the programs,
/// the packages, and the next step.
pub(crate) fn install(folder: &Path, missing: &[Requirement]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let can_install = has("apt-get") && is_root(folder);
    if let Some(reason) = refusal(missing, can_install, may_install()) {
        bail!(reason);
    }
    let apt = || {
        let mut command = program("apt-get", folder);
        // Waits for another apt-get to release the lock, and never prompts.
        command.args(["--quiet", "--option", "DPkg::Lock::Timeout=120"]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run_within(apt().arg("update"), LIMIT)
        .and_then(|()| {
            let packages = missing.iter().map(|(_, package)| package);
            // `--no-upgrade` keeps installed packages at their version.
            let install = ["install", "--yes", "--no-install-recommends", "--no-upgrade"];
            run_within(apt().args(install).args(packages), LIMIT)
        })
        .with_context(|| format!("{}; running it failed", complaint(missing)))
}

/// The reason why nothing is installed, if nothing may be.
fn refusal(missing: &[Requirement], can_install: bool, may_install: bool) -> Option<String> {
    match (can_install, may_install) {
        (true, true) => None,
        (true, false) => Some(format!("{}; `--yes` does that", complaint(missing))),
        (false, _) => Some(complaint(missing)),
    }
}

fn complaint(missing: &[Requirement]) -> String {
    let (programs, packages): (Vec<_>, Vec<_>) = missing.iter().copied().unzip();
    let (are, them) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
    format!(
        "{} {are} missing; on Debian and Ubuntu `apt-get install {}` installs {them}",
        programs.join(" and "),
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{complaint, has, install, is_permitted, refusal};
    use crate::services::lifecycle::tests::folder;

    #[test]
    fn programs_are_searched_on_the_path() {
        assert!(has("sh"));
        assert!(!has("no-such-program"));
    }

    #[test]
    fn missing_programs_are_named_with_their_packages() {
        assert_eq!(
            complaint(&[("mvn", "maven")]),
            "mvn is missing; on Debian and Ubuntu `apt-get install maven` installs it"
        );
        assert_eq!(
            complaint(&[("java", "a-jre"), ("mvn", "maven")]),
            "java and mvn are missing; on Debian and Ubuntu `apt-get install a-jre maven` installs them"
        );
    }

    #[test]
    fn packages_are_installed_with_permission_alone() {
        let missing = [("mvn", "maven")];
        let text = "mvn is missing; on Debian and Ubuntu `apt-get install maven` installs it";
        assert_eq!(refusal(&missing, true, true), None);
        assert_eq!(refusal(&missing, true, false), Some(format!("{text}; `--yes` does that")));
        assert_eq!(refusal(&missing, false, true).as_deref(), Some(text));
        assert_eq!(refusal(&missing, false, false).as_deref(), Some(text));
        assert!(is_permitted(true, None));
        assert!(is_permitted(false, Some(OsStr::new("true"))));
        assert!(!is_permitted(false, Some(OsStr::new(""))));
        assert!(!is_permitted(false, None));
    }

    #[test]
    fn an_empty_list_installs_nothing() {
        install(&folder("nothing-missing"), &[]).unwrap();
    }
}
