//! Alerts: failures that need an operator are `tracing` events, and transient ones are not.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otel_saga::flow::Phase;
use otel_saga::journal::{Journal, MemoryJournal, NewInstance, Status};
use tracing_subscriber::fmt::MakeWriter;

use crate::shop::{Fault, Shop, builder, order};

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Makes `subscriber` the default of this thread, on which the complete test runs.
///
/// While a process has one subscriber, `tracing` asks the default of the thread that reaches an event first, and that is
/// none in the other tests: the event would be off for good. A global default, which is for every thread, prevents that.
pub(crate) fn set_default(subscriber: impl Into<tracing::Dispatch>) -> tracing::subscriber::DefaultGuard {
    // It fails after the first call.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    tracing::dispatcher::set_default(&subscriber.into())
}

#[tokio::test(start_paused = true)]
async fn instances_that_no_worker_claims_raise_an_alert() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    for (id, saga, version) in [("order/1", "order", 2), ("order/2", "order", 2), ("refund/1", "refund", 1)] {
        journal.create(NewInstance::new(id, saga, version, vec![])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _runtime = builder(&journal, &Shop::default(), "w").start();
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert_eq!(lines.text(), "");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let text = lines.text();
    assert_eq!(text.lines().count(), 2, "one alert for each definition: {text}");
    for part in [
        "saga not claimed for 5 minutes",
        "order/1",
        "2 instances of version 2 of `order` wait: register the definition with a worker",
        "refund/1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn compensations_and_forward_steps_that_keep_failing_raise_alerts() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _guard = set_default(subscriber);
    let text = || lines.text();

    let shop = Shop::default();
    let runtime = builder(&(Arc::new(MemoryJournal::new()) as _), &shop, "w").start();
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; 2]);
    let id = runtime.start(&order(1), "1", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    assert_eq!(text(), "", "two failures are no alert where three attempts are usual");

    shop.script("pay", Phase::Action, [Fault::Refuse]);
    shop.script("reserve", Phase::Compensation, [Fault::Lose; 5]);
    let id = runtime.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Compensated);
    let alerts = text();
    let lines: Vec<&str> = alerts.lines().collect();
    assert_eq!(lines.len(), 3, "{alerts}");
    for part in ["ERROR", "a step that cannot be given up keeps failing", "order/2", "reserve", "lost"] {
        assert!(lines[0].contains(part), "{part}: {alerts}");
    }

    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let id = runtime.start(&order(1), "3", 7).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap(), Status::Parked);
    assert!(text().contains("a step was refused where there is only forward"), "{}", text());
}
