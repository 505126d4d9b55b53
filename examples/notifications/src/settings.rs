//! A key-value store: a setting, and a service that follows it.

use async_nats::jetstream::kv::Config;
use async_nats::jetstream::stream::StorageType;
use futures_util::StreamExt as _;
use otel_nats::jetstream::Context;
use otel_nats::jetstream::kv::{Store, Watch};

use crate::Failure;
use crate::reports::Reporter;

/// Creates the store of the settings.
pub(crate) async fn create(context: &Context, prefix: &str) -> Result<Store, Failure> {
    let bucket = format!("settings_{}", prefix.trim_end_matches('.'));
    let config = Config { bucket, storage: StorageType::Memory, ..Config::default() };
    Ok(context.create_key_value(config).await?)
}

pub(crate) async fn delete(context: &Context, store: &Store) -> Result<(), Failure> {
    context.inner().delete_key_value(&store.inner().name).await?;
    Ok(())
}

/// A service that follows the settings.
#[derive(Debug)]
pub(crate) struct Follower {
    updates: Watch,
    reporter: Reporter,
}

impl Follower {
    pub(crate) async fn new(context: &Context, store: &Store, reporter: Reporter) -> Result<Self, Failure> {
        let store = context.get_key_value(store.inner().name.clone()).await?;
        Ok(Self { updates: store.watch_all().await?, reporter })
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        while let Some(update) = self.updates.next().await {
            // The span links to the `put`, and is its child, because the update is new.
            let update = update?;
            update
                .process(async |update| {
                    let value = String::from_utf8_lossy(&update.value);
                    self.reporter.send(format_args!("sets {} to {value}", update.key));
                })
                .await;
        }
        Ok(())
    }
}
