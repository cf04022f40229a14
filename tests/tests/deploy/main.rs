//! What is shipped beside the binary: read as the programs that it is for would read it, where these are not at hand.

#![allow(clippy::unwrap_used)]

mod containers;
mod metrics;
mod unit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use yaml_rust2::{Yaml, YamlLoader};

/// Returns where a file of the project is.
fn path(of_project: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(of_project)
}

/// Reads a file of the project.
fn read(of_project: &str) -> String {
    let path = path(of_project);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads a file of the project that is one YAML document.
fn yaml(path: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&read(path)).unwrap();
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// The texts of a list.
fn texts(list: &Yaml) -> Vec<&str> {
    list.as_vec().map_or(Vec::new(), |items| items.iter().filter_map(Yaml::as_str).collect())
}
