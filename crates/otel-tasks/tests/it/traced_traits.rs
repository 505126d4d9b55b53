//! `#[traced]` on traits: the decorator of any implementation.

use async_trait::async_trait;
use opentelemetry::trace::SpanId;
use otel_tasks::{TaskInstrumentation, traced};
use otel_testing::Recorder;

use crate::support::{current, error_type, tasks};

fn names(recorder: &Recorder) -> Vec<String> {
    recorder.spans().iter().map(|span| span.name.to_string()).collect()
}

/// The instrumentation of the decorators of this test.
static RECORDED: std::sync::LazyLock<(Recorder, TaskInstrumentation)> = std::sync::LazyLock::new(|| {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    (recorder, tasks)
});

#[traced(kind = Client, instrumentation = &RECORDED.1)]
trait Repository<K: Send + 'static>: Send + Sync {
    type Row: Send;
    const TABLE: &'static str;

    async fn load(&self, key: K) -> Result<Self::Row, std::fmt::Error>;

    #[traced(name = "SELECT count", fields("limit" = limit))]
    fn count(&mut self, limit: usize) -> usize;

    #[traced(skip)]
    fn name(&self) -> &str;

    fn find(&self, key: K) -> impl Future<Output = Option<SpanId>> + Send;

    fn table() -> String {
        Self::TABLE.to_owned()
    }
}

struct Users(usize);

impl Repository<u8> for Users {
    type Row = SpanId;
    const TABLE: &'static str = "users";

    async fn load(&self, key: u8) -> Result<SpanId, std::fmt::Error> {
        tokio::task::yield_now().await;
        if key == 0 { Err(std::fmt::Error) } else { Ok(current()) }
    }

    fn count(&mut self, limit: usize) -> usize {
        self.0 += 1;
        self.0.min(limit)
    }

    fn name(&self) -> &str {
        "users"
    }

    async fn find(&self, _: u8) -> Option<SpanId> {
        Some(current())
    }
}

#[tokio::test]
async fn a_decorator_traces_any_implementation() {
    let recorder = &RECORDED.0;
    let mut users = TracedRepository::new(Users(0));
    let loaded = users.load(1).await.unwrap();
    assert_eq!(loaded, recorder.spans()[0].span_context.span_id());
    users.load(0).await.unwrap_err();
    assert_eq!(users.count(5), 1);
    assert_eq!(users.name(), "users");
    assert_eq!(users.find(1).await.unwrap(), recorder.spans()[3].span_context.span_id());
    assert_eq!(<TracedRepository<Users> as Repository<u8>>::table(), "users");
    assert_eq!(users.into_inner().0, 1);
    assert_eq!(names(recorder), ["Repository::load", "Repository::load", "SELECT count", "Repository::find"]);
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("core::fmt::Error"));
    assert!(recorder.tree().contains("CLIENT SELECT count\n    limit: 5\n"), "{}", recorder.tree());
    recorder.assert_clean();
}

static BOXED: std::sync::LazyLock<(Recorder, TaskInstrumentation)> = std::sync::LazyLock::new(|| {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    (recorder, tasks)
});

#[traced(decorator = TracedMailer, instrumentation = &BOXED.1)]
#[async_trait]
trait Mail: Send + Sync {
    async fn send(&self, to: &str) -> Result<SpanId, String>;
}

struct Smtp;

#[async_trait]
impl Mail for Smtp {
    async fn send(&self, to: &str) -> Result<SpanId, String> {
        if to.is_empty() { Err("no address".to_owned()) } else { Ok(current()) }
    }
}

#[tokio::test]
async fn a_trait_of_async_trait_is_decorated_too() {
    let mailer: Box<dyn Mail> = Box::new(TracedMailer::new(Smtp));
    let sent = mailer.send("ada@example.org").await.unwrap();
    mailer.send("").await.unwrap_err();
    let recorder = &BOXED.0;
    assert_eq!(sent, recorder.spans()[0].span_context.span_id());
    assert_eq!(names(recorder), ["Mail::send", "Mail::send"]);
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("_OTHER"));
    recorder.assert_clean();
}
