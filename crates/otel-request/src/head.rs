//! The heads of messages, as filters and hooks see them.

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

/// The head of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// The method as it was received or will be sent.
    pub method: &'a Method,
    /// The URI: absolute or only a path, depending on the HTTP version and the side.
    pub uri: &'a Uri,
    /// The HTTP version.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions that other layers attached to the request.
    pub extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// Borrows the head of a request; also for unit tests of a hook.
    #[inline]
    pub fn new<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The HTTP version.
    pub version: Version,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions that other layers attached to the response.
    pub extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    /// Borrows the head of a response; also for unit tests of a hook.
    #[inline]
    pub fn new<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }
}

/// The form in which a transport shows a request's head to its filters and hooks.
pub trait HeadView: 'static {
    /// The view; HTTP shows the [`RequestHead`] itself.
    type View<'a>;

    /// Converts a head. Called only where a filter or hook exists.
    fn view<'a>(head: &RequestHead<'a>) -> Self::View<'a>;
}
