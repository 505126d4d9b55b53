//! A project's own names, read from the tables of a Markdown document.

use crate::MetricKind;

/// The names that a project records and the registry lacks or has deprecated, one section of a document for each crate.
#[derive(Clone, Debug, Default)]
pub struct ProjectNames(Vec<ListedName>);

#[derive(Clone, Debug)]
pub(super) struct ListedName {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Attribute,
    Event,
    Metric(MetricKind),
}

impl ListedName {
    pub(super) fn metric_kind(&self) -> Option<MetricKind> {
        match self.kind {
            Kind::Metric(kind) => Some(kind),
            Kind::Attribute | Kind::Event => None,
        }
    }
}

impl ProjectNames {
    /// An empty list: everything that is recorded is in the registry.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the section of this heading (`## section`): table rows of name in backquotes, kind (attribute, event,
    /// counter, up-down counter, gauge, histogram), unit in backquotes (of a metric), and reason.
    ///
    /// # Errors
    /// If there is no such section, or a row has another form or no reason.
    pub fn parse(document: &str, section: &str) -> Result<Self, String> {
        let mut lines = document.lines();
        let heading = |line: &str| line.strip_prefix("## ").is_some_and(|title| title.trim() == section);
        lines.find(|line| heading(line)).ok_or_else(|| format!("no section {section:?}"))?;
        let rows = lines.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
        rows.map(row).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ListedName> {
        self.0.iter()
    }
}

fn row(line: &str) -> Result<ListedName, String> {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [name, kind, unit, reason] = cells[..] else {
        return Err(format!("not a row of name, kind, unit and reason: {line}"));
    };
    let kind = match kind {
        "attribute" => Kind::Attribute,
        "event" => Kind::Event,
        "counter" => Kind::Metric(MetricKind::Counter),
        "up-down counter" => Kind::Metric(MetricKind::UpDownCounter),
        "gauge" => Kind::Metric(MetricKind::Gauge),
        "histogram" => Kind::Metric(MetricKind::Histogram),
        _ => return Err(format!("unknown kind {kind:?}: {line}")),
    };
    if !reason.contains(' ') {
        return Err(format!("no reason: {line}"));
    }
    let code = |cell: &str| cell.trim_matches('`').to_owned();
    Ok(ListedName { name: code(name), kind, unit: code(unit) })
}
