//! The requests to etcd, over tonic.
//!
//! Follows [etcd's API](https://etcd.io/docs/v3.4/learning/api/) and its
//! [authentication](https://etcd.io/docs/v3.4/learning/design-auth-v3/): a token that is sent along with each request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::uri::PathAndQuery;
use opentelemetry::KeyValue;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint as Address};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::NAME;
use super::messages::{AuthenticateRequest, AuthenticateResponse};
use crate::attributes::{SERVER_ADDRESS, SERVER_PORT};
use crate::error::RegistryError;

/// Limit in bytes of an answer.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The names of a request: the verb and the service, for its error.
pub(super) type Purpose<'a> = (&'static str, &'a str);

type Token = Option<MetadataValue<Ascii>>;

#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    members: Vec<Member>,
    /// The member that has answered last.
    preferred: Arc<AtomicUsize>,
    credentials: Option<AuthenticateRequest>,
    token: Arc<RwLock<Token>>,
    timeout: Duration,
}

/// A member of the cluster. A channel needs a runtime, so that it is made for the first request.
#[derive(Clone)]
struct Member {
    address: Option<Address>,
    channel: OnceLock<Channel>,
}

impl Member {
    fn channel(&self) -> Option<Channel> {
        let address = || self.address.as_ref().map(Address::connect_lazy);
        match self.channel.get() {
            Some(channel) => Some(channel.clone()),
            None => address().map(|channel| self.channel.get_or_init(|| channel).clone()),
        }
    }
}

impl Client {
    fn new(members: Vec<Member>) -> Self {
        Self(Arc::new(Inner {
            members,
            preferred: Arc::default(),
            credentials: None,
            token: Arc::default(),
            timeout: Duration::from_secs(5),
        }))
    }

    pub(super) fn at(addresses: Vec<Address>) -> Self {
        let member = |address: Address| {
            // A watch is idle for long: a peer that has gone without a word is found out by pings. etcd takes one each five seconds.
            let address = address
                .connect_timeout(Duration::from_secs(5))
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(5))
                .keep_alive_while_idle(true);
            Member { address: Some(address), channel: OnceLock::new() }
        };
        Self::new(addresses.into_iter().map(member).collect())
    }

    pub(super) fn over(channels: Vec<Channel>) -> Self {
        let member = |channel| Member { address: None, channel: OnceLock::from(channel) };
        Self::new(channels.into_iter().map(member).collect())
    }

    pub(super) fn with_credentials(mut self, name: &str, password: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.credentials =
            Some(AuthenticateRequest { name: name.to_owned(), password: password.to_owned() });
        inner.token = Arc::default();
        self
    }

    pub(super) fn with_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.0).timeout = timeout;
        self
    }

    /// Returns the address, if there is one member.
    pub(super) fn server(&self) -> Vec<KeyValue> {
        let [Member { address: Some(address), .. }] = &self.0.members[..] else { return Vec::new() };
        let host = address.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = i64::from(address.uri().port_u16().unwrap_or(80));
        vec![KeyValue::new(SERVER_ADDRESS, host), KeyValue::new(SERVER_PORT, port)]
    }

    /// Sends a request, and returns its response.
    pub(super) async fn unary<Q, R>(
        &self,
        purpose: Purpose<'_>,
        path: &'static str,
        request: Q,
    ) -> Result<R, RegistryError>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        let call = move |channel, token| {
            let request = with_token(Request::new(request.clone()), token);
            unary(channel, path, request).boxed()
        };
        self.authorized(purpose, call).await
    }

    /// Opens a stream with one request, and returns its first response and the stream. `stays_open` keeps the request's side open.
    pub(super) async fn stream<Q, R>(
        &self,
        purpose: Purpose<'_>,
        path: &'static str,
        request: Q,
        stays_open: bool,
    ) -> Result<(R, Streaming<R>), RegistryError>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + 'static,
    {
        let call = move |channel, token| {
            let requests = stream::once(std::future::ready(request.clone()));
            let requests = match stays_open {
                true => requests.chain(stream::pending()).left_stream(),
                false => requests.right_stream(),
            };
            let mut requests = with_token(Request::new(requests), token);
            // A member without a leader would be silent, and its changes be missed.
            requests.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            async move {
                let (mut grpc, path) = ready(channel, path).await?;
                let response = grpc.streaming(requests, path, ProstCodec::<Q, R>::default()).await?;
                let mut responses = response.into_inner();
                let ended = || Status::unavailable("the stream ended without a response");
                Ok((responses.message().await?.ok_or_else(ended)?, responses))
            }
            .boxed()
        };
        self.authorized(purpose, call).await
    }

    /// Calls with the token; once more with a new one if it is no longer valid.
    async fn authorized<R>(
        &self,
        purpose: Purpose<'_>,
        call: impl Fn(Channel, Token) -> BoxFuture<'static, Result<R, Status>> + Send + Sync,
    ) -> Result<R, RegistryError> {
        let Some(credentials) = &self.0.credentials else {
            let result = self.on_any_member(|channel| call(channel, None)).await;
            return result.map_err(|status| error(purpose, status));
        };
        let known = self.0.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            match self.on_any_member(|channel| call(channel, known.clone())).await {
                // The second is the answer to a token of before a change of users or roles.
                Err(status) if matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument) => {}
                result => return result.map_err(|status| error(purpose, status)),
            }
        }
        let token = Some(self.authenticate(purpose, credentials).await?);
        let result = self.on_any_member(|channel| call(channel, token.clone())).await;
        result.map_err(|status| error(purpose, status))
    }

    async fn authenticate(
        &self,
        purpose: Purpose<'_>,
        credentials: &AuthenticateRequest,
    ) -> Result<MetadataValue<Ascii>, RegistryError> {
        let call = |channel| {
            unary(channel, "/etcdserverpb.Auth/Authenticate", Request::new(credentials.clone())).boxed()
        };
        let response: AuthenticateResponse =
            self.on_any_member(call).await.map_err(|status| match status.code() {
                // A wrong name or password.
                Code::InvalidArgument => {
                    RegistryError::new(NAME, purpose.0, purpose.1, "permission_denied", status)
                }
                _ => error(purpose, status),
            })?;
        let mut token = MetadataValue::try_from(response.token)
            .map_err(|failed| RegistryError::new(NAME, purpose.0, purpose.1, "malformed", failed))?;
        token.set_sensitive(true);
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// Calls the members one after the other, from the one that has answered last, until one can be reached.
    async fn on_any_member<R>(
        &self,
        call: impl Fn(Channel) -> BoxFuture<'static, Result<R, Status>> + Send + Sync,
    ) -> Result<R, Status> {
        let count = self.0.members.len();
        let first = self.0.preferred.load(Ordering::Relaxed);
        let mut last = Status::unavailable("no member is known");
        for offset in 0..count {
            let at = (first + offset) % count;
            let Some(channel) = self.0.members[at].channel() else { continue };
            let result = match tokio::time::timeout(self.0.timeout, call(channel)).await {
                Ok(result) => result,
                Err(_) => Err(Status::deadline_exceeded("no response in time")),
            };
            match result {
                Err(status) if is_unreachable(&status) => last = status,
                result => {
                    self.0.preferred.store(at, Ordering::Relaxed);
                    return result;
                }
            }
        }
        Err(last)
    }
}

