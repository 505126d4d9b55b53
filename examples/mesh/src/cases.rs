//! The cases: a request, the settings of the mesh and of the services, and the trace that has to come of it.

use crate::envoy::Tracer;
use crate::pair::Settings;

/// The receiver of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// The sidecar of the first service, as from another one in the mesh.
    Sidecar,
    /// The first service itself, which starts the trace.
    Application,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) about: &'static str,
    pub(crate) settings: Settings,
    pub(crate) entry: Entry,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) tree: &'static str,
}

/// The names of the spans that callers outside of the mesh have sent.
pub(crate) const CALLERS: &[(&str, &str)] =
    &[("b7ad6b7169203331", "the caller"), ("00f067aa0ba902b7", "an old span")];

pub(crate) const MARKER_TRACE: &str = "11111111111111111111111111111111";

/// A sampled request in all formats.
pub(crate) const MARKER: &[(&str, &str)] = &[
    ("traceparent", "00-11111111111111111111111111111111-2222222222222222-01"),
    ("x-b3-traceid", MARKER_TRACE),
    ("x-b3-spanid", "2222222222222222"),
    ("x-b3-sampled", "1"),
];

const W3C: Settings = Settings {
    tracer: Tracer::OpenTelemetry,
    sidecar_samples: 100,
    propagators: "tracecontext,baggage",
    sampler: "parentbased_always_on",
};

const B3: Settings = Settings { tracer: Tracer::ZipkinB3, propagators: "b3multi", ..W3C };

const BOTH: Settings = Settings { tracer: Tracer::ZipkinBoth, ..W3C };

const SAMPLED: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
const NOT_SAMPLED: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");

/// The same caller in B3's several headers.
const B3_TRACE: (&str, &str) = ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c");
const B3_SPAN: (&str, &str) = ("x-b3-spanid", "b7ad6b7169203331");

/// Another span of that trace, in B3's one header.
const OLD_B3: (&str, &str) = ("b3", "0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1");

/// Each request is nine spans: two of the sidecar before the service, the service's, the one of its call, two of its sidecar, two of
/// the next sidecar, and that of the next service.
const COMPLETE: &str = "\
shop-sidecar server
. shop-sidecar client
. . shop server
. . . shop client
. . . . shop-sidecar server
. . . . . shop-sidecar client
. . . . . . stock-sidecar server
. . . . . . . stock-sidecar client
. . . . . . . . stock server
";

const BELOW_CALLER: &str = "\
below the caller: shop-sidecar server
. shop-sidecar client
. . shop server
. . . shop client
. . . . shop-sidecar server
. . . . . shop-sidecar client
. . . . . . stock-sidecar server
. . . . . . . stock-sidecar client
. . . . . . . . stock server
";

const FROM_APPLICATION: &str = "\
shop server
. shop client
. . shop-sidecar server
. . . shop-sidecar client
. . . . stock-sidecar server
. . . . . stock-sidecar client
. . . . . . stock server
";

