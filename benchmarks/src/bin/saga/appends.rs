//! Appends per second and per sync, with many concurrent sagas that each have one append in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use otel_saga::flow::{Phase, Record, Started, StepKind, StepSpec};
use otel_saga::journal::{AfterAppend, CreateOutcome, Journal, NewInstance};

use crate::journals::Opened;

/// The duration of the warm-up, in which caches are filled and the file grows.
const WARM_UP: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(5);
/// The number of appends per instance, after which the next instance begins.
const LENGTH: usize = 8;

/// Returns the first record of an instance.
pub(crate) fn started() -> Vec<u8> {
    let steps = vec![StepSpec::new("only", StepKind::Compensatable, 1)];
    let started = Started::new("bench", 1, steps, 7.into(), otel_saga::journal::now());
    Record::Started(started).encode().expect("the record can be encoded")
}

pub(crate) fn intent() -> Vec<u8> {
    let (span, at) = (Some("00f067aa0ba902b7".to_owned()), otel_saga::journal::now());
    let intent = Record::Intent { step: 0, phase: Phase::Action, attempt: 1, at, span };
    intent.encode().expect("the record can be encoded")
}

fn done() -> Vec<u8> {
    Record::Done { step: 0, output: "reservation-4711".into() }.encode().expect("the record can be encoded")
}

pub(crate) async fn measure(opened: &Opened, sagas: usize) {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..sagas)
        .map(|saga| {
            let work = append(Arc::clone(&opened.journal), saga, Arc::clone(&count), Arc::clone(&stop));
            tokio::spawn(work)
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (began, appends, syncs) = (Instant::now(), count.load(Ordering::Relaxed), (opened.syncs)());
    tokio::time::sleep(COUNTED).await;
    let elapsed = began.elapsed().as_secs_f64();
    let appends = (count.load(Ordering::Relaxed) - appends) as f64;
    let syncs = ((opened.syncs)() - syncs) as f64;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("all appends succeed");
    }
    println!("appends_a_second {}", appends / elapsed);
    println!("appends_a_sync {}", if syncs > 0.0 { appends / syncs } else { f64::NAN });
}

async fn append(journal: Arc<dyn Journal>, saga: usize, count: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    // The first instances differ in length, so that concurrent sagas are not in step.
    let mut length = 1 + saga % LENGTH;
    for round in 0.. {
        let id = format!("bench/{saga}-{round}");
        let new = NewInstance::new(&id, "bench", 1, vec![started(), intent()]).with_worker("w");
        let created = journal.create(new).await.expect("the instance is created");
        let CreateOutcome::New(mut cursor) = created else { panic!("it is new") };
        count.fetch_add(1, Ordering::Relaxed);
        for number in 1..=length {
            let (records, after_append) = if number == length {
                (vec![done()], AfterAppend::Finished(otel_saga::flow::SagaOutcome::Completed))
            } else {
                (vec![done(), intent()], AfterAppend::Continue)
            };
            cursor = journal.append(&id, cursor, records, after_append).await.expect("the append succeeds");
            count.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
        length = LENGTH;
    }
}
