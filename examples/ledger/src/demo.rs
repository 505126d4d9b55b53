//! The demonstration: starts the service, sends requests to it, and draws the trace of each.

use std::net::{Ipv4Addr, SocketAddr};

use axum::http::{Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use crate::Failure;
use crate::api::{Ledger, router};
use crate::cache::Cache;
use crate::stage::Stage;
use crate::store::Store;

pub(crate) async fn run(postgres: &str, redis: &str) -> Result<(), Failure> {
    let stage = Stage::new()?;
    // The data of two runs on the same servers differ.
    let name = format!("ledger{}", std::process::id());
    let result = with_store(&stage, postgres, redis, &name).await;
    stage.shut_down().await;
    result
}

async fn with_store(stage: &Stage, postgres: &str, redis: &str, name: &str) -> Result<(), Failure> {
    let store = Store::create(postgres, name).await.map_err(|error| format!("{postgres}: {error}"))?;
    let result = with_cache(stage, store.clone(), redis, name).await;
    // Runs after a failure as well, so that no database is left. The keys in Redis expire.
    result.and(store.drop(postgres, name).await.map_err(Into::into))
}

async fn with_cache(stage: &Stage, store: Store, redis: &str, name: &str) -> Result<(), Failure> {
    let cache = Cache::connect(redis, name).await.map_err(|error| format!("{redis}: {error}"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let script = Script { address: listener.local_addr()? };
    tokio::select! {
        result = script.run(stage) => result,
        served = axum::serve(listener, router(Ledger { store, cache })) => {
            served.and(Err(std::io::Error::other("the service ended unexpectedly"))).map_err(Into::into)
        }
    }
}

/// The requests of the demonstration, by a client without instrumentation.
struct Script {
    address: SocketAddr,
}

impl Script {
    async fn run(self, stage: &Stage) -> Result<(), Failure> {
        println!("A balance is read from Postgres once, and then from Redis.");
        self.send(Method::GET, "/accounts/1/balance", "").await?;
        stage.draw().await?;
        self.send(Method::GET, "/accounts/1/balance", "").await?;
        stage.draw().await?;

        println!("A transfer is one trace, from the request to the commit.");
        self.send(Method::POST, "/transfers/1/2/30", "a").await?;
        stage.draw().await?;

        println!("A transfer that is sent again changes nothing, and one without funds is rolled back.");
        self.send(Method::POST, "/transfers/1/2/30", "a").await?;
        stage.draw().await?;
        self.send(Method::POST, "/transfers/1/2/500", "b").await?;
        stage.draw().await?;

        println!("An N+1 query: one query for the accounts, and one for each account.");
        let one_by_one = self.send(Method::GET, "/statements/one-by-one", "").await?;
        stage.draw().await?;

        println!("The same statements, by one query.");
        let joined = self.send(Method::GET, "/statements", "").await?;
        stage.draw().await?;
        if one_by_one == joined { Ok(()) } else { Err("the statements differ".into()) }
    }

    /// Sends a request with a key and prints its response, which it returns.
    async fn send(&self, method: Method, path: &str, key: &str) -> Result<String, Failure> {
        let request = Request::builder().method(method.clone()).uri(format!("http://{}{path}", self.address));
        let request = request.header("idempotency-key", key).body(Empty::<Bytes>::new())?;
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
        let status = response.status();
        let body = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
        println!("  {method} {path}: {status} {body}");
        Ok(body)
    }
}
