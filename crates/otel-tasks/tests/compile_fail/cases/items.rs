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

#[traced]
unsafe trait Unsafe {}

#[traced]
trait UnsafeMethods {
    unsafe fn read(&self);
}

#[traced]
trait Families {
    type Item<'a>;
}

trait Plain {
    #[traced]
    fn without_a_body(&self);
}

#[traced]
impl Plain for User {
    fn without_a_body(&self) {}
}

fn main() {}
