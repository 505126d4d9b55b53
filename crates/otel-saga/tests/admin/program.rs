//! The program and what it has said.

use std::process::Command;

pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    /// What it printed, when it has done what it was told.
    pub(crate) fn fine(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// What it complained of, with 1.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.out, self.error);
        self.error
    }

    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        self.fine().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs it with these arguments, parted at spaces, behind the journal's.
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
