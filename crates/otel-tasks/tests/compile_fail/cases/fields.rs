//! Fields of `#[traced]` whose key is no string, or that are no field.

use otel_tasks::traced;

#[traced(fields(user.id))]
fn path(user: u8) {}

#[traced(fields(key = user))]
fn no_string(user: u8) {}

#[traced(fields(1))]
fn literal() {}

fn main() {}
