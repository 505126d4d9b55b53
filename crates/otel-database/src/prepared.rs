//! The name, attributes and metrics of one statement, prepared once and shared by all its operations.
//!
//! Follows the [database semantic conventions](https://opentelemetry.io/docs/specs/semconv/db/database-spans/#name).

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::{KeyValue, StringValue};
use otel_operation::{BoundedCache, catch_panic, intern};

use crate::attributes::{
    COLLECTION_NAME, OPERATION_NAME, QUERY_SUMMARY, QUERY_TEXT, STORED_PROCEDURE_NAME, bounded, shared,
};
use crate::client::ClientState;
use crate::command::CommandDescription;
use crate::metrics::Series;
use crate::options::QueryText;
use crate::sql::{QueryAnalysis, analyze_query, truncated};

#[derive(Debug)]
pub(crate) struct PreparedStatement {
    pub(crate) client: Arc<ClientState>,
    pub(crate) recorded: bool,
    pub(crate) name: Cow<'static, str>,
    pub(crate) attributes: Box<[KeyValue]>,
    pub(crate) series: Arc<Series>,
}

/// The metrics of a client's summaries and commands.
#[derive(Debug)]
pub(crate) struct AllSeries {
    cached: BoundedCache<Series>,
    /// The metrics of those beyond the limit, and of queries without a summary.
    unnamed: Arc<Series>,
}

impl AllSeries {
    pub(crate) fn new(client: &ClientState) -> Self {
        Self {
            cached: BoundedCache::new(client.options.max_statements),
            unnamed: Arc::new(Series::new(client.attributes.clone())),
        }
    }
}

impl PreparedStatement {
    pub(crate) fn from_query(client: &Arc<ClientState>, all: &AllSeries, query: &str) -> Self {
        let options = &client.options;
        let QueryAnalysis { summary, text } =
            analyze_query(query, client.facts.dialect, options.max_query_text);
        let is_sql = summary.is_some();
        let given =
            options.summarize.as_ref().and_then(|summarize| catch_panic(|| summarize(query)).flatten());
        let summary = given.map(|given| bounded(&given).to_owned()).or(summary);
        let mut attributes = client.attributes.clone();
        attributes.extend(summary.as_deref().map(|summary| shared(QUERY_SUMMARY, summary)));
        let text = match options.query_text {
            QueryText::Omitted => None,
            // Text that begins with no command may be anything but SQL.
            QueryText::Sanitized => Some(&*text).filter(|_| is_sql),
            QueryText::Verbatim => Some(truncated(query, options.max_query_text)),
        };
        attributes.extend(text.map(query_text));
        let metric_attributes = |summary: &str| vec![shared(QUERY_SUMMARY, summary)];
        Self::new(
            client,
            all,
            summary.as_deref().map(|summary| (summary, summary)),
            attributes,
            metric_attributes,
        )
    }

    pub(crate) fn from_command(
        client: &Arc<ClientState>,
        all: &AllSeries,
        key: &str,
        command: &CommandDescription<'_>,
    ) -> Self {
        let target = command.collection.or(command.stored_procedure).map(Cow::Borrowed);
        let target = target.or_else(|| client.target().map(Cow::Owned));
        let name = match target {
            Some(target) => format!("{} {}", bounded(command.name), bounded(&target)),
            None => bounded(command.name).to_owned(),
        };
        let names = || {
            let mut names = vec![shared(OPERATION_NAME, command.name)];
            names.extend(command.collection.map(|name| shared(COLLECTION_NAME, name)));
            names.extend(command.stored_procedure.map(|name| shared(STORED_PROCEDURE_NAME, name)));
            names
        };
        let mut attributes = client.attributes.clone();
        attributes.extend(names());
        let text = command.query_text.filter(|_| client.options.query_text != QueryText::Omitted);
        attributes.extend(text.map(|text| query_text(truncated(text, client.options.max_query_text))));
        Self::new(client, all, Some((key, &name)), attributes, |_| names())
    }

    /// Prepares a statement with this key of its metrics and this name, if they are known.
    fn new(
        client: &Arc<ClientState>,
        all: &AllSeries,
        named: Option<(&str, &str)>,
        attributes: Vec<KeyValue>,
        metric_attributes: impl Fn(&str) -> Vec<KeyValue>,
    ) -> Self {
        let series = named.and_then(|(key, name)| {
            let series = || Series::new([client.attributes.clone(), metric_attributes(key)].concat());
            Some((all.cached.get_or_insert(key, series)?, name))
        });
        let filtered = named.map(|(_, name)| name);
        let (series, name) = match series {
            Some((series, name)) => (Arc::clone(series), intern(name)),
            None => {
                let target = client.target();
                (Arc::clone(&all.unnamed), intern(target.as_deref().map_or(client.system, bounded)))
            }
        };
        let filter = client.options.filter.as_ref();
        // A filter that panics leaves nothing out.
        let recorded =
            filter.is_none_or(|filter| catch_panic(|| filter(filtered.unwrap_or(&name))).unwrap_or(true));
        Self { recorded, name, attributes: attributes.into(), series, client: Arc::clone(client) }
    }
}

fn query_text(text: &str) -> KeyValue {
    KeyValue::new(QUERY_TEXT, StringValue::from(Arc::<str>::from(text)))
}
