//! The manifests of Kubernetes and of the meshes: each can be parsed, is listed, and agrees with the others and with the
//! shop's source.
//!
//! The API server checks the schemas, in the step `kubernetes` of `cargo xtask ci --full`.

mod kustomize;
mod operator;
mod references;
mod workloads;

use anyhow::{Result, anyhow};
use yaml_rust2::{Yaml, YamlLoader};

use crate::{
    repo::Repo,
    tidy::tree::{File, Finding, Tree},
};

/// The folders with manifests.
const FOLDERS: [&str; 3] = ["deploy/kubernetes/", "deploy/istio/", "deploy/linkerd/"];

/// The folder of the shop's resources, which overlays change.
const BASE: &str = "deploy/kubernetes/base";

/// Values of Istio's Helm chart, which are no resource.
const VALUES: &str = "values.yaml";

pub(super) fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut documents = Vec::new();
    for file in tree.files.iter().filter(|file| is_manifest(&file.path)) {
        match parse(file) {
            Ok(read) => documents.extend(read),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        // Everything else would be said to be missing.
        return findings;
    }
    findings.extend(documents.iter().filter_map(typed));
    findings.extend(kustomize::listed(tree, &documents));
    findings.extend(images(&documents));
    let base = kustomize::base(&documents);
    findings.extend(workloads::agree(tree, &base));
    findings.extend(references::resolved(tree, &documents, &base));
    findings.extend(operator::complete(tree, &documents));
    findings
}

/// Checks the workloads as kustomize has rendered them. Returns the findings.
pub(crate) fn check_rendered(repo: &Repo, name: &str, rendered: &str) -> Result<Vec<String>> {
    let file = File { path: name.to_owned(), text: rendered.to_owned() };
    let documents = parse(&file).map_err(|finding| anyhow!("{name}: {}", finding.message))?;
    let findings = workloads::agree(&Tree::read(repo)?, &documents);
    Ok(findings.into_iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect())
}

/// A resource, or a kustomization.
#[derive(Clone, Debug)]
struct Document {
    path: String,
    yaml: Yaml,
}

impl Document {
    fn kind(&self) -> &str {
        text(&self.yaml["kind"])
    }

    fn name(&self) -> &str {
        text(&self.yaml["metadata"]["name"])
    }

    fn is_kustomization(&self) -> bool {
        self.path.ends_with("/kustomization.yaml")
    }

    /// The folder of its file.
    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn finding(&self, message: impl Into<String>) -> Finding {
        Finding::new(&*self.path, 1, message)
    }
}

fn is_manifest(path: &str) -> bool {
    path.ends_with(".yaml") && FOLDERS.iter().any(|folder| path.starts_with(folder))
}

fn parse(file: &File) -> std::result::Result<Vec<Document>, Finding> {
    let read = YamlLoader::load_from_str(&file.text);
    let read = read.map_err(|error| Finding::new(&*file.path, error.marker().line(), error.to_string()))?;
    Ok(read.into_iter().map(|yaml| Document { path: file.path.clone(), yaml }).collect())
}

/// Each document but Helm's values has a type.
fn typed(document: &Document) -> Option<Finding> {
    let has_type = !text(&document.yaml["apiVersion"]).is_empty() && !document.kind().is_empty();
    (!has_type && !document.path.ends_with(VALUES))
        .then(|| document.finding("a document without `apiVersion` or `kind`"))
}

/// Each image has an exact tag, in place or by the kustomization of each overlay.
fn images(documents: &[Document]) -> Vec<Finding> {
    let overlays = || documents.iter().filter(|document| is_overlay(document));
    let mut findings = Vec::new();
    for document in documents {
        let mut named = Vec::new();
        collect(&document.yaml, "image", &mut named);
        for image in named.into_iter().map(text).filter(|image| !is_exact(image)) {
            for overlay in overlays() {
                let mut replaced = items(&overlay.yaml["images"]).iter();
                let tag =
                    replaced.find(|entry| text(&entry["name"]) == image).map(|entry| text(&entry["newTag"]));
                if !tag.is_some_and(|tag| is_exact(&format!("{image}:{tag}"))) {
                    let message = format!("the image `{image}` has no exact tag in {}", overlay.path);
                    findings.push(document.finding(message));
                }
            }
        }
    }
    findings
}

/// Returns true for the kustomizations that are applied to clusters.
fn is_overlay(document: &Document) -> bool {
    document.is_kustomization() && document.path.starts_with("deploy/kubernetes/overlays/")
}

/// Returns true if the image is given by a digest or by the tag of one version.
fn is_exact(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    let Some((_, tag)) = name.split_once(':') else { return false };
    let version = tag.strip_prefix('v').unwrap_or(tag);
    version.starts_with(|first: char| first.is_ascii_digit()) && version.contains('.')
}

/// Collects the values of all fields of this name.
fn collect<'a>(yaml: &'a Yaml, name: &str, values: &mut Vec<&'a Yaml>) {
    match yaml {
        Yaml::Hash(fields) => {
            for (key, value) in fields {
                if text(key) == name && value.as_str().is_some() {
                    values.push(value);
                }
                collect(value, name, values);
            }
        }
        Yaml::Array(items) => items.iter().for_each(|item| collect(item, name, values)),
        _ => {}
    }
}

fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_default()
}

fn items(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
