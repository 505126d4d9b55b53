//! Signatures and items that `#[traced]` keeps as they are, without a warning in the caller's code.

#![deny(warnings, reason = "code that the macro generates has no warnings")]

use std::fmt::{Debug, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use opentelemetry::trace::SpanId;
use otel_tasks::{Attributes, TaskInstrumentation, traced};
use otel_testing::Recorder;

use crate::support::{current, error_type, tasks};

struct Words(TaskInstrumentation, Vec<String>);

#[rustfmt::skip]
impl Words {
    #[traced(instrumentation = &self.0)]
    #[inline]
    #[must_use]
    fn all(&mut self) -> &mut Vec<String> { &mut self.1 }

    #[traced(instrumentation = &self.0)]
    fn shared(self: Arc<Self>) -> usize { self.1.len() }

    #[traced(instrumentation = &self.0)]
    async fn pinned(self: Pin<&mut Self>) -> usize { self.1.len() }

    #[traced(instrumentation = &self.0)]
    #[allow(dead_code, reason = "the attribute of a traced function")]
    #[cfg(any())]
    fn absent(&self, value: Missing) -> Missing { value }

    #[traced(instrumentation = &self.0)]
    fn borrowed(&self) -> std::borrow::Cow<'_, str> { self.1[0].as_str().into() }

    #[traced(instrumentation = &self.0)]
    async fn sorted<const N: usize, T>(self: &Arc<Self>, mut values: [T; N]) -> [T; N] where T: Ord + Send { values.sort(); values }
}

#[traced(instrumentation = tasks)]
fn never(tasks: &TaskInstrumentation) -> ! {
    panic!("on purpose")
}

#[traced(instrumentation = tasks)]
async fn all_paths_return(tasks: &TaskInstrumentation, value: u8) -> u8 {
    if value > 0 { return value } else { panic!("on purpose") }
}

#[traced(instrumentation = tasks)]
fn opaque(tasks: &TaskInstrumentation, path: &str) -> Result<impl Iterator<Item = u8>, std::io::Error> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.into_iter())
}

#[traced(instrumentation = tasks)]
async fn converted(
    tasks: &TaskInstrumentation,
    text: &str,
) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    if text.is_empty() {
        return Err("empty".into());
    }
    Ok(text.parse()?)
}

#[traced(instrumentation = tasks)]
extern "C" fn foreign(tasks: &TaskInstrumentation, value: u8) -> u8 {
    value
}

#[tokio::test]
async fn functions_keep_their_form() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    let mut words = Words(tasks.clone(), vec![String::from("one")]);
    words.all().push(String::from("two"));
    assert_eq!(words.borrowed(), "one");
    assert_eq!(Pin::new(&mut words).pinned().await, 2);
    let words = Arc::new(words);
    assert_eq!(words.sorted([3, 1, 2]).await, [1, 2, 3]);
    assert_eq!(words.shared(), 2);
    assert_eq!(all_paths_return(&tasks, 1).await, 1);
    assert!(opaque(&tasks, "/nonexistent").is_err());
    assert_eq!(error_type(&recorder.span("opaque")).as_deref(), Some("not_found"));
    assert!(converted(&tasks, "").await.is_err());
    assert_eq!(converted(&tasks, "7").await.unwrap(), 7);
    assert_eq!(foreign(&tasks, 7), 7);
    catch_unwind(AssertUnwindSafe(|| never(&tasks))).unwrap_err();
    assert_eq!(error_type(&recorder.span("never")).as_deref(), Some("panic"));
    recorder.assert_clean();
}

#[traced(instrumentation = &RECORDED.1)]
trait Store<T = u8>: Sized
where
    T: Debug + Display,
{
    fn make(value: T) -> Self;
    fn with(self, value: T) -> Self;
    fn get(&self) -> String;
    fn not_inferred<U: Default + Debug>(&self) -> String;
    fn generic<U: Default, const N: usize>(&self) -> [U; N];
    fn opaque(&self, value: impl Display) -> String;
    fn has_default(&self, mut value: u32) -> u32 {
        value += 1;
        value
    }
    #[deprecated]
    #[must_use]
    fn old(&self) -> u8 {
        1
    }
    #[cfg(any())]
    fn absent(&self, value: Missing);
    #[cfg(any())]
    const ABSENT: Missing;
    #[cfg(any())]
    type Absent;
}

#[derive(Attributes)]
struct Raw {
    #[attribute]
    r#type: u8,
}

#[traced(instrumentation = r#in, fields(r#type, ..raw))]
fn r#match(r#in: &TaskInstrumentation, r#type: u8, raw: &Raw) -> u8 {
    r#type + raw.r#type
}

