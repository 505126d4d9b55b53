//! The plan of each request, determined by its number and the seed.

use std::time::Duration;

use soak::Random;

/// The plan of one request.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) http2: bool,
    pub(crate) path: String,
    pub(crate) upload: Option<Upload>,
    pub(crate) cut: Option<Cut>,
}

/// A request body of several chunks, with a pause before each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload {
    pub(crate) chunks: u64,
    pub(crate) pause: Duration,
}

/// The way in which the client aborts its request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Drops the future after this many polls, possibly zero.
    Polls(u64),
    /// Drops the future after this time, in which no handler responds.
    After(Duration),
    /// Drops the response body after this many frames.
    Frames(u64),
    /// Closes the socket after this time, with or without a reset.
    Socket { after: Duration, reset: bool },
}

impl Plan {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let http2 = random.below(2) == 1;
        if random.below(10) == 0 {
            return Self::cut(http2, &mut random);
        }
        let mut upload = None;
        let path = match random.below(100) {
            0..64 => "/quick".to_owned(),
            64..68 => format!("/sized/{}", random.below(6)),
            68..73 => format!("/slow/{}", 1 + random.below(5)),
            73..81 => format!("/stream/{}/{}", 1 + random.below(6), random.below(3)),
            81..83 => format!("/failing/{}", random.below(4)),
            83..85 => "/panic".to_owned(),
            85..87 => format!("/panicking/{}", random.below(4)),
            87..91 => format!("/status/{}", [400, 404, 429, 500, 502, 503][random.below(6) as usize]),
            91..94 => {
                upload = Some(Upload { chunks: random.below(5), pause: millis(random.below(2)) });
                "/upload".to_owned()
            }
            94..97 => "/events".to_owned(),
            _ => format!("/no/route/{number}"),
        };
        Self { http2, path, upload, cut: None }
    }

    /// Creates the plan of an aborted request, whose handler is slow enough that the abort comes first.
    fn cut(http2: bool, random: &mut Random) -> Self {
        let cut = match random.below(4) {
            0 => Cut::Polls(random.below(4)),
            1 => Cut::After(millis(random.below(6))),
            2 => Cut::Frames(random.below(4)),
            _ => Cut::Socket { after: millis(random.below(10)), reset: random.below(2) == 0 },
        };
        let mut upload = None;
        let path = match (cut, random.below(3)) {
            (Cut::Frames(_), _) | (Cut::Socket { .. }, 0) => "/stream/16/2".to_owned(),
            (_, 1) => {
                upload = Some(Upload { chunks: 8, pause: millis(5) });
                "/upload".to_owned()
            }
            _ => "/slow/30".to_owned(),
        };
        Self { http2, path, upload, cut: Some(cut) }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
