//! The container and the compose file: nothing runs as root or listens to the world that need not, nothing is of a
//! version that changes, and no secret stands in them.

use std::{collections::BTreeSet, net::IpAddr};

use yaml_rust2::Yaml;

use super::{read, texts, yaml};

const COMPOSE: &str = "deploy/compose.yaml";
const DOCKERFILE: &str = "deploy/Dockerfile";

/// The port on which miners are heard: the only one that is meant for the world.
const STRATUM: &str = "34254:34254";

/// The services with their names.
fn services(compose: &Yaml) -> Vec<(&str, &Yaml)> {
    let services = compose["services"].as_hash().unwrap().iter();
    services.map(|(name, service)| (name.as_str().unwrap(), service)).collect()
}

/// Tells whether an image is of one version: a tag with a dot in its number, which is never given to another.
fn is_pinned(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap();
    let tag = name.split_once(':').map(|(_, tag)| tag.trim_start_matches('v'));
    tag.is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_digit()) && tag.contains('.'))
}

/// The instructions of a Dockerfile, with continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read(DOCKERFILE);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split_once(' ').unwrap()).map(|(word, rest)| (word.to_owned(), rest.to_owned())).collect()
}

#[test]
fn image_without_a_version_is_told_from_one_with() {
    for pinned in ["debian:12.11-slim", "prom/prometheus:v3.5.0", "localhost:5000/adit:0.1.0"] {
        assert!(is_pinned(pinned), "{pinned}");
    }
    for loose in ["debian", "debian:bookworm", "grafana/grafana:latest", "postgres:15", "localhost:5000/adit"] {
        assert!(!is_pinned(loose), "{loose}");
    }
}

#[test]
fn every_service_is_of_one_version_checks_its_health_and_starts_again() {
    let compose = yaml(COMPOSE);
    let names: BTreeSet<_> = services(&compose).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["bitcoind", "grafana", "pool", "postgres", "prometheus"].into());
    for (name, service) in services(&compose) {
        assert!(is_pinned(service["image"].as_str().unwrap()), "{name}");
        assert_eq!(texts(&service["healthcheck"]["test"])[0], "CMD", "{name}");
        assert_eq!(service["restart"].as_str(), Some("unless-stopped"), "{name}");
        assert!(service["privileged"].is_badvalue() && service["network_mode"].is_badvalue(), "{name}");
    }
    let of_profile = |name: &str| texts(&compose["services"][name]["profiles"]);
    assert_eq!(of_profile("postgres"), ["postgres"]);
    assert!(of_profile("pool").is_empty() && of_profile("bitcoind").is_empty());
}

#[test]
fn only_miners_are_heard_from_other_machines() {
    let compose = yaml(COMPOSE);
    let mut beyond = Vec::new();
    for (_, service) in services(&compose) {
        for port in texts(&service["ports"]) {
            let host = port.split(':').next().unwrap();
            let is_loopback = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
            beyond.extend((!is_loopback).then_some(port));
        }
    }
    assert_eq!(beyond, [STRATUM]);
    assert_eq!(compose["networks"]["rpc"]["internal"].as_bool(), Some(true));
}

#[test]
fn pool_and_monitoring_have_no_more_rights_than_they_need() {
    let compose = yaml(COMPOSE);
    for name in ["pool", "prometheus", "grafana"] {
        let service = &compose["services"][name];
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    }
    for name in ["pool", "prometheus"] {
        assert_eq!(compose["services"][name]["read_only"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn secrets_are_files_that_the_operator_makes() {
    let compose = yaml(COMPOSE);
    let made: BTreeSet<_> = compose["secrets"].as_hash().unwrap().keys().map(|name| name.as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for (name, service) in services(&compose) {
        used.extend(texts(&service["secrets"]));
        for (variable, value) in service["environment"].as_hash().into_iter().flatten() {
            let (variable, value) = (variable.as_str().unwrap(), value.as_str().unwrap());
            let speaks_of_one = ["PASSWORD", "TOKEN", "SECRET"].iter().any(|word| variable.contains(word));
            let is_file = variable.ends_with("_FILE") && value.starts_with("/run/secrets/");
            assert!(!speaks_of_one || is_file, "{name}: {variable}");
        }
    }
    assert_eq!(made, used);
    for secret in &made {
        assert!(compose["secrets"][*secret]["file"].as_str().unwrap().starts_with("secrets/"), "{secret}");
    }
    // Neither in the repository nor in an image.
    assert!(read(".gitignore").lines().any(|line| line == "/deploy/secrets/"));
    assert!(read("deploy/Dockerfile.dockerignore").lines().any(|line| line == "deploy/secrets"));
}

#[test]
fn files_that_services_mount_are_there() {
    let compose = yaml(COMPOSE);
    let mut mounted = 0;
    for (_, service) in services(&compose) {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(file) => {
                    assert!(volume.ends_with(":ro"), "{volume}");
                    read(&format!("deploy/{file}"));
                    mounted += 1;
                }
                None => assert!(compose["volumes"].as_hash().unwrap().contains_key(&Yaml::String(source.into()))),
            }
        }
    }
    assert!(mounted >= 5, "{mounted}");
}

#[test]
fn container_is_built_of_pinned_images_and_runs_without_rights() {
    let instructions = instructions();
    let of = |word: &str| -> Vec<&str> {
        instructions.iter().filter(|(found, _)| found == word).map(|(_, rest)| rest.as_str()).collect()
    };
    let bases = of("FROM");
    assert_eq!(bases.len(), 2);
    assert!(bases.iter().all(|base| is_pinned(base.split(' ').next().unwrap())), "{bases:?}");
    assert_eq!(of("ADD"), [""; 0], "what is fetched while it is built could be anything");
    let last_user = of("USER").last().and_then(|user| user.split(':').next()).and_then(|user| user.parse::<u32>().ok());
    assert!(last_user.is_some_and(|user| user > 0), "it must be a number that is not root's");
    assert!(of("HEALTHCHECK")[0].contains("CMD [\"adit\""));
    assert_eq!((of("ENTRYPOINT"), of("CMD")), (vec!["[\"adit\"]"], vec!["[\"run\"]"]));
    // The final stage takes the binary and pages; what else is in the folder stays outside.
    let is_final = |copy: &&&str| copy.starts_with("--from=build ") || copy.ends_with(" /usr/share/doc/adit/");
    assert_eq!(of("COPY").iter().filter(is_final).count() + 1, of("COPY").len());
    assert!(of("ARG").is_empty() && of("ENV").iter().all(|set| set.starts_with("ADIT_CONFIG=")));
}

#[test]
fn compiler_of_the_container_is_the_one_that_the_project_asks_for() {
    let manifest = read("Cargo.toml");
    let asked = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(read(DOCKERFILE).contains(&format!("FROM rust:{asked}.")));
}
