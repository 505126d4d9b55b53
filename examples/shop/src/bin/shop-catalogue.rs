//! The catalogue: prices and stock over gRPC, with unary calls and a stream. A restart fills the shelves again.

use std::collections::HashMap;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use shop::proto::catalogue_server::{Catalogue, CatalogueServer};
use shop::proto::{Item, ItemName, Released, Reservation, ReservationKey, Reserved};
use shop::{FILE_DESCRIPTOR_SET, Failure, Service};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[tokio::main]
async fn main() -> ExitCode {
    shop::run("catalogue", serve).await
}

async fn serve(service: Service) -> Result<(), Failure> {
    let layer = otel_grpc::ServerLayer::for_services(&[FILE_DESCRIPTOR_SET])?;
    let listener = service.listen().await?;
    service.ready(Some(&listener))?;
    Server::builder()
        .layer(layer)
        .add_service(CatalogueServer::new(Shelves::new()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), service.stop())
        .await?;
    Ok(())
}

/// The state of a reservation by its key.
enum Answer {
    Reserved {
        item: String,
        quantity: i64,
    },
    Refused,
    /// Undone after or before it arrived.
    Released,
}

struct Stock {
    items: HashMap<&'static str, Item>,
    answers: HashMap<String, Answer>,
}

struct Shelves(Mutex<Stock>);

impl Shelves {
    fn new() -> Self {
        let items = [("teapot", 1999), ("cup", 450), ("tea", 799), ("honey", 620)]
            .map(|(name, cents)| (name, Item { name: name.to_owned(), cents, in_stock: 1_000_000 }));
        Self(Mutex::new(Stock { items: items.into(), answers: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Catalogue for Shelves {
    async fn get_item(&self, request: Request<ItemName>) -> Result<Response<Item>, Status> {
        let item = self.lock().items.get(&*request.get_ref().name).cloned();
        item.map(Response::new).ok_or_else(|| Status::not_found("no such item"))
    }

    type SuggestStream = Pin<Box<dyn Stream<Item = Result<Item, Status>> + Send>>;

    async fn suggest(&self, request: Request<ItemName>) -> Result<Response<Self::SuggestStream>, Status> {
        let name = request.into_inner().name;
        let mut others: Vec<_> =
            self.lock().items.values().filter(|item| item.name != name).cloned().collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        let others = tokio_stream::iter(others.into_iter().map(Ok));
        Ok(Response::new(Box::pin(others)))
    }

    async fn reserve(&self, request: Request<Reservation>) -> Result<Response<Reserved>, Status> {
        let Reservation { key, item, quantity } = request.into_inner();
        let mut stock = self.lock();
        let Stock { items, answers } = &mut *stock;
        let answer = answers.entry(key).or_insert_with(|| match items.get_mut(&*item) {
            Some(shelf) if quantity > 0 && shelf.in_stock >= quantity => {
                shelf.in_stock -= quantity;
                Answer::Reserved { item, quantity }
            }
            _ => Answer::Refused,
        });
        Ok(Response::new(Reserved { is_reserved: matches!(answer, Answer::Reserved { .. }) }))
    }

    async fn release(&self, request: Request<ReservationKey>) -> Result<Response<Released>, Status> {
        let mut stock = self.lock();
        if let Some(Answer::Reserved { item, quantity }) =
            stock.answers.insert(request.into_inner().key, Answer::Released)
            && let Some(shelf) = stock.items.get_mut(&*item)
        {
            shelf.in_stock += quantity;
        }
        Ok(Response::new(Released {}))
    }
}
