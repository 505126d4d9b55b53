//! Payment: the accounts of customers over gRPC, on a database. Several instances can share it.
//!
//! The first attempt to charge a customer of `SHOP_SLOW` never ends: the caller repeats it, at another instance.

use std::process::ExitCode;

use shop::ledger::Ledger;
use shop::proto::payment_server::{Payment, PaymentServer};
use shop::proto::{Account, ChargeReply, ChargeRequest, Customer};
use shop::{FILE_DESCRIPTOR_SET, Failure, Service, setting, setting_or};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("payment", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let layer = otel_grpc::ServerLayer::for_services(&[FILE_DESCRIPTOR_SET])?;
    let ledger = Ledger::open(&setting("SHOP_LEDGER")?).await?;
    let listener = service.listen().await?;
    service.ready(Some(&listener))?;
    let stop = service.stop();
    let slow = setting_or("SHOP_SLOW", "").split(',').map(str::to_owned).collect();
    Server::builder()
        .layer(layer)
        .add_service(PaymentServer::new(Till { ledger, slow, service }))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    Ok(())
}

struct Till {
    ledger: Ledger,
    slow: Vec<String>,
    service: Service,
}

#[tonic::async_trait]
impl Payment for Till {
    async fn charge(&self, request: Request<ChargeRequest>) -> Result<Response<ChargeReply>, Status> {
        let ChargeRequest { key, customer, cents } = request.into_inner();
        if self.slow.contains(&customer) && self.ledger.is_first_attempt(&key).await.map_err(failed)? {
            self.service.report(format_args!("hesitates to charge {customer}"));
            std::future::pending::<()>().await;
        }
        let is_charged = self.ledger.charge(&key, &customer, cents).await.map_err(failed)?;
        Ok(Response::new(ChargeReply { is_charged }))
    }

    async fn get_account(&self, request: Request<Customer>) -> Result<Response<Account>, Status> {
        let cents = self.ledger.cents(&request.get_ref().name).await.map_err(failed)?;
        Ok(Response::new(Account { cents }))
    }
}

/// The status of an error: data that the database refuses are the caller's fault, by their class of
/// [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn failed(error: sqlx::Error) -> Status {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code {
        Some(code) if code.starts_with("22") => Status::invalid_argument(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}