pub(crate) const CASES: &[Case] = &[
    Case {
        about: "W3C by OTLP: the mesh starts the trace and samples it",
        settings: W3C,
        entry: Entry::Sidecar,
        headers: &[],
        tree: COMPLETE,
    },
    Case {
        about: "W3C by OTLP: the mesh starts the trace and does not sample it",
        settings: Settings { sidecar_samples: 0, ..W3C },
        entry: Entry::Sidecar,
        headers: &[],
        tree: "",
    },
    Case {
        about: "W3C by OTLP: the caller has sampled, the mesh samples all",
        settings: W3C,
        entry: Entry::Sidecar,
        headers: &[SAMPLED],
        tree: BELOW_CALLER,
    },
    Case {
        about: "broken, W3C by OTLP: the caller has sampled, the mesh samples nothing and ends the trace",
        settings: Settings { sidecar_samples: 0, ..W3C },
        entry: Entry::Sidecar,
        headers: &[SAMPLED],
        tree: "",
    },
    Case {
        about: "W3C by OTLP: the caller has not sampled, the mesh samples everything",
        settings: W3C,
        entry: Entry::Sidecar,
        headers: &[NOT_SAMPLED],
        tree: "",
    },
    Case {
        about: "W3C by OTLP: the application starts the trace and samples it, the mesh samples all",
        settings: W3C,
        entry: Entry::Application,
        headers: &[],
        tree: FROM_APPLICATION,
    },
    Case {
        about: "broken, W3C by OTLP: the application starts the trace and samples it, the mesh samples nothing and ends it",
        settings: Settings { sidecar_samples: 0, ..W3C },
        entry: Entry::Application,
        headers: &[],
        tree: "shop server\n. shop client\n",
    },
    Case {
        about: "W3C by OTLP: the application starts the trace and does not sample it, the mesh samples everything",
        settings: Settings { sampler: "parentbased_always_off", ..W3C },
        entry: Entry::Application,
        headers: &[],
        tree: "",
    },
    Case {
        about: "B3 by Zipkin: the mesh starts the trace and samples it",
        settings: B3,
        entry: Entry::Sidecar,
        headers: &[],
        tree: COMPLETE,
    },
    Case {
        about: "B3 by Zipkin: the mesh starts the trace and does not sample it",
        settings: Settings { sidecar_samples: 0, ..B3 },
        entry: Entry::Sidecar,
        headers: &[],
        tree: "",
    },
    Case {
        about: "B3 by Zipkin: the caller has sampled, the mesh samples nothing",
        settings: Settings { sidecar_samples: 0, ..B3 },
        entry: Entry::Sidecar,
        headers: &[B3_TRACE, B3_SPAN, ("x-b3-sampled", "1")],
        tree: BELOW_CALLER,
    },
    Case {
        about: "B3 by Zipkin: the caller has not sampled, the mesh samples everything",
        settings: B3,
        entry: Entry::Sidecar,
        headers: &[B3_TRACE, B3_SPAN, ("x-b3-sampled", "0")],
        tree: "",
    },
    Case {
        about: "B3 by Zipkin: the application starts the trace and samples it, the mesh samples nothing",
        settings: Settings { sidecar_samples: 0, ..B3 },
        entry: Entry::Application,
        headers: &[],
        tree: FROM_APPLICATION,
    },
    Case {
        about: "B3 by Zipkin: the application starts the trace and does not sample it, the mesh samples everything",
        settings: Settings { sampler: "parentbased_always_off", ..B3 },
        entry: Entry::Application,
        headers: &[],
        tree: "",
    },
    Case {
        about: "B3 and W3C by Zipkin: an application with W3C continues the mesh's trace",
        settings: BOTH,
        entry: Entry::Sidecar,
        headers: &[],
        tree: COMPLETE,
    },
    Case {
        about: "broken, W3C by OTLP: the application knows B3 alone",
        settings: Settings { propagators: "b3multi", ..W3C },
        entry: Entry::Sidecar,
        headers: &[],
        tree: "\
shop server
. shop client
. . stock server
shop-sidecar server
. shop-sidecar client
shop-sidecar server
. shop-sidecar client
. . stock-sidecar server
. . . stock-sidecar client
3 traces
",
    },
    Case {
        about: "broken, W3C by OTLP: the application prefers B3, the caller sends W3C and a B3 that an earlier sidecar has left as it was",
        settings: Settings { propagators: "tracecontext,b3", ..W3C },
        entry: Entry::Sidecar,
        headers: &[SAMPLED, OLD_B3],
        tree: "\
below an old span: shop server
. shop client
. . shop-sidecar server
. . . shop-sidecar client
. . . . stock-sidecar server
. . . . . stock-sidecar client
. . stock server
below the caller: shop-sidecar server
. shop-sidecar client
",
    },
    Case {
        about: "W3C by OTLP: the application prefers W3C, with the same headers",
        settings: Settings { propagators: "b3,tracecontext", ..W3C },
        entry: Entry::Sidecar,
        headers: &[SAMPLED, OLD_B3],
        tree: BELOW_CALLER,
    },
];
