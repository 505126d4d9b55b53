//! Runs the program, and holds its exit code and output.

use std::process::Command;

pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    /// Returns the output of a run that succeeded.
    pub(crate) fn fine(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// Returns the error output of a run with exit code 1.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.out, self.error);
        self.error
    }

    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        self.fine().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the program with the journal's arguments followed by these, which are split at spaces.
pub(crate) fn admin(journal: [&str; 2], arguments: &str) -> Said {
    admin_with(journal, &arguments.split(' ').collect::<Vec<_>>())
}

pub(crate) fn admin_with(journal: [&str; 2], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saga-admin"));
    command.args(journal).args(arguments).env_remove("SAGA_POSTGRES");
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}
