//! The registry in DNS, against a DNS server in the test: SRV and A records, times to live, failures.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use otel_discovery::{BalanceOptions, DnsRegistry, Endpoints, Registry};
use otel_testing::Recorder;
use tokio::net::UdpSocket;

use crate::support::{Instances, attribute, call, chosen, error_type, instrumentation, until, watch_options};

const SERVICE: &str = "_stock._tcp.example.";

/// A DNS server of the zone `example.`, whose records a test changes.
pub(crate) struct Dns {
    zone: Arc<InMemoryZoneHandler>,
    server: Option<Server<Catalog>>,
    address: SocketAddr,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

impl Dns {
    pub(crate) async fn new() -> Self {
        let zone = InMemoryZoneHandler::empty(name("example."), ZoneType::Primary, AxfrPolicy::Deny);
        let mut dns = Self { zone: Arc::new(zone), server: None, address: "127.0.0.1:0".parse().unwrap() };
        dns.add("example.", RData::SOA(SOA::new(name("ns.example."), name("x.example."), 1, 60, 60, 60, 1)))
            .await;
        dns.start().await;
        dns
    }

    /// Starts the server, again on the same port.
    async fn start(&mut self) {
        let mut catalog = Catalog::new();
        catalog.upsert(name("example.").into(), vec![Arc::clone(&self.zone) as _]);
        let mut server = Server::new(catalog);
        let socket = UdpSocket::bind(self.address).await.unwrap();
        self.address = socket.local_addr().unwrap();
        server.register_socket(socket);
        self.server = Some(server);
    }

    async fn add(&self, owner: &str, data: RData) {
        assert!(self.zone.upsert(Record::from_rdata(name(owner), 1, data), 1).await);
    }

    async fn add_service(&self, priority: u16, weight: u16, host: &str) {
        self.add(SERVICE, RData::SRV(SRV::new(priority, weight, 8080, name(host)))).await;
    }

    async fn add_host(&self, host: &str, last: u8) {
        self.add(host, RData::A(A(Ipv4Addr::new(10, 0, 0, last)))).await;
    }

    async fn remove(&self, owner: &str) {
        self.zone.records_mut().await.retain(|key, _| *key.name() != name(owner).into());
    }

    pub(crate) fn registry(&self, recorder: &Recorder) -> DnsRegistry {
        let mut server = NameServerConfig::udp(self.address.ip());
        server.connections[0].port = self.address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        (options.cache_size, options.attempts) = (0, 1);
        (options.timeout, options.use_hosts_file) = (Duration::from_millis(500), ResolveHosts::Never);
        DnsRegistry::new(builder.build().unwrap())
            .with_template("_{service}._tcp.example.")
            .with_ttl(Duration::from_millis(20), Duration::from_secs(60))
            .with_instrumentation(&instrumentation(recorder))
    }
}

#[tokio::test]
async fn services_are_the_targets_of_the_lowest_priority() {
    let (recorder, dns) = (Recorder::new(), Dns::new().await);
    dns.add_service(1, 7, "a.example.").await;
    dns.add_service(1, 0, "b.example.").await;
    dns.add_service(2, 9, "spare.example.").await;
    dns.add_service(1, 9, "nowhere.example.").await;
    for (host, last) in [("a.example.", 1), ("b.example.", 2), ("b.example.", 3), ("spare.example.", 4)] {
        dns.add_host(host, last).await;
    }
    let answer = dns.registry(&recorder).resolve("stock").await.unwrap();
    let mut endpoints: Vec<_> = answer.endpoints.iter().map(|one| (one.id(), one.weight())).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, [("10.0.0.1:8080", 7), ("10.0.0.2:8080", 1), ("10.0.0.3:8080", 1)]);
    assert_eq!(answer.rejected, 1, "a target has no address");
    let span = recorder.span("resolve stock");
    assert_eq!(attribute(&span, "discovery.answer.endpoints").unwrap().to_string(), "3");
    assert_eq!(attribute(&span, "discovery.registry").unwrap().to_string(), "dns");

    let addresses = dns.registry(&recorder).with_template("{service}.example.").with_addresses(81);
    let answer = addresses.resolve("b").await.unwrap();
    let mut ids: Vec<_> = answer.endpoints.iter().map(|one| one.id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["10.0.0.2:81", "10.0.0.3:81"]);
    assert!(addresses.resolve("nothing").await.unwrap().endpoints.is_empty());
    recorder.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_with_other_records() {
    let (recorder, mut dns) = (Recorder::new(), Dns::new().await);
    dns.add_service(1, 1, "a.example.").await;
    dns.add_host("a.example.", 1).await;
    let endpoints = Endpoints::watch(dns.registry(&recorder), "stock", watch_options(&recorder));
    assert!(endpoints.ready().await);
    let client = Instances::default().client(&recorder, &endpoints, BalanceOptions::new());
    call(&client).await.unwrap();
    call(&client).await.unwrap();
    assert_eq!(
        recorder.spans().iter().filter(|span| span.name == "watch stock").count(),
        1,
        "calls ask no server"
    );

    dns.server.take().unwrap().shutdown_gracefully().await.unwrap();
    until(|| endpoints.stale_time().is_some()).await;
    call(&client).await.unwrap();
    dns.remove(SERVICE).await;
    dns.add_service(1, 1, "b.example.").await;
    dns.add_host("b.example.", 2).await;
    dns.start().await;
    until(|| endpoints.current()[0].id() == "10.0.0.2:8080").await;
    call_until(&client, &recorder, "10.0.0.2:8080").await;
    // Without records the last known endpoints stay.
    dns.remove(SERVICE).await;
    until(|| endpoints.stale_time().is_some()).await;
    assert_eq!(endpoints.current().len(), 1);
    drop((client, endpoints));

    let spans = recorder.spans();
    let failed = spans.iter().filter(|span| span.name == "watch stock" && error_type(span).is_some());
    let failed: Vec<_> = failed.map(|span| error_type(span).unwrap().to_string()).collect();
    assert!(!failed.is_empty() && failed.iter().all(|one| one == "timeout" || one == "dns"), "{failed:?}");
    assert_eq!(
        recorder.metric("discovery.watch.restarts").sum(),
        failed.len() as f64,
        "metrics agree with spans"
    );
}

/// Calls until the endpoint is chosen.
async fn call_until(client: &crate::support::Client, recorder: &Recorder, id: &str) {
    let calls = async {
        loop {
            call(client).await.unwrap();
            if chosen(&recorder.spans()).last().is_some_and(|last| last == id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), calls).await.unwrap();
}
