//! Kustomizations: the files that they list, and the base with its patches.

use std::collections::BTreeSet;

use regex::Regex;
use yaml_rust2::Yaml;

use super::{BASE, Document, FOLDERS, items, text};
use crate::tidy::tree::{Finding, Tree};

/// Each file that a kustomization lists exists, and each file beside it is listed.
pub(super) fn listed(tree: &Tree, documents: &[Document]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    for document in documents.iter().filter(|document| document.is_kustomization()) {
        listed.insert(document.path.clone());
        for path in entries(&document.yaml) {
            let path = resolve(document.folder(), path);
            let file = [path.clone(), format!("{path}/kustomization.yaml")];
            match file.into_iter().find(|path| tree.file(path).is_some()) {
                Some(path) => drop(listed.insert(path)),
                None => findings.push(document.finding(format!("{path} does not exist"))),
            }
        }
    }
    let others = tree.files.iter().filter(|file| {
        let is_manifest = [".yaml", ".env"].iter().any(|end| file.path.ends_with(end));
        is_manifest && FOLDERS.iter().any(|folder| file.path.starts_with(folder))
    });
    for file in others.filter(|file| !listed.contains(&file.path) && !file.path.ends_with(super::VALUES)) {
        findings.push(Finding::new(&*file.path, 1, "no kustomization lists this file"));
    }
    findings
}

/// The files and folders that a kustomization names.
fn entries(kustomization: &Yaml) -> Vec<&str> {
    let lists = ["resources", "components"].iter().flat_map(|list| items(&kustomization[*list]));
    let patches = items(&kustomization["patches"]).iter().map(|patch| &patch["path"]);
    let generators = ["configMapGenerator", "secretGenerator"];
    let generators = generators.iter().flat_map(|list| items(&kustomization[*list]));
    let variables = generators.flat_map(|generator| items(&generator["envs"]));
    lists.chain(patches).chain(variables).map(text).filter(|path| !path.is_empty()).collect()
}

/// The path that `path` has from the top, if it is given from `folder`.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<_> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The variables `NAME=value` of the generator `list` for this name.
pub(super) fn generated(tree: &Tree, document: &Document, list: &str, name: &str) -> Vec<(String, String)> {
    let generators = items(&document.yaml[list]).iter().filter(|generator| text(&generator["name"]) == name);
    let files = generators.flat_map(|generator| items(&generator["envs"])).map(text);
    let files = files.filter_map(|path| tree.file(&resolve(document.folder(), path)));
    let lines = files.flat_map(|file| file.text.lines()).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The resources of the base, with its patches.
pub(super) fn base(documents: &[Document]) -> Vec<Document> {
    let in_base: Vec<_> = documents.iter().filter(|document| document.folder() == BASE).collect();
    let patches: Vec<_> = in_base
        .iter()
        .filter(|document| document.is_kustomization())
        .flat_map(|document| items(&document.yaml["patches"]))
        .map(|patch| (resolve(BASE, text(&patch["path"])), text(&patch["target"]["kind"])))
        .collect();
    let is_patch = |document: &Document| patches.iter().any(|(path, _)| *path == document.path);
    let mut base: Vec<_> = in_base
        .iter()
        .filter(|document| !document.is_kustomization() && !is_patch(document))
        .map(|document| (*document).clone())
        .collect();
    for (path, kinds) in &patches {
        let Ok(kinds) = Regex::new(&format!("^(?:{kinds})$")) else { continue };
        for patch in in_base.iter().filter(|document| document.path == *path) {
            for document in base.iter_mut().filter(|document| kinds.is_match(document.kind())) {
                merge(&mut document.yaml["spec"], &patch.yaml["spec"]);
            }
        }
    }
    base
}

/// Applies a strategic merge: mappings field by field, lists of named items by their names.
fn merge(target: &mut Yaml, patch: &Yaml) {
    match (target, patch) {
        (Yaml::Hash(target), Yaml::Hash(patch)) => {
            for (key, value) in patch {
                match target.get_mut(key) {
                    Some(field) => merge(field, value),
                    None => drop(target.insert(key.clone(), value.clone())),
                }
            }
        }
        (Yaml::Array(target), Yaml::Array(patch)) => {
            for value in patch {
                let name = text(&value["name"]);
                match target.iter_mut().find(|item| !name.is_empty() && text(&item["name"]) == name) {
                    Some(item) => merge(item, value),
                    None => target.push(value.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
