//! `Health` as the gRPC health service (feature `tonic`).
//!
//! Follows the [gRPC Health Checking Protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Health;

/// Interval of checks for a watched service; a shutdown is reported immediately.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The gRPC health service over a [`Health`]; created by [`Health::grpc_service`].
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    health: Health,
}

impl Health {
    /// Returns the service `grpc.health.v1.Health` for `tonic::transport::Server::add_service`. The empty name and
    /// `readiness` select readiness, `liveness` selects liveness; other names are unknown.
    #[must_use]
    pub fn grpc_service(&self) -> HealthServer<GrpcHealth> {
        HealthServer::new(GrpcHealth { health: self.clone() })
    }
}

impl GrpcHealth {
    async fn status(&self, service: &str) -> ServingStatus {
        let serving = match service {
            "" | "readiness" => self.health.ready().await.is_serving(),
            "liveness" => self.health.live().is_serving(),
            _ => return ServingStatus::ServiceUnknown,
        };
        if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl HealthService for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service).await {
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let watched = (self.clone(), self.health.stopping(), None);
        let changes = stream::unfold(watched, move |(this, mut stopping, last)| {
            let service = service.clone();
            async move {
                loop {
                    // Marked before the check, so that no change between the two is lost.
                    stopping.mark_unchanged();
                    let status = this.status(&service).await;
                    if last != Some(status) {
                        return Some((Ok(response(status)), (this, stopping, Some(status))));
                    }
                    // A timeout and a change both lead to the next check.
                    let _ = tokio::time::timeout(WATCH_EVERY, stopping.changed()).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
