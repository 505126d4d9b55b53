//! The span of a request as one layer writes to it: its own span, or the joint that the owner applies at its end.

use std::borrow::Cow;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanRef;

use crate::joint::Joint;

/// The rank of a span name, by how specific it is. Of the names that stacked layers report, the highest rank wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NameRank {
    /// Only the protocol is known: `grpc`.
    Protocol,
    /// The request method alone: `GET`.
    Method,
    /// A route or URL template: `GET /users/{id}`.
    Route,
    /// A known procedure: `package.Service/Method`.
    Procedure,
    /// The user's hook chose it.
    Hook,
}

/// The name of a request's span.
#[derive(Clone, Debug)]
pub struct SpanName {
    pub(crate) text: Cow<'static, str>,
    pub(crate) rank: NameRank,
}

impl SpanName {
    /// Returns a name with its rank.
    #[inline]
    pub fn new(text: impl Into<Cow<'static, str>>, rank: NameRank) -> Self {
        Self { text: text.into(), rank }
    }
}

impl NameRank {
    /// Returns true if the inner layer's name of rank `self` replaces the outer one's. On a tie the inner layer knows more,
    /// except for hooks: an application configures its outermost layer last.
    pub(crate) fn replaces(self, outer: Self) -> bool {
        self > outer || (self == outer && self < Self::Hook)
    }
}

/// The attributes that a layer adds to the span of its request. The SDK keeps duplicates, so a layer must not repeat a key
/// that an outer layer has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeScope {
    /// All attributes, because the layer owns the span.
    All,
    /// Attributes of the layer's protocol alone, because another protocol's layer owns the span. `server.*`, `client.*` and
    /// `network.peer.*` are the owner's.
    Protocol,
    /// Attributes of hooks alone, because a layer of the same protocol records the others.
    Hooks,
}

/// The destination of a layer's attributes, events and names: its own span, or the span of the layer around it.
#[derive(Debug)]
pub struct RequestSpan<'a> {
    target: Target<'a>,
    scope: AttributeScope,
    /// The joint of an owner, in which names of layers inside wait.
    names: Option<&'a Joint>,
}

#[derive(Debug)]
enum Target<'a> {
    Own(SpanRef<'a>),
    Borrowed(&'a SpanRef<'a>),
    Joint(&'a Joint),
}

impl<'a> RequestSpan<'a> {
    #[inline]
    pub(crate) fn own(span: SpanRef<'a>, names: Option<&'a Joint>) -> Self {
        Self { target: Target::Own(span), scope: AttributeScope::All, names }
    }

    #[inline]
    pub(crate) fn borrowed(span: &'a SpanRef<'a>, names: Option<&'a Joint>) -> Self {
        Self { target: Target::Borrowed(span), scope: AttributeScope::All, names }
    }

    pub(crate) fn joint(joint: &'a Joint, scope: AttributeScope) -> Self {
        Self { target: Target::Joint(joint), scope, names: None }
    }

    /// Returns the attributes that the layer adds.
    #[must_use]
    #[inline]
    pub fn scope(&self) -> AttributeScope {
        self.scope
    }

    /// Sets one attribute.
    #[inline]
    pub fn set_attribute(&self, attribute: KeyValue) {
        match self.span() {
            Ok(span) => span.set_attribute(attribute),
            Err(joint) => joint.add_attribute(attribute),
        }
    }

    /// Sets several attributes.
    #[inline]
    pub fn set_attributes(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        match self.span() {
            Ok(span) => span.set_attributes(attributes),
            Err(joint) => joint.add_attributes(attributes),
        }
    }

    /// Adds an event with the current time.
    pub fn add_event(&self, name: impl Into<Cow<'static, str>>, attributes: Vec<KeyValue>) {
        match self.span() {
            Ok(span) => span.add_event(name, attributes),
            Err(joint) => joint.add_event(name.into(), attributes),
        }
    }

    /// Renames the span; if layers are stacked, the name of the highest rank wins.
    pub fn set_name(&self, name: SpanName) {
        match (self.span(), self.names) {
            (Err(joint), _) => joint.set_name(name),
            // Layers inside have reported names, of which one can be better.
            (Ok(_), Some(joint)) => joint.set_owner_name(name),
            (Ok(span), None) => span.update_name(name.text),
        }
    }

    #[inline]
    fn span(&self) -> Result<&SpanRef<'a>, &'a Joint> {
        match &self.target {
            Target::Own(span) => Ok(span),
            Target::Borrowed(span) => Ok(span),
            Target::Joint(joint) => Err(joint),
        }
    }
}
