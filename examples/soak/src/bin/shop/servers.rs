//! The servers of the shop, private to this run. Each can be killed and started again with its data.

use std::collections::BTreeMap;
use std::error::Error;

use rdkafka::admin::{NewTopic, TopicReplication};
use shop::ORDER_PLACED;
use soak::{Broker, Server};

use crate::postgres;

/// The names of the servers, in the order of their restarts.
pub(crate) const NAMES: [&str; 4] = ["Kafka", "NATS", "RabbitMQ", "Postgres"];

/// The limit of a message in bytes, which is the server's default.
const MAX_PAYLOAD: usize = 1 << 20;

pub(crate) struct Servers {
    kafka: Broker,
    nats: (Server, String),
    rabbitmq: (Server, String),
    postgres: postgres::Server,
}

impl Servers {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let topic = NewTopic::new(ORDER_PLACED, 1, TopicReplication::Fixed(1));
        Ok(Self {
            kafka: Broker::start(&[topic]).await?,
            nats: soak::start_nats("shop", MAX_PAYLOAD).await?,
            rabbitmq: soak::start_rabbitmq("shop").await?,
            postgres: tokio::task::block_in_place(postgres::Server::start),
        })
    }

    pub(crate) fn addresses(&self) -> shop::stage::Servers {
        shop::stage::Servers::Real(BTreeMap::from([
            ("KAFKA_BROKERS", self.kafka.address()),
            ("NATS_URL", self.nats.1.clone()),
            ("RABBITMQ_URL", self.rabbitmq.1.clone()),
            ("POSTGRES_URL", format!("{}/postgres", self.postgres.url())),
        ]))
    }

    /// Kills the server of this place in [`NAMES`], and starts it again.
    pub(crate) fn restart(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        match NAMES[index] {
            "Kafka" => self.kafka.restart(),
            "NATS" => self.nats.0.restart(),
            "RabbitMQ" => self.rabbitmq.0.restart(),
            _ => {
                tokio::task::block_in_place(|| {
                    self.postgres.crash();
                    self.postgres.start_again();
                });
                Ok(())
            }
        }
    }
}
