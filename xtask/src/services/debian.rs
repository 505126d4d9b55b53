//! Packages of Debian and Ubuntu that a native recipe needs: installed where we may, named where we may not.

use std::{env, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::process::{answer, program, run_within};

/// How long fetching and installing may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Whether a program of that name is on the path.
pub(crate) fn has(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

pub(super) fn is_root(folder: &Path) -> bool {
    answer(program("id", folder).arg("-u")).as_deref() == Some("0")
}

/// Installs what is missing, pairs of a program and the package that has it: as root, with apt-get. Everywhere else
/// it is an error that names both.
pub(crate) fn install(folder: &Path, missing: &[(&str, &str)]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") || !is_root(folder) {
        bail!(complaint(missing));
    }
    let apt = || {
        let mut command = program("apt-get", folder);
        // Another apt-get may be at work; and nobody is there to answer questions.
        command.args(["--quiet", "--option", "DPkg::Lock::Timeout=120"]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run_within(apt().arg("update"), LIMIT)
        .and_then(|()| {
            let packages = missing.iter().map(|(_, package)| package);
            // What is there stays as it is.
            let install = ["install", "--yes", "--no-install-recommends", "--no-upgrade"];
            run_within(apt().args(install).args(packages), LIMIT)
        })
        .with_context(|| format!("{}; that failed", complaint(missing)))
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
    fn programs_are_looked_for_on_the_path() {
        assert!(has("sh"));
        assert!(!has("no-such-program"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
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
    fn nothing_is_installed_where_nothing_is_missing() {
        install(&folder("nothing-missing"), &[]).unwrap();
    }
}
