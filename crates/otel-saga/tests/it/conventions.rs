//! The names that sagas record are those that docs/conventions.md lists, with its instruments and units.

use std::sync::Arc;
use std::time::Duration;

use otel_saga::flow::{Phase, Resolution};
use otel_saga::journal::{Journal, MemoryJournal, Status};
use otel_saga::{Runtime, RuntimeBuilder};
use otel_testing::Recorder;
use otel_testing::registry::{ConventionCheck, ProjectNames};
use tokio::time::sleep;

use crate::faulty::Faulty;
use crate::shop::{Fault, Shop, builder, order};

pub(crate) const DOCUMENT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conventions.md"));

#[tokio::test(start_paused = true)]
async fn the_names_of_sagas_are_listed() {
    let (shop, recorder) = (Shop::default(), Recorder::new());
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let faulty = Faulty::new(&journal, 0);
    let recorded = |builder: RuntimeBuilder<Shop>| -> Runtime<Shop> {
        let builder = builder.with_tracer_provider(recorder.tracer_provider());
        builder.with_meter_provider(recorder.meter_provider()).start()
    };
    // A worker that is cut off from the journal, so that another one continues; then it comes back and is fenced.
    let paused = recorded(builder(&(faulty.clone() as Arc<dyn Journal>), &shop, "paused"));
    shop.script("reserve", Phase::Action, [Fault::Slow(3_000)]);
    let id = paused.start(&order(1), "1", 7).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    faulty.set_away(true);
    let living = recorded(builder(&journal, &shop, "living"));
    assert_eq!(living.wait(&id).await.unwrap(), Status::Completed);
    faulty.set_away(false);
    sleep(Duration::from_secs(60)).await;
    // A retry, and a compensation.
    shop.script("reserve", Phase::Action, [Fault::Lose]);
    shop.script("pay", Phase::Action, [Fault::Refuse]);
    let undone = living.start(&order(1), "2", 7).await.unwrap();
    assert_eq!(living.wait(&undone).await.unwrap(), Status::Compensated);
    // One that has not ended when the gauges are read.
    shop.script("ship", Phase::Action, [Fault::Refuse]);
    let parked = living.start(&order(1), "3", 7).await.unwrap();
    assert_eq!(living.wait(&parked).await.unwrap(), Status::Parked);
    sleep(Duration::from_secs(60)).await;
    // An operator's resolution.
    let output = Resolution::Done("by hand".into());
    living.resolve(&parked, "ship", output, "ann", "sent by courier").await.unwrap();
    living.unpark(&parked).await.unwrap();
    assert_eq!(living.wait(&parked).await.unwrap(), Status::Completed);

    let mut check = ConventionCheck::new(ProjectNames::parse(DOCUMENT, "otel-saga: sagas").unwrap());
    check.add(&recorder);
    assert_eq!(check.finish(), Ok(()), "{}", recorder.tree());
}
