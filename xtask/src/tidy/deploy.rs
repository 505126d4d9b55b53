//! Rules for `deploy/`: its files parse, its images have exact tags, and its names are those of the code.
//!
//! This file reads YAML for the rules of the folders, which are the modules below it.

pub(super) mod compose;
mod emitted;
pub(super) mod metrics;
mod promql;

use yaml_rust2::{Yaml, YamlLoader, yaml::Hash};

use crate::tidy::tree::{File, Finding, Tree};

/// The folder that these rules check.
const FOLDER: &str = "deploy/";

/// Every file of YAML and JSON parses.
pub(super) fn parses(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        if is_yaml(file)
            && let Err(error) = YamlLoader::load_from_str(&file.text)
        {
            findings.push(Finding::new(&*file.path, error.marker().line(), format!("YAML: {error}")));
        }
        if file.path.ends_with(".json")
            && let Err(error) = serde_json::from_str::<serde_json::Value>(&file.text)
        {
            findings.push(Finding::new(&*file.path, error.line(), format!("JSON: {error}")));
        }
    }
    findings
}

/// Every image has a digest or an exact tag, because `latest` is another image tomorrow.
pub(super) fn images(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Kustomize sets the tags of its manifests; `deploy_kubernetes` checks the result.
    let is_checked = |path: &str| path.starts_with(FOLDER) && !path.starts_with("deploy/kubernetes/");
    for file in tree.files.iter().filter(|file| is_checked(&file.path)) {
        for (image, line) in images_of(file) {
            if !has_tag(&image) {
                findings.push(Finding::new(
                    &*file.path,
                    line,
                    format!("the image `{image}` has no exact tag"),
                ));
            }
        }
    }
    findings
}

/// The images that a file names, with their lines.
fn images_of(file: &File) -> Vec<(String, usize)> {
    let mut images = Vec::new();
    if is_yaml(file) {
        for document in documents(file) {
            each(&document, &mut |key, value| {
                if let ("image", Some(image)) = (key, value.as_str()) {
                    images.push((image.to_owned(), line_of(file, image)));
                }
            });
        }
    } else if file.path.ends_with("Dockerfile") {
        let mut stages = Vec::new();
        for (line, text) in file.lines() {
            let mut words = text.split_whitespace();
            if words.next() != Some("FROM") {
                continue;
            }
            let image = words.next().unwrap_or_default();
            // A build argument selects one of the stages.
            if !stages.contains(&image) && !image.starts_with("${") {
                images.push((image.to_owned(), line));
            }
            stages.extend(words.nth(1));
        }
    }
    images
}

fn has_tag(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    image.contains("@sha256:")
        || name.split_once(':').is_some_and(|(_, tag)| tag != "latest" && !tag.is_empty())
}

fn is_yaml(file: &File) -> bool {
    file.path.ends_with(".yaml") || file.path.ends_with(".yml")
}

/// The documents of a file with aliases and merge keys resolved; none if it does not parse, which [`parses`] reports.
fn documents(file: &File) -> Vec<Yaml> {
    YamlLoader::load_from_str(&file.text).unwrap_or_default().iter().map(merged).collect()
}

/// Resolves [merge keys](https://yaml.org/type/merge.html): the mapping's own keys take precedence.
fn merged(yaml: &Yaml) -> Yaml {
    match yaml {
        Yaml::Array(items) => Yaml::Array(items.iter().map(merged).collect()),
        Yaml::Hash(entries) => {
            let mut result = Hash::new();
            for (key, value) in entries {
                match (key.as_str(), merged(value)) {
                    (Some("<<"), Yaml::Hash(base)) => {
                        for (key, value) in base {
                            result.entry(key).or_insert(value);
                        }
                    }
                    (_, value) => {
                        result.insert(key.clone(), value);
                    }
                }
            }
            Yaml::Hash(result)
        }
        other => other.clone(),
    }
}

/// Calls the function with each key and its value, at every depth. Items of a list have the key of the list.
fn each<'a>(yaml: &'a Yaml, visit: &mut impl FnMut(&'a str, &'a Yaml)) {
    fn walk<'a>(key: &'a str, yaml: &'a Yaml, visit: &mut impl FnMut(&'a str, &'a Yaml)) {
        visit(key, yaml);
        match yaml {
            Yaml::Array(items) => items.iter().for_each(|item| walk(key, item, visit)),
            Yaml::Hash(entries) => {
                entries.iter().for_each(|(key, value)| walk(key.as_str().unwrap_or_default(), value, visit));
            }
            _ => {}
        }
    }
    walk("", yaml, visit);
}

/// The first line that has the text, because the parser keeps no positions.
fn line_of(file: &File, text: &str) -> usize {
    file.lines().find(|(_, line)| line.contains(text)).map_or(1, |(line, _)| line)
}

#[cfg(test)]
mod tests {
    use super::{documents, images, parses};
    use crate::tidy::tree::tree;

    #[test]
    fn a_file_parses() {
        let right = [("deploy/a.yaml", "a: 1\n---\nb: [1]\n"), ("deploy/b.json", "{}"), ("other.json", "{")];
        assert_eq!(parses(&tree(&right)), []);
        let findings = parses(&tree(&[("deploy/a.yaml", "a:\n  b: [1\n"), ("deploy/b.json", "{\n\n")]));
        assert_eq!(findings.len(), 2);
        assert!(findings[0].message.starts_with("YAML: "), "{}", findings[0].message);
        assert!(findings[1].message.starts_with("JSON: "), "{}", findings[1].message);
        assert_eq!(findings[1].line, 3);
    }

    #[test]
    fn an_image_has_an_exact_tag() {
        let file = |image: &str| format!("services:\n  a:\n    image: {image}\n");
        for right in ["nats:2.15.1", "localhost:5000/shop:1.0", "nats@sha256:0123"] {
            assert_eq!(images(&tree(&[("deploy/c.yaml", &file(right))])), [], "{right}");
        }
        for wrong in ["nats", "nats:latest", "localhost:5000/shop"] {
            let findings = images(&tree(&[("deploy/c.yaml", &file(wrong))]));
            assert_eq!(findings.len(), 1, "{wrong}");
            assert_eq!(findings[0].line, 3);
        }
    }

    #[test]
    fn an_image_of_a_dockerfile_has_an_exact_tag() {
        let right = "ARG BUILD=plain\nFROM rust:1.95.0 AS base\nFROM base AS plain\nFROM ${BUILD} AS built\n";
        assert_eq!(images(&tree(&[("deploy/Dockerfile", right)])), []);
        let wrong = "FROM rust AS base\nFROM base\nFROM debian:latest\n";
        let lines: Vec<_> =
            images(&tree(&[("deploy/Dockerfile", wrong)])).iter().map(|one| one.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn merge_keys_are_resolved() {
        let file = tree(&[("deploy/a.yaml", "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n")]);
        let documents = documents(&file.files[0]);
        assert_eq!(documents[0]["y"]["a"].as_i64(), Some(1));
        assert_eq!(documents[0]["y"]["b"].as_i64(), Some(3));
    }
}
