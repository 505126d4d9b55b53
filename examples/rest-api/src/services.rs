//! Both services with their sockets and their telemetry: started together, ended together.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::AccountsClient;
use crate::telemetry::{self, OpenSpans, Telemetry};
use crate::{accounts, users};

/// Two services that are running.
pub(crate) struct Services {
    /// Where the users API listens.
    pub(crate) users: SocketAddr,
    /// Where the accounts API listens.
    pub(crate) accounts: SocketAddr,
    pub(crate) open_spans: OpenSpans,
    telemetry: [Telemetry; 2],
    servers: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Services {
    /// Starts both, the users API on this port, or a free one if it is 0.
    pub(crate) async fn start(port: u16, waterfall: &Waterfall) -> io::Result<Self> {
        telemetry::install_propagator();
        let open_spans = OpenSpans::default();
        let users = Telemetry::new("users", waterfall, &open_spans);
        let accounts = Telemetry::new("accounts", waterfall, &open_spans);

        let accounts_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let users_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let accounts_address = accounts_listener.local_addr()?;
        let users_address = users_listener.local_addr()?;
        let client = AccountsClient::new(accounts_address, &users.client_layer());

        let stop = watch::Sender::new(false);
        let mut servers = JoinSet::new();
        servers.spawn(serve(accounts_listener, accounts::router(&accounts.server_layer()), stop.subscribe()));
        servers.spawn(serve(users_listener, users::router(client, &users.server_layer()), stop.subscribe()));
        Ok(Self {
            users: users_address,
            accounts: accounts_address,
            open_spans,
            telemetry: [users, accounts],
            servers,
            stop,
        })
    }

    /// Lets what is running finish, then exports what is left.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for ended in self.servers.join_all().await {
            report("a server", ended);
        }
        for telemetry in self.telemetry {
            report("the telemetry", telemetry.shutdown());
        }
    }
}

async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    // With the peer's address among a request's extensions, spans carry `client.address`.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}

fn report<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        eprintln!("{what} did not end well: {error}");
    }
}
