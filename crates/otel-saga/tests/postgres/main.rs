//! The Postgres journal on a real server, the one that `cargo xtask services up postgres` starts. Without it these
//! tests fail with an error that says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batches;
mod clocked;
mod clocks;
#[path = "../it/faulty.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod faulty;
mod instrumented;
mod journals;
mod leases;
mod outage;
mod participant;
mod plans;
mod pooler;
mod schema;
mod server;
mod services;
#[path = "../it/shop.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod shop;
mod support;
mod unprepared;
