//! A cluster of three nodes that the test starts.

use std::time::{Duration, Instant};

use otel_redis::ClusterClient;
use otel_testing::Recorder;
use otel_testing::spans::{attribute, error_type};
use redis::{AsyncCommands as _, Commands as _, Connection};

use crate::server::{Server, free_port};
use crate::support::{LONG, options};

/// The number of hash slots.
const SLOTS: u16 = 16_384;

struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Server::start(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "60000",
                ])
            })
            .collect();
        let cluster = Self { nodes };
        for (number, start) in [(0, 0), (1, 5_461), (2, 10_923)] {
            let end = [5_460, 10_922, SLOTS - 1][number];
            let mut slots = redis::cmd("CLUSTER");
            slots.arg("ADDSLOTSRANGE").arg(start).arg(end).exec(&mut cluster.connect(number)).unwrap();
        }
        for other in &cluster.nodes[1..] {
            let bus = other.setting("--cluster-port");
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus).exec(&mut cluster.connect(0)).unwrap();
        }
        cluster.ready();
        cluster
    }

    fn connect(&self, number: usize) -> Connection {
        connect(&self.nodes[number])
    }

    /// Asks each node until it knows all slots, for which no event exists.
    fn ready(&self) {
        let begun = Instant::now();
        let is_ready = |node: &Server| {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connect(node)).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !self.nodes.iter().all(is_ready) {
            assert!(begun.elapsed() < LONG, "the nodes form no cluster");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn client(&self, recorder: &Recorder) -> ClusterClient {
        let options = options(recorder).with_server("cache", None);
        ClusterClient::new([self.nodes[0].url()]).unwrap().with_options(options)
    }
}

fn connect(node: &Server) -> Connection {
    redis::Client::open(node.url()).unwrap().get_connection_with_timeout(LONG).unwrap()
}

fn names(recorder: &Recorder) -> Vec<String> {
    recorder.spans().iter().map(|span| span.name.to_string()).collect()
}

#[tokio::test]
async fn commands_on_all_nodes_are_recorded_as_those_of_one_server() {
    let (recorder, cluster) = (Recorder::new(), Cluster::start());
    let mut connection = cluster.client(&recorder).get_async_connection().await.unwrap();
    // Keys of each node.
    let keys: Vec<String> = (0..20).map(|number| format!("key:{number}")).collect();
    for (value, key) in keys.iter().enumerate() {
        let () = connection.set(key, value).await.unwrap();
    }
    let sizes: Vec<usize> =
        (0..3).map(|node| redis::cmd("DBSIZE").query(&mut cluster.connect(node)).unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    assert_eq!(names(&recorder), vec!["SET cache"; 20]);
    // A command for several nodes is one span as well.
    let values: Vec<usize> = connection.mget(&keys).await.unwrap();
    assert_eq!(values, (0..20).collect::<Vec<_>>());
    let mut pipeline = redis::pipe();
    let (a, b): (u32, u32) = pipeline
        .set("{tag}a", 1)
        .ignore()
        .get("{tag}a")
        .get("{tag}a")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((a, b), (1, 1));
    let crossing = redis::pipe().get("key:0").get("key:1").exec_async(&mut connection).await.unwrap_err();
    let spans = recorder.spans();
    let [mget, pipeline, crossed] = &spans[20..] else { panic!("{}", recorder.tree()) };
    assert_eq!(
        (&*mget.name, &*pipeline.name, &*crossed.name),
        ("MGET cache", "PIPELINE cache", "PIPELINE GET cache")
    );
    assert!(error_type(crossed).is_some(), "{crossing}");
    assert_eq!(attribute(mget, "db.namespace"), None);
    recorder.assert_clean();
}

#[tokio::test]
async fn a_redirection_is_inside_the_span_of_its_command() {
    let (recorder, cluster) = (Recorder::new(), Cluster::start());
    let mut connection = cluster.client(&recorder).get_async_connection().await.unwrap();
    let () = connection.set("moving", 1).await.unwrap();
    let slot: u16 =
        redis::cmd("CLUSTER").arg("KEYSLOT").arg("moving").query(&mut cluster.connect(0)).unwrap();
    let owner = usize::from(slot / 5_461).min(2);
    let () = connection.del("moving").await.unwrap();
    // The empty slot moves to another node, which the client does not know.
    let target = (owner + 1) % 3;
    let id: String = redis::cmd("CLUSTER").arg("MYID").query(&mut cluster.connect(target)).unwrap();
    for node in [target, owner] {
        let mut assign = redis::cmd("CLUSTER");
        assign.arg("SETSLOT").arg(slot).arg("NODE").arg(&id).exec(&mut cluster.connect(node)).unwrap();
    }
    let mut bare = cluster.connect(owner);
    let moved = bare.get("moving").map(|_: Option<u32>| ()).unwrap_err();
    assert_eq!(moved.code(), Some("MOVED"));
    let () = connection.set("moving", 2).await.unwrap();
    let stored: u32 = cluster.connect(target).get("moving").unwrap();
    assert_eq!(stored, 2);
    assert_eq!(names(&recorder), ["SET cache", "DEL cache", "SET cache"]);
    assert!(recorder.spans().iter().all(|span| error_type(span).is_none()), "{}", recorder.tree());
    recorder.assert_clean();
}

#[test]
fn a_blocking_connection_is_recorded() {
    let (recorder, cluster) = (Recorder::new(), Cluster::start());
    let mut connection = cluster.client(&recorder).get_connection().unwrap();
    let () = connection.set("key", 7).unwrap();
    let value: u32 = connection.get("key").unwrap();
    assert_eq!(value, 7);
    assert_eq!(names(&recorder), ["SET cache", "GET cache"]);
    recorder.assert_clean();
}
