//! Messages that are too large for a frame with their context.

use lapin::BasicProperties;
use otel_testing::Recorder;

use crate::support::{channel, confirming, headers, inspect, next, queue, send, text, traceparent_of};

#[tokio::test]
async fn headers_that_leave_no_room_are_sent_without_the_context() {
    let recorder = Recorder::new();
    let channel = channel(&recorder).await;
    confirming(&channel).await;
    let queue = queue(&channel, "jobs").await;
    let mut inspector = inspect(&channel, &queue).await;
    let frame_max = 131_072;
    // The frame, the reserve, and the header `x` with its lengths.
    let full = frame_max - 32 - 4096 - 4 - 7;
    for (size, carried) in [(1, true), (full - 200, true), (full - 10, false)] {
        let own = headers(&[("x", &"v".repeat(size))]);
        send(&channel, &queue, BasicProperties::default().with_headers(own)).await;
        let delivery = next(&mut inspector).await;
        let span = recorder.spans().pop().unwrap();
        assert_eq!(text(&delivery.properties, "x").map(|value| value.len()), Some(size));
        assert_eq!(text(&delivery.properties, "traceparent").is_some(), carried, "{size}");
        if carried {
            assert_eq!(text(&delivery.properties, "traceparent"), Some(traceparent_of(&span)));
        }
    }
    assert_eq!(recorder.metric("messaging.rabbitmq.context.left_out").sum(), 1.0);
    recorder.assert_clean();
}
