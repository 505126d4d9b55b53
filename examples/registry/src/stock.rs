//! The instances of the service `stock`, each with a server of its own.
//!
//! Follows `crates/otel-http/README.md` for the server layer.

use axum::Router;
use axum::routing::get;
use otel_discovery::Endpoint;
use otel_http::{LayerOptions, ServerLayer};
use otel_waterfall::Waterfall;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Failure, provider};

/// An instance; it is killed by [`kill`](Self::kill).
pub(crate) struct Instance {
    pub(crate) endpoint: Endpoint,
    server: JoinHandle<()>,
}

impl Instance {
    /// Serves on an unused port.
    pub(crate) async fn start(waterfall: &Waterfall, id: &'static str) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let endpoint = Endpoint::new(&address.ip().to_string(), address.port())?.with_id(id)?;
        let layer = ServerLayer::new().with_tracer_provider(&provider(waterfall, id));
        let app = Router::new().route("/items/{id}", get(move || async move { id })).layer(layer);
        let serve = async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("error: {id}: {error}");
            }
        };
        Ok(Self { endpoint, server: tokio::spawn(serve) })
    }

    pub(crate) async fn kill(self) {
        self.server.abort();
        // The error of a task that was aborted.
        let _ = self.server.await;
    }
}
