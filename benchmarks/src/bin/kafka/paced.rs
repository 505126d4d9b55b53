//! A fixed rate of messages to a real broker, all sampled: the processor time of the process.

use std::thread;
use std::time::{Duration, Instant};

use benchmarks::allocations;
use benchmarks::sdk::Metrics;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureRecord, Producer};

use crate::cell::{self, Candidate, by_hand, caller, record};

/// A topic that only this benchmark uses; it is deleted at the end.
pub(crate) const TOPIC: &str = "otel-kafka-benchmark";

/// Messages per second.
pub(crate) const RATE: u32 = 20_000;

/// The number of messages that are sent at once, before a pause.
const BURST: u32 = 20;

/// The duration of the warm-up.
const WARM_UP: Duration = Duration::from_secs(1);

/// The duration of the measurement. Processor time has a resolution of 10 ms, 0.1 % of it.
const MEASURED: Duration = Duration::from_secs(10);

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(candidate: Candidate, metrics: &Option<Metrics>) {
    let brokers = std::env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS is set");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "till-3").set("linger.ms", "5");
    let _current = caller(true).attach();
    match candidate {
        Candidate::Bare => {
            let producer: rdkafka::producer::FutureProducer =
                config.create().expect("the configuration is right");
            run(&producer, || {
                let record = to_topic().headers(by_hand(true));
                producer.send_result(record).map(drop).map_err(|(error, _)| error)
            });
        }
        _ => {
            let producer: otel_kafka::FutureProducer = config.create().expect("the configuration is right");
            let sent =
                run(&producer, || producer.send_result(to_topic()).map(drop).map_err(|(error, _)| error));
            for name in ["messaging.client.operation.duration", "messaging.client.sent.messages"] {
                assert_eq!(cell::counted(metrics, name), f64::from(sent), "{name}");
            }
        }
    }
}

fn to_topic() -> FutureRecord<'static, [u8], [u8]> {
    FutureRecord { topic: TOPIC, ..record() }
}

/// Sends at the fixed rate and prints the processor time per second as the nanoseconds of the cell. Returns the number
/// of sent messages.
fn run<P, C>(producer: &P, mut send: impl FnMut() -> KafkaResult<()>) -> u32
where
    P: Producer<C>,
    C: rdkafka::producer::ProducerContext<rdkafka::producer::NoCustomPartitioner>,
{
    let mut sent = paced(WARM_UP, &mut send);
    let (allocated, processor) = (allocations::count(), processor());
    let measured = paced(MEASURED, &mut send);
    producer.flush(PATIENCE).expect("the broker acknowledges all messages");
    let processor = self::processor() - processor;
    sent += measured;
    println!("allocations {}", (allocations::count() - allocated) as f64 / f64::from(measured));
    println!("nanoseconds {}", processor.as_nanos() as f64 / MEASURED.as_secs_f64());
    sent
}

fn paced(time: Duration, send: &mut impl FnMut() -> KafkaResult<()>) -> u32 {
    let bursts = (time.as_secs_f64() * f64::from(RATE / BURST)) as u32;
    let began = Instant::now();
    for burst in 0..bursts {
        let due = began + Duration::from_secs(1) * burst / (RATE / BURST);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..BURST {
            send().expect("the queue has space");
        }
    }
    bursts * BURST
}

/// Returns the processor time of this process, in user space and in the kernel.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat is readable");
    // The second field is the program's name in parentheses.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 =
        [11, 12].iter().map(|&field| fields[field].parse::<u64>().expect("the field is a number")).sum();
    // USER_HZ is 100 on all Linux systems, so a tick is 10 ms.
    Duration::from_millis(10) * u32::try_from(ticks).expect("the processor time fits into 32 bits")
}
