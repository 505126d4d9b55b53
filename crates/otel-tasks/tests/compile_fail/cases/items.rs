//! Items that cannot be traced.

use otel_tasks::traced;

#[traced]
struct User;

#[traced]
const fn constant() {}

#[traced]
trait Receivers {
    fn boxed(self: Box<Self>);
}

#[traced]
trait Patterns {
    fn pair(&self, (left, right): (u8, u8));
}

fn main() {}
