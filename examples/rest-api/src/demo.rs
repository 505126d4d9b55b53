//! The demonstration: sends requests one after the other and draws the trace of each.

use std::error::Error;

use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use otel_waterfall::Waterfall;
use serde_json::{Value, json};

use crate::services::Services;

/// One request of the demonstration.
struct Call {
    about: &'static str,
    method: Method,
    path: &'static str,
    body: Option<Value>,
    /// Close the connection after the first line of the response.
    disconnects: bool,
}

impl Call {
    fn new(about: &'static str, method: Method, path: &'static str) -> Self {
        Self { about, method, path, body: None, disconnects: false }
    }

    fn with_body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn disconnecting(self) -> Self {
        Self { disconnects: true, ..self }
    }
}

fn calls() -> Vec<Call> {
    let ada = json!({ "name": "Ada Lovelace", "email": "ada@example.com" });
    let cher = json!({ "name": "Cher", "email": "cher@example.com" });
    let grace = json!({ "name": "Grace Hopper", "email": "grace@example.com" });
    let renamed = json!({ "name": "Augusta Ada King", "email": "ada@example.com" });
    let invalid = json!({ "name": "Alan Turing", "email": "alan" });
    vec![
        Call::new("A user is created, and an account for her.", Method::POST, "/users").with_body(ada),
        Call::new("She is read, together with her account.", Method::GET, "/users/1"),
        Call::new("She changes her name.", Method::PUT, "/users/1").with_body(renamed.clone()),
        Call::new("Another user is created.", Method::POST, "/users").with_body(cher),
        Call::new("All users are listed.", Method::GET, "/users"),
        Call::new("No user has this ID; the server's span is not an error.", Method::GET, "/users/7"),
        Call::new("Her email is taken.", Method::POST, "/users").with_body(renamed),
        Call::new("This is not an email.", Method::POST, "/users").with_body(invalid),
        Call::new("A third account exceeds the limit.", Method::POST, "/users").with_body(grace),
        Call::new("The handler panics.", Method::GET, "/users/2/initials"),
        Call::new(
            "The caller closes the connection after the first line: both services stop.",
            Method::GET,
            "/users/1/statement",
        )
        .disconnecting(),
        Call::new("The first user and her account are deleted.", Method::DELETE, "/users/1"),
    ]
}

/// Sends the requests to the users API and draws the trace of each.
pub(crate) async fn run(services: &Services, waterfall: &Waterfall) -> Result<(), Box<dyn Error>> {
    // Not instrumented, so that the traces begin in the users API.
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    for call in calls() {
        println!("{}", call.about);
        println!("{} {}", call.method, call.path);
        let mut request =
            Request::builder().method(&call.method).uri(format!("http://{}{}", services.users, call.path));
        let body = match &call.body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        match client.request(request.body(body)?).await {
            Ok(response) => {
                let response =
                    if call.disconnects { first_line(response).await? } else { all(response).await? };
                println!("→ {response}\n");
            }
            Err(_) => println!("→ the connection was closed\n"),
        }
        services.open_spans.none().await;
        waterfall.flush();
    }
    Ok(())
}

async fn all(response: Response<impl BodyExt<Error: Error + 'static>>) -> Result<String, Box<dyn Error>> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(format!("{} {}", status, String::from_utf8_lossy(&body)).trim_end().to_owned())
}

/// Reads the first frame and drops the body, which closes the connection.
async fn first_line(
    response: Response<impl BodyExt<Data = bytes::Bytes, Error: Error + 'static> + Unpin>,
) -> Result<String, Box<dyn Error>> {
    let status = response.status();
    let frame = response.into_body().frame().await.transpose()?;
    let data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
    Ok(format!("{} {}", status, String::from_utf8_lossy(&data).trim_end()))
}