async fn unary<Q, R>(channel: Channel, path: &'static str, request: Request<Q>) -> Result<R, Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    let (mut grpc, path) = ready(channel, path).await?;
    Ok(grpc.unary(request, path, ProstCodec::<Q, R>::default()).await?.into_inner())
}

#[cfg(test)]
impl Client {
    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.members.iter().filter_map(|one| Some(one.address.as_ref()?.uri().to_string())).collect()
    }

    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        self.0.credentials.as_ref().map(|one| (&*one.name, &*one.password))
    }
}

async fn ready(channel: Channel, path: &'static str) -> Result<(Grpc<Channel>, PathAndQuery), Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(LONGEST_ANSWER);
    grpc.ready().await.map_err(|failed| Status::from_error(failed.into()))?;
    Ok((grpc, PathAndQuery::from_static(path)))
}

fn with_token<Q>(mut request: Request<Q>, token: Token) -> Request<Q> {
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

/// A status with a cause was made on this side: by a connection that failed or broke.
fn is_local(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn is_unreachable(status: &Status) -> bool {
    is_local(status) || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// Returns the error of a failed request, by its [code](https://grpc.io/docs/guides/status-codes/).
pub(super) fn error((operation, service): Purpose<'_>, status: Status) -> RegistryError {
    let error_type = match status.code() {
        _ if is_local(&status) => "connect",
        Code::Unavailable => "unavailable",
        Code::DeadlineExceeded => "timeout",
        Code::Unauthenticated | Code::PermissionDenied => "permission_denied",
        Code::NotFound => "not_found",
        Code::ResourceExhausted => "rate_limited",
        Code::InvalidArgument | Code::FailedPrecondition => "rejected",
        // tonic's own, of an answer that is too long.
        Code::OutOfRange => "malformed",
        _ => "server_error",
    };
    RegistryError::new(NAME, operation, service, error_type, status)
}
