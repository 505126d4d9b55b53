//! The cells of the tables, each measured in a separate process.

use std::future::Future;

use benchmarks::named;

use crate::{appends, journals, recovery, step, throughput};

named! {
    /// The kind of journal.
    pub(crate) Kind {
        Memory = "memory",
        Redb = "redb",
        Postgres = "postgres",
    }
}

/// Measures the cell given by the arguments.
pub(crate) fn measure(arguments: &[&str]) -> Option<()> {
    match arguments {
        ["appends", kind, sagas] => {
            let (kind, sagas) = (Kind::parse(kind)?, sagas.parse().ok()?);
            several_threads(async {
                let opened = journals::open(kind).await;
                appends::measure(&opened, sagas).await;
                opened.remove().await;
            });
        }
        ["throughput", kind, at_once] => {
            let (kind, at_once) = (Kind::parse(kind)?, at_once.parse().ok()?);
            several_threads(throughput::measure(kind, at_once));
        }
        ["large", kind] => {
            let kind = Kind::parse(kind)?;
            several_threads(throughput::large(kind));
        }
        ["recovery", kind] => {
            let kind = Kind::parse(kind)?;
            several_threads(recovery::measure(kind));
        }
        ["step", kind, telemetry, sagas, at_once] => {
            let (kind, sagas, at_once) = (Kind::parse(kind)?, sagas.parse().ok()?, at_once.parse().ok()?);
            step::measure(kind, *telemetry == "on", sagas, at_once);
        }
        _ => return None,
    }
    Some(())
}

fn several_threads(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the runtime starts").block_on(work);
}
