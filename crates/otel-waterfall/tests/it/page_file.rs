//! The page that the exporter writes.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use otel_waterfall::Waterfall;

use crate::{html::data, limits::Paper};

/// A path in the folder of the test's build, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.html", std::process::id())))
    }

    fn names(&self) -> Vec<String> {
        let data = data(&fs::read_to_string(&self.0).unwrap());
        data["traces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trace| trace["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn provider(waterfall: &Waterfall) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("shop").build())
        .with_simple_exporter(waterfall.exporter())
        .build()
}

#[test]
fn flush_writes_the_page() {
    let file = Scratch::new("flush");
    let waterfall = Waterfall::html(&file.0).unwrap();
    assert_eq!(file.names(), [""; 0], "the page exists from the start");
    let provider = provider(&waterfall);
    for name in ["first", "second"] {
        provider.tracer("lib").in_span(name, |_| {});
        waterfall.flush();
    }
    assert_eq!(file.names(), ["first", "second"]);
    let page = data(&fs::read_to_string(&file.0).unwrap());
    let trace = &page["traces"][0];
    assert_eq!(trace["resources"], serde_json::json!([[["service.name", "shop"]]]));
    assert_eq!((&trace["spans"][0]["o"], &trace["services"][0]), (&"lib".into(), &"shop".into()));
}

#[test]
fn the_page_is_written_without_a_flush() {
    let file = Scratch::new("alone");
    let waterfall = Waterfall::html(&file.0).unwrap().with_quiet(Duration::from_millis(10));
    let provider = provider(&waterfall);
    provider.tracer("test").in_span("alone", |_| {});
    // The thread writes when the trace is due; there is no other event to wait for.
    let deadline = Instant::now() + Duration::from_secs(60);
    while file.names().is_empty() {
        assert!(Instant::now() < deadline, "the page was not written");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(file.names(), ["alone"]);
    provider.tracer("test").in_span("soon after", |_| {});
    drop((provider, waterfall));
    assert_eq!(file.names(), ["alone", "soon after"], "the end writes the rest");
}

#[test]
fn text_and_page() {
    let (file, paper) = (Scratch::new("both"), Paper::default());
    let waterfall = Waterfall::to(paper.clone()).with_html(&file.0).unwrap();
    provider(&waterfall).tracer("test").in_span("both", |_| {});
    waterfall.flush();
    assert!(paper.text().contains("both"));
    assert_eq!(file.names(), ["both"]);
    let folder = fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let left = folder
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("both-"))
        .count();
    assert_eq!(left, 1, "no temporary file is left");
}

#[test]
fn a_path_that_cannot_be_written() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no/such/folder.html");
    assert!(Waterfall::html(&path).is_err());
}
