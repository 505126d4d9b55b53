//! `#[traced]` on functions and methods, and `#[derive(Attributes)]`.

use std::fmt::{Debug, Display};
use std::io;

use opentelemetry::trace::{FutureExt as _, SpanId, SpanKind};
use otel_tasks::{Attributes, TaskInstrumentation, ToAttributes as _, traced};
use otel_testing::Recorder;

use crate::support::{attribute, current, error_type, remote, tasks};

fn ids(recorder: &Recorder, name: &str) -> SpanId {
    recorder.span(name).span_context.span_id()
}

#[traced(instrumentation = tasks, fields(id))]
async fn load(tasks: &TaskInstrumentation, id: u64, secret: &str) -> Result<SpanId, io::Error> {
    tokio::task::yield_now().await;
    let found: u64 = secret.len() as u64 + id;
    if found == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    u8::try_from(id).map_err(io::Error::other)?;
    Ok(current())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_function_is_a_span() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    let call = async { load(&tasks, 7, "hunter2").await.unwrap() };
    assert_eq!(call.with_context(remote(9, true)).await, ids(&recorder, "load"));
    let span = recorder.span("load");
    assert_eq!((span.parent_span_id, &span.span_kind), (SpanId::from(9), &SpanKind::Internal));
    assert_eq!(recorder.tree().matches("id: 7").count(), 1);
    assert!(!recorder.tree().contains("hunter2"), "nothing is recorded that is not listed");
    // From a task, so that its future is `Send`.
    let missing = tokio::spawn(async move { load(&tasks, 0, "").await });
    assert_eq!(missing.await.unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(error_type(recorder.spans().last().unwrap()).as_deref(), Some("not_found"));
    recorder.assert_clean();
}

#[traced(name = "add", kind = Client, instrumentation = tasks, fields("sum.left" = left, "sum.twice" = right * 2, "text" = "x"))]
fn sum(tasks: &TaskInstrumentation, left: i32, right: i32) -> i32 {
    assert!(left < 100, "on purpose");
    left + right
}

#[test]
fn a_synchronous_function_is_a_span() {
    let recorder = Recorder::new();
    let tasks = tasks(&recorder);
    assert_eq!(sum(&tasks, 1, 2), 3);
    let tree = "CLIENT add\n    sum.left: 1\n    sum.twice: 4\n    text: x\n";
    assert_eq!(recorder.tree(), tree);
    let panicking = std::panic::AssertUnwindSafe(|| sum(&tasks, 100, 0));
    std::panic::catch_unwind(panicking).unwrap_err();
    assert_eq!(error_type(&recorder.spans()[1]).as_deref(), Some("panic"));
    recorder.assert_clean();
}

/// An output that has no outcome of its own.
struct Plain;

struct Service {
    tasks: TaskInstrumentation,
    names: Vec<String>,
}

impl Service {
    #[traced(instrumentation = &self.tasks, fields("names" = self.names.len(), %text, "debug" = ?text))]
    fn first<'s, T>(&'s self, text: T) -> Option<&'s str>
    where
        T: Clone + Debug + Display,
    {
        let _ = text.clone();
        self.names.first().map(String::as_str)
    }

    #[traced(instrumentation = &self.tasks)]
    async fn push(&mut self, (name, _): (String, u8)) -> &mut Vec<String> {
        self.names.push(name);
        &mut self.names
    }

    #[traced(instrumentation = &self.tasks)]
    async fn plain(&self) -> Plain {
        Plain
    }

    #[traced(instrumentation = &self.tasks)]
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.names.iter().map(String::len)
    }

    #[traced(instrumentation = &self.tasks, fields(number))]
    fn later(&self, number: u8) -> impl Future<Output = Result<SpanId, std::fmt::Error>> + Send + use<> {
        let called = current();
        async move {
            tokio::task::yield_now().await;
            if called == current() && number > 0 { Ok(called) } else { Err(std::fmt::Error) }
        }
    }

    #[traced(instrumentation = &self.tasks)]
    async fn generic<T, const N: usize>(&self, values: [T; N]) -> impl Iterator<Item = T> + use<T, N> {
        values.into_iter()
    }

    #[traced(instrumentation = &self.tasks)]
    fn nothing(&self) {}
}

#[tokio::test]
async fn methods_keep_their_signatures() {
    let recorder = Recorder::new();
    let mut service = Service { tasks: tasks(&recorder), names: Vec::new() };
    assert_eq!(service.first("none"), None);
    service.push((String::from("Ada"), 0)).await.push(String::from("Grace"));
    assert_eq!(service.first('x'), Some("Ada"));
    let Plain = service.plain().await;
    assert_eq!(service.iter().collect::<Vec<_>>(), [3, 5]);
    assert_eq!(service.generic([1, 2]).await.sum::<i32>(), 3);
    service.nothing();
    assert!(service.later(0).await.is_err());
    let later = service.later(1);
    drop(service);
    assert_eq!(later.await.unwrap(), recorder.spans().last().unwrap().span_context.span_id());
    let names: Vec<_> = recorder.spans().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["first", "push", "first", "plain", "iter", "generic", "nothing", "later", "later"]);
    let first = &recorder.spans()[2];
    assert_eq!(attribute(first, "names").as_deref(), Some("2"));
    assert_eq!(attribute(first, "text").as_deref(), Some("x"));
    assert_eq!(attribute(first, "debug").as_deref(), Some("'x'"));
    assert_eq!(error_type(&recorder.spans()[7]).as_deref(), Some("core::fmt::Error"));
    recorder.assert_clean();
}

#[derive(Attributes)]
struct Order<'a, T: Display> {
    #[attribute]
    id: u64,
    #[attribute(key = "order.customer")]
    customer: &'a str,
    #[attribute(key = "order.total", display)]
    total: T,
    #[attribute(debug)]
    state: State,
    #[attribute]
    note: Option<String>,
    #[attribute(nested)]
    address: Address,
    card: &'a str,
}

#[derive(Attributes)]
struct Address {
    #[attribute(key = "address.city")]
    city: String,
}

#[derive(Debug)]
enum State {
    Paid,
}

#[traced(instrumentation = tasks, new_trace, fields(..order))]
fn ship(tasks: &TaskInstrumentation, order: &Order<'_, f32>) -> usize {
    order.card.len()
}

#[test]
fn listed_fields_of_a_struct_are_attributes() {
    let recorder = Recorder::new();
    let address = Address { city: String::from("Köln") };
    let order =
        Order { id: 7, customer: "Ada", total: 9.5, state: State::Paid, note: None, address, card: "4711" };
    assert_eq!(ship(&tasks(&recorder), &order), 4);
    let tree = "INTERNAL ship\n    address.city: Köln\n    id: 7\n    order.customer: Ada\n    order.total: \"9.5\"\n    \
                state: Paid\n";
    assert_eq!(recorder.tree(), tree);
    assert_eq!(order.to_attributes().len(), 5);
}
