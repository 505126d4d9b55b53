//! Options of `#[traced]` that do not exist, are repeated, or are for something else.

use otel_tasks::traced;

#[traced(nam = "load")]
fn unknown_option() {}

#[traced(kind = Remote)]
fn unknown_kind() {}

#[traced(name = "a", name = "b")]
fn twice() {}

#[traced("load")]
fn no_option() {}

#[traced(skip)]
fn skipped() {}

#[traced(decorator = Traced)]
fn decorated() {}

#[traced(name = "all")]
trait Named {}

#[traced(fields(id))]
trait WithFields {}

#[traced]
trait WithDecorator {
    #[traced(decorator = Traced)]
    async fn method(&self);
}

fn main() {}
