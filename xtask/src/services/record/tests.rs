//! Round trips of records and of the file of variables.

use std::{fs, path::PathBuf, process::Command};

use super::{Record, Server, Variables, exports, write_environment};
use crate::services::{daemon::Process, lifecycle::tests::folder};

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_record_survives_a_round_trip() {
    let folder = folder("record");
    assert_eq!(Record::read(&folder).unwrap(), None);
    for server in [
        Server::External,
        Server::Compose { project: "otel-collector-7".to_owned() },
        Server::Native(Process { id: 12, start_time: 345 }),
    ] {
        let variables = variables(&[("A_URL", "http://127.0.0.1:1/?a=b"), ("B_LOG", "/a folder/it's")]);
        let record = Record { server, variables };
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).unwrap(), Some(record));
    }
    Record::remove(&folder).unwrap();
    Record::remove(&folder).unwrap();
    assert_eq!(Record::read(&folder).unwrap(), None);
}

#[test]
fn an_invalid_record_counts_as_none() {
    let folder = folder("no-record");
    for text in ["", "given", "process 12\n", "process x 3\n", "compose\n", "robot 12 3\n", "given\nA_URL\n"]
    {
        fs::write(folder.join("record"), text).unwrap();
        assert_eq!(Record::read(&folder).unwrap(), None, "{text:?}");
    }
}

#[test]
fn variables_are_quoted_for_a_shell() {
    let text =
        exports(&variables(&[("A", "http://127.0.0.1:1"), ("B", "/a b"), ("C", "it's $HOME"), ("D", "")]));
    let expected = r"export A=http://127.0.0.1:1
export B='/a b'
export C='it'\''s $HOME'
export D=''
";
    assert_eq!(text, expected);
}

#[cfg(unix)]
#[test]
fn a_shell_reads_the_variables_unchanged() {
    let values = ["it's $HOME `x` \"y\" \\", "a b", "http://h:1/?a=b,c"];
    for value in values {
        let script = format!("{}printf %s \"$X\"", exports(&variables(&[("X", value)])));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }
}

#[test]
fn the_file_has_the_variables_of_all_running_services() {
    let top = folder("environment");
    let folders: Vec<PathBuf> = ["one", "two", "three"].map(|name| top.join(name)).to_vec();
    for (folder, name) in folders.iter().zip(["ONE", "TWO"]) {
        fs::create_dir_all(folder).unwrap();
        Record { server: Server::External, variables: variables(&[(name, "1")]) }.write(folder).unwrap();
    }
    let path = top.join("env");
    let write = || write_environment(&path, folders.iter().map(PathBuf::as_path)).unwrap();
    write();
    assert_eq!(fs::read_to_string(&path).unwrap(), "export ONE=1\nexport TWO=1\n");
    Record::remove(&folders[0]).unwrap();
    write();
    assert_eq!(fs::read_to_string(&path).unwrap(), "export TWO=1\n");
    Record::remove(&folders[1]).unwrap();
    write();
    assert!(!path.exists());
}
