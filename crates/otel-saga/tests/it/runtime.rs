//! Tests of the runtime, under a clock that advances only when all tasks wait.

mod any_order;
mod appends;
mod away;
mod clocks;
mod compaction;
mod compensations;
mod cost;
mod course;
mod interruptions;
mod keys;
mod operate;
mod parking;
mod resolutions;
mod slots;
mod values;
mod workers;

use std::sync::Arc;

use otel_saga::Runtime;
use otel_saga::journal::{Journal, MemoryJournal};

use crate::shop::{self, Shop};

fn memory() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

fn started() -> (Shop, Runtime<Shop>) {
    let shop = Shop::default();
    let runtime = shop::builder(&memory(), &shop, "w").start();
    (shop, runtime)
}
