//! `saga-admin` on a file, with the application stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use otel_saga::Runtime;
use otel_saga::journal::{Journal, RedbJournal, Status};

use crate::order;
use crate::program::{admin, admin_with};

/// A directory that is removed after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otel-saga-admin-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> String {
        self.0.join("sagas.redb").display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Leaves two sagas that wait for their second attempt to pay, and a stopped application.
async fn two_wait(file: &str) {
    let journal: Arc<dyn Journal> = Arc::new(RedbJournal::open(file).unwrap());
    let saga = order();
    let runtime = Runtime::builder(Arc::clone(&journal), ()).with_saga(&saga).start();
    for key in ["1", "2"] {
        let id = runtime.start(&saga, key, "secret-input".to_owned()).await.unwrap();
        while runtime.status(&id).await.unwrap().summary.owner.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if key == "1" {
            let in_use = admin(["--redb", file], "list").failed();
            assert!(
                in_use.contains("is in use") && in_use.contains("Stop the application first"),
                "{in_use}"
            );
        }
    }
    runtime.shutdown(Duration::from_secs(60)).await;
    // Aborted tasks drop the journal when they are polled.
    while Arc::strong_count(&journal) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stopped_applications_sagas_are_looked_at_and_told() {
    let scratch = Scratch::new("told");
    let file = scratch.file();
    two_wait(&file).await;
    let on = ["--redb", &*file];

    let list = admin(on, "list").fine();
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("ID       SAGA     STATUS   CREATED"), "{list}");
    assert!(lines[1].starts_with("order/1  order 1  running  20") && lines.len() == 3, "{list}");
    let ids = |arguments| {
        let list = admin(on, arguments).json();
        list.iter().map(|summary| summary["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("list --json --limit 1"), ["order/1"]);
    assert_eq!(ids("--json list --after order/1"), ["order/2"]);
    assert_eq!(ids("--json list --saga trip").len(), 0);
    let counts = admin(on, "counts --json").json();
    assert_eq!((&counts[0]["status"], &counts[0]["count"]), (&"running".into(), &2.into()));

    assert_eq!(
        admin(on, "park order/1 order/2 --reason later").fine(),
        "asked to park order/1\nasked to park order/2\n"
    );
    assert_eq!(ids("list --json --status parked"), ["order/1", "order/2"]);
    assert_eq!(ids("list --json --reason-contains late"), ["order/1", "order/2"]);
    assert_eq!(ids("list --json --reason-contains never").len(), 0);
    let list = admin(on, "list --status parked").fine();
    assert!(list.lines().all(|line| line.ends_with("  later") || line.ends_with("  REASON")), "{list}");
    assert_eq!(admin(on, "list --json --limit 1").json()[0]["reason"], "later");
    let refused = admin(on, "retry order/1").failed();
    assert_eq!(refused, "saga-admin: `order/1` is parked: unpark it\n");
    assert_eq!(admin(on, "unpark order/1").fine(), "unparked order/1\n");
    assert_eq!(admin(on, "retry order/1").fine(), "retried order/1\n");
    assert_eq!(admin(on, "cancel order/2").fine(), "asked to cancel order/2\n");

    // The application carries out the requests when it runs again.
    let journal: Arc<dyn Journal> = Arc::new(RedbJournal::open(&file).unwrap());
    let saga = order();
    let runtime = Runtime::builder(Arc::clone(&journal), ()).with_saga(&saga).start();
    while runtime.status("order/1").await.unwrap().state.steps[1].action.attempts < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(runtime.wait("order/2").await.unwrap(), Status::Parked, "only unparking ends a parking");
    runtime.unpark("order/2").await.unwrap();
    assert_eq!(runtime.wait("order/2").await.unwrap(), Status::Compensated);
    runtime.shutdown(Duration::from_secs(60)).await;
    while Arc::strong_count(&journal) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(journal);
    assert_eq!(admin(on, "cancel order/2").failed(), "saga-admin: `order/2` has ended\n");
    assert_eq!(admin(on, "prune --older-than 1h").fine(), "pruned 0\n");
    assert_eq!(admin(on, "prune --older-than 0s").fine(), "pruned 1\n");
    assert_eq!(ids("list --json"), ["order/1"]);
}

#[tokio::test]
async fn instances_are_selected_by_a_filter_and_steps_resolved() {
    let scratch = Scratch::new("filter");
    let file = scratch.file();
    two_wait(&file).await;
    let on = ["--redb", &*file];
    for (arguments, said) in [
        ("park --saga trip", ""),
        ("park --saga order --saga-version 2", ""),
        ("retry --saga order", "retried order/1\nretried order/2\n"),
        ("park order/2 --reason broken", "asked to park order/2\n"),
        ("park --saga-version 1 --reason later", "asked to park order/1\n"),
        ("unpark --reason-contains lat", "unparked order/1\n"),
        ("cancel --saga order --status parked", "asked to cancel order/2\n"),
        ("resolve order/2 pay --undone --who ann --why asked", "resolved order/2\n"),
    ] {
        assert_eq!(admin(on, arguments).fine(), said, "{arguments}");
    }
    let resolve =
        |arguments: &str| admin(on, &format!("resolve order/{arguments} --who ann --why asked")).failed();
    assert_eq!(resolve("1 pay --refused"), "saga-admin: `order/1` is not parked: park it first\n");
    assert_eq!(resolve("2 buy --refused"), "saga-admin: `order/2` has no step `buy`\n");
    let undone = resolve("2 pay --undone");
    assert!(undone.contains("step `pay` of `order/2` cannot be resolved like this: record"), "{undone}");
    let done = r#"resolve order/2 reserve --done "secret-text" --who ann --why asked"#;
    assert_eq!(admin(on, done).fine(), "resolved order/2\n");
    let show = admin(on, "show order/2").fine();
    assert!(show.contains("resolved by ann (asked): undone") && !show.contains("secret"), "{show}");
    let shown = admin(on, "show order/2 --json").json();
    let resolved = shown[0]["records"].as_array().unwrap().last().unwrap();
    assert_eq!(resolved["resolved"]["resolution"], "done");
    for wrong in [
        "retry",
        "unpark --limit 1",
        "park order/1 --saga order",
        "resolve order/1 pay --refused --who ann",
        "resolve order/1 pay --who ann --why asked",
        "resolve order/1 pay --refused --undone --who a --why b",
        "resolve order/1 pay --done no-json --who ann --why asked",
    ] {
        assert_eq!(admin(on, wrong).code, 2, "{wrong}");
    }
}

#[tokio::test]
async fn inputs_and_outputs_are_shown_on_request_alone() {
    let scratch = Scratch::new("payloads");
    let file = scratch.file();
    two_wait(&file).await;
    let on = ["--redb", &*file];
    for arguments in ["show order/1", "show order/1 --json", "list", "list --json", "counts"] {
        let said = admin(on, arguments).fine();
        assert!(!said.contains("secret"), "{said}");
    }
    for arguments in ["show order/1 --payloads", "show order/1 --json --payloads"] {
        let said = admin(on, arguments).fine();
        assert!(said.contains("secret-input") && said.contains("secret-output"), "{said}");
    }
    let show = admin(on, "show order/1").fine();
    let told: Vec<Vec<&str>> = show.lines().skip(4).map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<String> = told
        .iter()
        .map(|words| {
            words.iter().filter(|word| !word.starts_with("20")).copied().collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = [
        "started order 1 of reserve, pay",
        "reserve attempt 1",
        "reserve done",
        "pay attempt 1",
        // A raw line feed would start another row of the table.
        "pay failed, again from no\\nanswer",
    ];
    assert_eq!(told, expected, "{show}");
    let shown = admin(on, "show order/1 --json").json();
    assert_eq!(shown[0]["instance"]["status"], "running");
    assert_eq!(shown[0]["records"][2]["done"], serde_json::json!({ "step": 0 }));
}

#[test]
fn what_is_wrong_is_said() {
    let scratch = Scratch::new("wrong");
    let file = scratch.file();
    let on = ["--redb", &*file];
    assert_eq!(admin(on, "list").failed(), format!("saga-admin: `{file}` is no file\n"));
    assert!(!scratch.0.join("sagas.redb").exists(), "looking at a journal has made one");
    drop(RedbJournal::open(&file).unwrap());
    assert_eq!(admin(on, "show order/9").failed(), "saga-admin: there is no instance `order/9`\n");
    assert_eq!(admin(on, "list").fine().lines().count(), 1);
    for wrong in
        ["lost", "show", "list --status lost", "list --limit 0", "prune", "prune --older-than 3y", "retry"]
    {
        assert_eq!(admin(on, wrong).code, 2, "{wrong}");
    }
    assert_eq!(admin_with(["--json", "list"], &[]).code, 2, "no journal");
    assert_eq!(
        admin_with(["--redb", &file], &["--postgres", "postgres://h", "list"]).code,
        2,
        "two journals"
    );
    assert_eq!(admin(on, "--help").code, 0);
}
