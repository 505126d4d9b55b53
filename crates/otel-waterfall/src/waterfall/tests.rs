//! Tests of the thread: it sleeps until the next trace is due, and wakes if one becomes due earlier.

use std::sync::mpsc::{Sender, channel};

use opentelemetry::trace::{SpanId, TraceId};

use super::*;

const TOO_LONG: Duration = Duration::from_secs(30);

struct Post(Sender<String>);

impl Write for Post {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_root_that_ends_wakes_the_thread() {
    let (sender, pictures) = channel();
    // Without the root the trace is due in 100 s, with it in 1 s.
    let waterfall = Waterfall::to(Post(sender)).with_quiet(Duration::from_secs(10));
    let span = |id: u64, name| Span::new(TraceId::from(1), SpanId::from(id), name, 0, 1);
    let started = Instant::now();
    waterfall.handle.add([span(2, "child").with_parent(SpanId::from(1))]);
    while lock(&waterfall.handle.core.state).wakes_at.is_none() {
        assert!(started.elapsed() < TOO_LONG, "the thread does not start");
        std::thread::yield_now();
    }
    waterfall.handle.add([span(1, "root")]);
    let picture = pictures.recv_timeout(TOO_LONG).expect("drawn");
    assert!(picture.contains("\nroot") && picture.contains("└─ child"), "{picture}");
}

#[test]
fn spans_can_come_from_any_thread() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Waterfall>();
}