#[traced(instrumentation = &RECORDED_RAW.1)]
trait r#Dyn {
    fn r#use(&self, r#fn: u8) -> u8;
}

impl r#Dyn for u8 {
    fn r#use(&self, r#fn: u8) -> u8 {
        self + r#fn
    }
}

static RECORDED_RAW: std::sync::LazyLock<(Recorder, TaskInstrumentation)> = std::sync::LazyLock::new(|| {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    (recorder, tasks)
});

#[test]
fn raw_identifiers_have_their_plain_names() {
    let (recorder, tasks) = &*RECORDED_RAW;
    assert_eq!(r#match(tasks, 1, &Raw { r#type: 2 }), 3);
    assert_eq!(TracedDyn::new(1_u8).r#use(2), 3);
    assert_eq!(recorder.tree(), "INTERNAL match\n    type: 1\n    type: 2\nINTERNAL Dyn::use\n");
}

#[async_trait::async_trait]
trait Mailer: Sync {
    async fn deliver(&self, to: &str) -> Result<SpanId, std::fmt::Error>;
    fn boxed<'a>(&'a self, to: &'a str) -> Pin<Box<dyn Future<Output = (SpanId, usize)> + Send + 'a>>;
    fn alias<'a>(&'a self) -> BoxFuture<'a, SpanId>;
}

#[async_trait::async_trait]
impl Mailer for TaskInstrumentation {
    #[traced(instrumentation = self)]
    async fn deliver(&self, to: &str) -> Result<SpanId, std::fmt::Error> {
        tokio::task::yield_now().await;
        if to.is_empty() { Err(std::fmt::Error) } else { Ok(current()) }
    }

    #[traced(instrumentation = self)]
    fn boxed<'a>(&'a self, to: &'a str) -> Pin<Box<dyn Future<Output = (SpanId, usize)> + Send + 'a>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            (current(), to.len())
        })
    }

    #[traced(instrumentation = self)]
    fn alias<'a>(&'a self) -> BoxFuture<'a, SpanId> {
        Box::pin(async { current() })
    }
}

#[tokio::test]
async fn a_boxed_future_is_in_the_span_until_it_ends() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    let id = |name| recorder.span(name).span_context.span_id();
    let delivered = tokio::spawn({
        let tasks = tasks.clone();
        async move { tasks.deliver("ada").await }
    });
    assert_eq!(delivered.await.unwrap().unwrap(), id("deliver"));
    assert_eq!(tasks.boxed("ada").await, (id("boxed"), 3));
    assert_eq!(tasks.alias().await, id("alias"));
    assert!(tasks.deliver("").await.is_err());
    assert_eq!(error_type(recorder.spans().last().unwrap()).as_deref(), Some("core::fmt::Error"));
    recorder.assert_clean();
}

static RECORDED: std::sync::LazyLock<(Recorder, TaskInstrumentation)> = std::sync::LazyLock::new(|| {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    (recorder, tasks)
});

#[derive(Debug)]
struct Byte(u8);

impl Store for Byte {
    fn make(value: u8) -> Self {
        Self(value)
    }

    fn with(self, value: u8) -> Self {
        Self(value)
    }

    fn get(&self) -> String {
        self.0.to_string()
    }

    fn not_inferred<U: Default + Debug>(&self) -> String {
        format!("{:?}", U::default())
    }

    fn generic<U: Default, const N: usize>(&self) -> [U; N] {
        std::array::from_fn(|_| U::default())
    }

    fn opaque(&self, value: impl Display) -> String {
        value.to_string()
    }
}

#[test]
fn traits_keep_their_form() {
    let store: TracedStore<Byte> = Store::make(7);
    let store = store.with(8);
    assert_eq!((store.get(), store.not_inferred::<u16>()), (String::from("8"), String::from("0")));
    assert_eq!(store.generic::<u8, 2>(), [0, 0]);
    assert_eq!((store.opaque(7), store.has_default(1)), (String::from("7"), 2));
    #[expect(deprecated, reason = "the decorator alone does not warn")]
    let old = store.old();
    assert_eq!((old, store.into_inner().0), (1, 8));
    let names: Vec<_> = RECORDED.0.spans().iter().map(|span| span.name.to_string()).collect();
    let methods = ["with", "get", "not_inferred", "generic", "opaque", "has_default", "old"];
    assert_eq!(names, methods.map(|method| format!("Store::{method}")), "`make` has no receiver");
    RECORDED.0.assert_clean();
}
