//! The demonstration: its messages and its traces.

use std::sync::LazyLock;

use crate::picture::Picture;
use crate::program;

static OUTPUT: LazyLock<String> = LazyLock::new(|| {
    let output = program(&[]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
});

static PICTURES: LazyLock<Vec<Picture>> = LazyLock::new(|| Picture::all(&OUTPUT));

const STEPS: [&str; 6] = [
    "Ada joins.",
    "Grace joins:",
    "A message is one trace",
    "The reply is another trace.",
    "Grace's connection breaks:",
    "Ada leaves:",
];

/// The printed messages of a step, and its pictures.
fn step(about: &str) -> (Vec<&'static str>, Vec<Picture>) {
    let (_, rest) = OUTPUT.split_once(about).unwrap_or_else(|| panic!("no `{about}` in {}", *OUTPUT));
    let end = STEPS.iter().filter_map(|step| rest.find(step)).min().unwrap_or(rest.len());
    let rest = &rest[..end];
    let messages = rest.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect();
    (messages, Picture::all(rest))
}

fn only(pictures: Vec<Picture>) -> Picture {
    let [picture] = pictures.try_into().unwrap();
    picture
}

#[test]
fn a_message_is_one_trace_from_member_to_member_linked_to_the_calls() {
    for (about, said, from, to) in [
        (
            "A message is one trace",
            ["ada says   Hello, Grace!", "grace hears  ada: Hello, Grace!"],
            "ada",
            "grace",
        ),
        (
            "The reply is another trace.",
            [
                "grace says   Hello, Ada! I was just about to",
                "ada hears  grace: Hello, Ada! I was just about to",
            ],
            "grace",
            "ada",
        ),
    ] {
        let (lines, pictures) = step(about);
        assert_eq!(lines, said);
        let expected = [
            format!("chat.Room/Talk send {from} producer"),
            format!("│  → {from}'s call"),
            "└─ chat.Room/Talk receive chat consumer".to_owned(),
            format!("   │  → {from}'s call"),
            "   └─ chat.Room/Talk send chat producer".to_owned(),
            format!("      │  → {to}'s call"),
            format!("      └─ chat.Room/Talk receive {to} consumer"),
            format!("            → {to}'s call"),
        ];
        assert_eq!(only(pictures).with_links(&PICTURES), expected);
    }
}

#[test]
fn a_join_notifies_both_members_in_one_trace() {
    let (lines, pictures) = step("Ada joins.");
    assert_eq!(lines, ["ada hears  * joined; the room is empty"]);
    assert_eq!(only(pictures).rows.len(), 8);

    let (lines, pictures) = step("Grace joins:");
    assert_eq!(lines, ["grace hears  * joined; members: ada", "ada hears  * grace joined"]);
    // The order of the two notifications is not deterministic.
    let mut rows: Vec<_> = only(pictures).with_links(&PICTURES);
    let root: Vec<_> = rows.drain(..4).collect();
    assert_eq!(
        root,
        [
            "chat.Room/Talk send grace producer",
            "│  → grace's call",
            "└─ chat.Room/Talk receive chat consumer",
            "   │  → grace's call"
        ]
    );
    let mut branches: Vec<_> = rows
        .chunks(4)
        .map(|branch| {
            branch.iter().map(|row| row.trim_start_matches(['│', '├', '└', '─', ' '])).collect::<Vec<_>>()
        })
        .collect();
    branches.sort();
    let branch = |to: &str| {
        let call = format!("→ {to}'s call");
        let receive = format!("chat.Room/Talk receive {to} consumer");
        vec!["chat.Room/Talk send chat producer".to_owned(), call.clone(), receive, call]
    };
    assert_eq!(branches, [branch("ada"), branch("grace")]);
}

#[test]
fn a_broken_connection_is_cancelled_on_the_server_and_announced() {
    let (lines, pictures) = step("Grace's connection breaks:");
    assert_eq!(lines[0], "ada hears  * grace lost the connection");
    let status = lines[1].strip_prefix("grace's stream ends with ").unwrap_or_else(|| panic!("{lines:?}"));
    let (calls, messages): (Vec<_>, Vec<_>) = pictures.into_iter().partition(Picture::is_call);
    let call = only(calls);
    assert_eq!(call.rows[0], "✗ chat.Room/Talk grace client");
    let server = call.rows.iter().position(|row| row == "└─ chat.Room/Talk chat server").unwrap();
    // The client span has the class of the cause, and the status that tonic returned to the caller.
    assert!(call.rows[1].starts_with("│  ✗ connection_"), "{:?}", call.rows);
    let (client, server) = call.rows.split_at(server);
    assert_eq!(
        client[2..],
        [
            "◆ SENT 1",
            "◆ RECEIVED 1",
            "◆ RECEIVED 2",
            "◆ SENT 2",
            &format!("rpc.response.status_code={}", status.to_uppercase())
        ]
        .map(|row| format!("│  {row}"))
    );
    assert_eq!(
        server[1..],
        ["◆ RECEIVED 1", "◆ SENT 1", "◆ SENT 2", "◆ RECEIVED 2", "rpc.response.status_code=CANCELLED"]
            .map(|row| format!("      {row}"))
    );
    assert_eq!(
        only(messages).with_links(&PICTURES),
        [
            "chat.Room/Talk send chat producer",
            "│  → ada's call",
            "└─ chat.Room/Talk receive ada consumer",
            "      → ada's call"
        ]
    );
}

#[test]
fn a_member_that_leaves_has_status_ok_and_every_message_event() {
    let (lines, pictures) = step("Ada leaves:");
    assert_eq!(lines, [""; 0]);
    assert_eq!(
        only(pictures).rows,
        [
            "chat.Room/Talk ada client",
            "│  ◆ SENT 1",
            "│  ◆ RECEIVED 1",
            "│  ◆ RECEIVED 2",
            "│  ◆ SENT 2",
            "│  ◆ RECEIVED 3",
            "│  ◆ RECEIVED 4",
            "│  rpc.response.status_code=OK",
            "└─ chat.Room/Talk chat server",
            "      ◆ RECEIVED 1",
            "      ◆ SENT 1",
            "      ◆ SENT 2",
            "      ◆ RECEIVED 2",
            "      ◆ SENT 3",
            "      ◆ SENT 4",
            "      rpc.response.status_code=OK"
        ]
    );
}

#[test]
fn each_call_and_each_message_is_one_trace() {
    let mut ids: Vec<_> = PICTURES.iter().map(|picture| picture.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((PICTURES.len(), ids.len()), (7, 7), "{}", *OUTPUT);
    assert_eq!(PICTURES.iter().filter(|picture| picture.is_call()).count(), 2, "{}", *OUTPUT);
    assert!(!OUTPUT.contains("missing parent"), "{}", *OUTPUT);
}

#[test]
fn the_chat_is_the_same_without_telemetry() {
    for (variable, value) in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let output = program(&[]).env(variable, value).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("  ada hears  * grace lost the connection\n"), "{output}");
        assert!(Picture::all(&output).is_empty(), "{output}");
    }
}
