//! The description of a command: an operation that is no query text.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#name).

use std::borrow::Cow;

/// A command of a client, such as `GET` of a cache or `findAndModify` of a document store. Its parts are on spans and
/// metrics, so that they must have a low cardinality: templates of keys in place of keys.
#[derive(Clone, Copy, Debug)]
pub struct CommandDescription<'a> {
    pub(crate) name: &'a str,
    pub(crate) collection: Option<&'a str>,
    pub(crate) stored_procedure: Option<&'a str>,
    pub(crate) query_text: Option<&'a str>,
}

impl<'a> CommandDescription<'a> {
    /// Creates the description of a command, whose name is `db.operation.name`. A batch has the name of its kind, followed by
    /// the name that all its commands share: `PIPELINE GET`, `MULTI`.
    #[must_use]
    pub const fn new(name: &'a str) -> Self {
        Self { name, collection: None, stored_procedure: None, query_text: None }
    }

    /// Sets the collection, `db.collection.name`.
    #[must_use]
    pub const fn with_collection(mut self, collection: &'a str) -> Self {
        self.collection = Some(collection);
        self
    }

    /// Sets the stored procedure or script, `db.stored_procedure.name`.
    #[must_use]
    pub const fn with_stored_procedure(mut self, name: &'a str) -> Self {
        self.stored_procedure = Some(name);
        self
    }

    /// Sets the text of the command without its values, such as `GET user:{id}`. It is `db.query.text` on spans.
    #[must_use]
    pub const fn with_query_text(mut self, text: &'a str) -> Self {
        self.query_text = Some(text);
        self
    }

    /// The key of the command among those of a client. No part has the separator, or the keys of odd names coincide.
    pub(crate) fn key(&self) -> Cow<'a, str> {
        match self {
            Self { name, collection: None, stored_procedure: None, query_text: None } => Cow::Borrowed(name),
            Self { name, collection, stored_procedure, query_text } => {
                let [collection, procedure, text] =
                    [collection, stored_procedure, query_text].map(|part| part.unwrap_or_default());
                Cow::Owned(format!("{name}\0{collection}\0{procedure}\0{text}"))
            }
        }
    }
}
