//! The user's context receives all callbacks: logs, statistics, errors, tokens.

use std::error::Error;
use std::sync::{Arc, Mutex};

use otel_kafka::{BaseConsumer, BaseProducer, ConsumerContext, FutureProducer, ThreadedProducer};
use rdkafka::client::OAuthToken;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer as _, ProducerContext};
use rdkafka::{ClientContext, Statistics};

use crate::support::{Cluster, cluster, config};

/// Records the calls that it receives.
#[derive(Clone, Default)]
struct Own(Arc<Mutex<Vec<String>>>);

impl Own {
    fn called(&self, with: String) {
        self.0.lock().unwrap().push(with);
    }
}

impl ClientContext for Own {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // librdkafka logs from its own threads; only the test's own lines count.
        if fac == "TEST" {
            self.called(format!("log {level:?} {message}"));
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.called(format!("stats {}", statistics.name));
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.called(format!("stats_raw {}", statistics.len()));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called(format!("error {:?} {reason}", error.rdkafka_error_code()));
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.called(format!("token {config:?}"));
        Err("no token".into())
    }
}

impl ProducerContext for Own {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl ConsumerContext for Own {}

#[track_caller]
fn check<C: ClientContext>(context: &C, own: &Own) {
    context.log(RDKafkaLogLevel::Notice, "TEST", "hello");
    context.stats(Statistics { name: "client".to_owned(), ..Statistics::default() });
    context.stats_raw(b"{}");
    context.error(KafkaError::Global(RDKafkaErrorCode::Fatal), "fenced");
    let refused = context.generate_oauth_token(Some("scope=orders")).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "no token");
    const { assert!(C::ENABLE_REFRESH_OAUTH_TOKEN) };
    let called = std::mem::take(&mut *own.0.lock().unwrap());
    assert_eq!(
        called,
        [
            "log Notice hello",
            "stats client",
            "stats_raw 2",
            "error Some(Fatal) fenced",
            "token Some(\"scope=orders\")"
        ]
    );
}

fn create<T: FromClientConfigAndContext<Own>>(cluster: &Cluster, own: &Own) -> T {
    config(cluster).set("group.id", "test").create_with_context(own.clone()).unwrap()
}

#[test]
fn every_callback_reaches_the_users_own_context() {
    let (cluster, own) = (cluster(1), Own::default());
    check(create::<BaseProducer<Own>>(&cluster, &own).client().context().as_ref(), &own);
    check(create::<ThreadedProducer<Own>>(&cluster, &own).client().context().as_ref(), &own);
    check(create::<FutureProducer<Own>>(&cluster, &own).client().context().as_ref(), &own);
    check(create::<BaseConsumer<Own>>(&cluster, &own).client().context().as_ref(), &own);
}
