//! Debian and Ubuntu packages that native servers need: installed when running as root, otherwise named in the error.

use std::{env, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::process::{answer, program, run_within};

/// Timeout of one `apt-get` command.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Returns `true` if a program of that name is on `PATH`.
pub(crate) fn has(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

pub(super) fn is_root(folder: &Path) -> bool {
    answer(program("id", folder).arg("-u")).as_deref() == Some("0")
}

/// Installs the missing programs, given as pairs of program and package, with apt-get. Without apt-get or root it fails
/// with an error that names both.
pub(crate) fn install(folder: &Path, missing: &[(&str, &str)]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") || !is_root(folder) {
        bail!(complaint(missing));
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

fn complaint(missing: &[(&str, &str)]) -> String {
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
    use super::{complaint, has, install};
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
    fn an_empty_list_installs_nothing() {
        install(&folder("nothing-missing"), &[]).unwrap();
    }
}
