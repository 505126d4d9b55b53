//! A field that is no argument.

use otel_tasks::traced;

#[traced(fields(order_number))]
fn load(user: u64) {}

fn main() {}
