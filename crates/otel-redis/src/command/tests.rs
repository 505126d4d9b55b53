//! Names, keys and texts of commands, in both of their forms.

use proptest::prelude::*;

use super::packed::PackedCommands;
use super::{TextForm, arguments, text};

fn command(arguments: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(arguments);
    command
}

fn name(parts: &[&str]) -> String {
    arguments(&command(parts)).name().0.into_owned()
}

#[test]
fn a_command_is_named_as_the_application_wrote_it() {
    for (parts, expected) in [
        (&["GET", "k"][..], "GET"),
        (&["get", "k"], "get"),
        (&["JSON.SET", "k"], "JSON.SET"),
        (&["SCRIPT", "LOAD", "return 1"], "SCRIPT LOAD"),
        (&["config", "get", "*"], "config get"),
        (&["CLIENT", "NO-EVICT", "on"], "CLIENT NO-EVICT"),
        (&["XGROUP", "hunter2 hunter2"], "XGROUP"),
        (&["XGROUP"], "XGROUP"),
        (&["GET hunter2"], "_OTHER"),
        (&["7"], "_OTHER"),
        (&["Ä"], "_OTHER"),
        (&[""], "_OTHER"),
        (&[], "_OTHER"),
        (&["ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"], "_OTHER"),
    ] {
        assert_eq!(name(parts), expected, "{parts:?}");
    }
}

#[test]
fn the_first_key_is_found() {
    for (parts, expected) in [
        (&["GET", "k"][..], Some("k")),
        (&["MSET", "k", "v", "k2", "v2"], Some("k")),
        (&["EVALSHA", "digest", "1", "k", "a"], Some("k")),
        (&["EVALSHA", "digest", "0", "a"], None),
        (&["eval", "return 1", "2", "k", "k2"], Some("k")),
        (&["OBJECT", "ENCODING", "k"], Some("k")),
        (&["ZUNION", "2", "k", "k2"], Some("k")),
        (&["BLMPOP", "0", "2", "k", "k2"], Some("k")),
        (&["AUTH", "secret"], None),
        (&["PUBLISH", "channel", "text"], None),
        (&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"], None),
        (&["GET"], None),
        (&[], None),
    ] {
        let command = command(parts);
        let key = arguments(&command).key().map(|key| std::str::from_utf8(key).unwrap());
        assert_eq!(key, expected, "{parts:?}");
    }
}

#[test]
fn a_script_and_a_function_are_named() {
    let digest = "4a2267357833227dd98abdedb8cf24b15a986445";
    let evaluation = command(&["EVALSHA", digest, "0"]);
    assert_eq!(arguments(&evaluation).script(), Some(digest));
    assert_eq!(arguments(&command(&["EVAL", digest, "0"])).script(), None);
    assert_eq!(arguments(&command(&["EVALSHA", "hunter2", "0"])).script(), None);
    assert_eq!(arguments(&command(&["FCALL", "add_one", "0"])).function(), Some("add_one"));
    assert_eq!(arguments(&command(&["FCALL", "hunter2; x", "0"])).function(), None);
    assert_eq!(arguments(&command(&["GET", "add_one"])).function(), None);
}

#[test]
fn a_text_has_no_values() {
    let shown =
        |parts: &[&str], template| text([arguments(&command(parts))], template, TextForm::WithoutValues);
    assert_eq!(shown(&["SET", "k", "v"], None), "SET ? ?");
    assert_eq!(shown(&["SET", "k", "k"], Some("user:{id}")), "SET user:{id} ?");
    assert_eq!(shown(&["OBJECT", "ENCODING", "k"], Some("user:{id}")), "OBJECT ENCODING user:{id}");
    assert_eq!(shown(&["PING"], None), "PING");
    let many = [&["MGET"][..], &["k"; 17]].concat();
    assert_eq!(shown(&many, None), format!("MGET{} ...", " ?".repeat(16)));
    let pipeline = vec![command(&["GET", "k"]); 17];
    let shown = text(pipeline.iter().map(arguments), None, TextForm::WithoutValues);
    assert_eq!(shown, format!("{}...", "GET ?; ".repeat(16)));
}

#[test]
fn a_verbatim_text_has_a_limit() {
    let set = command(&["SET", "key", "value"]);
    let shown = |limit| text([arguments(&set)], None, TextForm::Verbatim(limit));
    assert_eq!(shown(100), "SET key value");
    for limit in 0..13 {
        assert!("SET key value".starts_with(shown(limit).trim_end()), "{}", shown(limit));
        assert!(shown(limit).len() <= limit + 1);
    }
}

#[test]
fn a_verbatim_text_has_no_credentials() {
    for parts in [
        &["auth", "app", "hunter2"][..],
        &["HELLO", "3", "AUTH", "app", "hunter2"],
        &["ACL", "SETUSER", "app", ">hunter2"],
        &["config", "set", "requirepass", "hunter2"],
        &["MIGRATE", "host", "1", "k", "0", "1", "AUTH2", "app", "hunter2"],
        &["SENTINEL", "SET", "main", "auth-pass", "hunter2"],
    ] {
        let shown = text([arguments(&command(parts))], None, TextForm::Verbatim(1000));
        assert!(shown.contains(" ? ?") && !shown.contains("hunter2") && !shown.contains("app"), "{shown}");
    }
}

#[test]
fn a_cursor_is_an_argument() {
    let mut scan = redis::cmd("SCAN");
    scan.cursor_arg(42).arg("MATCH");
    assert_eq!(text([arguments(&scan)], None, TextForm::WithoutValues), "SCAN ? ?");
}

#[test]
fn bytes_that_encode_no_command_end_the_list() {
    for (bytes, commands) in [
        (&b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"[..], 2),
        (b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPIN", 1),
        (b"*2\r\n$3\r\nGET\r\n", 0),
        (b"*9999999999999999999999\r\n", 0),
        (b"*1\r\n$18446744073709551615\r\nx\r\n", 0),
        (b"PING\r\n", 0),
        (b"", 0),
    ] {
        assert_eq!(PackedCommands(bytes).count(), commands, "{}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    #[test]
    fn packed_commands_are_read_as_they_were_written(
        list in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..5),
            0..5,
        ),
    ) {
        let mut packed = Vec::new();
        for arguments in &list {
            packed.extend(redis::pack_command(arguments));
        }
        let read: Vec<Vec<Vec<u8>>> = PackedCommands(&packed)
            .map(|command| command.0.map(<[u8]>::to_vec).collect())
            .collect();
        prop_assert_eq!(read, list);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for command in PackedCommands(&bytes) {
            let _ = (command.name(), command.key(), command.script(), command.function());
            let _ = text([command], Some("t"), TextForm::WithoutValues);
        }
    }

    #[test]
    fn no_value_is_in_the_text(values in proptest::collection::vec("[a-z]{8}", 0..20)) {
        let mut command = redis::cmd("MSET");
        command.arg(&values);
        let text = text([arguments(&command)], None, TextForm::WithoutValues);
        prop_assert!(values.iter().all(|value| !text.contains(value.as_str())), "{}", text);
    }
}
