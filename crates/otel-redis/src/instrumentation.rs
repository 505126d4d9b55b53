//! The instrumentation of a client's connections: the operations of commands and pipelines.
//!
//! Follows the [semantic conventions for Redis](https://opentelemetry.io/docs/specs/semconv/db/redis/). A pipeline of several
//! commands is a batch; one of a single command is that command.

use std::fmt;
use std::sync::Arc;

use opentelemetry::{Context, InstrumentationScope};
use otel_database::attributes::{OperationAttributes, SCHEMA_URL};
use otel_database::{CommandDescription, DatabaseInstrumentation, DatabaseOperation, Options, QueryText};
use otel_operation::catch_panic;

use crate::attributes::{SYSTEM, push_script, push_text};
use crate::command::{Command, TextForm, text};
use crate::config::KeyTemplate;

/// The default port of Redis, which is not recorded.
pub(crate) const PORT: u16 = 6379;

/// The facts of a client's configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientFacts {
    /// The address of the server, if it is a single one.
    pub(crate) server: Option<(String, u16)>,
    /// The index of the database at the start of the connection.
    pub(crate) database: Option<i64>,
}

/// The instrumentation of connections. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct ClientInstrumentation {
    database: DatabaseInstrumentation,
    template: Option<KeyTemplate>,
}

/// The kind of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchKind {
    Pipeline,
    Transaction,
}

impl BatchKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "PIPELINE",
            Self::Transaction => "MULTI",
        }
    }
}

impl ClientInstrumentation {
    pub(crate) fn new(facts: &ClientFacts, template: Option<KeyTemplate>, options: Options) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let server = facts.server.as_ref();
        let server = server.map(|(address, port)| (&**address, Some(*port).filter(|port| *port != PORT)));
        let index = facts.database.map(|index| index.to_string());
        let database = DatabaseInstrumentation::builder(SYSTEM, scope)
            .with_server(server)
            .with_namespace(index.as_deref())
            .without_namespace_in_names()
            .build(options);
        Self { database, template }
    }

    /// Starts the operation of one command, or returns `None` if nothing is recorded.
    #[inline]
    pub(crate) fn start<'a, I>(&self, command: &Command<I>) -> Option<DatabaseOperation>
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        if self.database.is_idle() {
            return None;
        }
        let (name, _) = command.name();
        let template = self.template_of(&name, command);
        let mut description = CommandDescription::new(&name);
        if let Some(template) = &template {
            description = description.with_collection(template);
        }
        if let Some(function) = command.function() {
            description = description.with_stored_procedure(function);
        }
        let statement = self.database.command(&description);
        // A clone: the sampler and the span processors may attach a context, which panics while the current one is borrowed.
        let operation = statement.operation().start(&Context::current(), |attributes| {
            self.push_text(attributes, [command.clone()], template.as_deref());
            if let Some(script) = command.script() {
                push_script(attributes, script);
            }
        });
        (!operation.is_inert()).then_some(operation)
    }

    /// Starts the operation of a pipeline or a transaction, or returns `None` if nothing is recorded. `commands` returns its
    /// commands, each time anew.
    pub(crate) fn start_batch<'a, I, L>(
        &self,
        kind: BatchKind,
        commands: impl Fn() -> L,
    ) -> Option<DatabaseOperation>
    where
        L: Iterator<Item = Command<I>>,
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        if self.database.is_idle() {
            return None;
        }
        let size = commands().count();
        let first = commands().next();
        if let (BatchKind::Pipeline, 1, Some(single)) = (kind, size, &first) {
            return self.start(single);
        }
        // The common name of all commands is part of the name of the batch.
        let shared = first.as_ref().map(|first| (first.name().0, first));
        let shared = shared.filter(|(name, _)| commands().all(|command| command.name().0 == *name));
        let name = match &shared {
            Some((name, _)) => format!("{} {name}", kind.name()),
            None => kind.name().to_owned(),
        };
        let template = shared.and_then(|(name, first)| {
            let template = self.template_of(&name, first)?;
            commands()
                .all(|command| self.template_of(&name, &command).as_ref() == Some(&template))
                .then_some(template)
        });
        let mut description = CommandDescription::new(&name);
        if let Some(template) = &template {
            description = description.with_collection(template);
        }
        let statement = self.database.command(&description);
        let operation =
            statement.operation().with_batch_size(size).start(&Context::current(), |attributes| {
                self.push_text(attributes, commands(), template.as_deref());
            });
        (!operation.is_inert()).then_some(operation)
    }

    /// Starts the operation of a command with this name, whose arguments are not known.
    #[cfg(feature = "aio")]
    pub(crate) fn start_named(&self, name: &'static str) -> Option<DatabaseOperation> {
        self.start(&Command(std::iter::once(name.as_bytes())))
    }

    fn template_of<'a, I>(&self, name: &str, command: &Command<I>) -> Option<String>
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        let template = self.template.as_ref()?;
        let key = command.key()?;
        catch_panic(|| template(name, key)).flatten()
    }

    fn push_text<'a, I>(
        &self,
        attributes: &mut OperationAttributes,
        commands: impl IntoIterator<Item = Command<I>>,
        template: Option<&str>,
    ) where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        let (form, limit) = self.database.query_text();
        let form = match form {
            QueryText::Omitted => return,
            QueryText::Verbatim => TextForm::Verbatim(limit),
            _ => TextForm::WithoutValues,
        };
        push_text(attributes, text(commands, template, form), limit);
    }
}

impl fmt::Debug for ClientInstrumentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInstrumentation")
            .field("database", &self.database)
            .field("template", &self.template.is_some())
            .finish()
    }
}

/// The parts from which the instrumentation of connections is built, kept so that options can be set one after the other.
#[derive(Clone)]
pub(crate) struct ClientSettings {
    pub(crate) facts: ClientFacts,
    pub(crate) options: Options,
    pub(crate) template: Option<KeyTemplate>,
}

impl ClientSettings {
    pub(crate) fn new(facts: ClientFacts) -> Self {
        Self { facts, options: Options::new(), template: None }
    }

    pub(crate) fn set_template<F>(&mut self, template: F)
    where
        F: Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
    {
        self.template = Some(Arc::new(template));
    }

    pub(crate) fn build(&self) -> ClientInstrumentation {
        ClientInstrumentation::new(&self.facts, self.template.clone(), self.options.clone())
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("facts", &self.facts)
            .field("options", &self.options)
            .field("template", &self.template.is_some())
            .finish()
    }
}
