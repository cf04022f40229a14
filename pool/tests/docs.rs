//! The pages of `docs/` that are made of the code, or must agree with it.
//!
//! After a change, `ADIT_RENEW_DOCS=1 cargo test -p pool --test docs` writes those that are generated anew.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use pool::{
    api::ProblemCode,
    check::CheckId,
    cli::{exit::ExitStatus, help},
    config::{
        Config, NETWORKS,
        effective::{Effective, EffectiveSettings},
        reference,
        settings::{Settings, variable_of},
    },
    cures::{CURES, Cure, Refused},
};

/// The variable that has the pages written instead of compared.
const RENEW: &str = "ADIT_RENEW_DOCS";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Compares a committed page with what it should be, or writes it.
fn check_page(name: &str, text: &str) {
    if env::var_os(RENEW).is_some() {
        fs::write(page(name), text).unwrap();
    }
    let committed = fs::read_to_string(page(name)).unwrap_or_default();
    assert!(committed == text, "docs/{name} is not what the code says: {RENEW}=1 cargo test -p pool --test docs");
}

/// The values that hold on a network when nothing is set but what must be.
struct Defaults {
    network: &'static str,
    /// The folder of the config file, which is nobody's default.
    folder: String,
    values: EffectiveSettings,
}

fn defaults(network: &'static str) -> Defaults {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("adit.toml");
    fs::create_dir(dir.path().join("data")).unwrap();
    let smallest = format!("network = \"{network}\"\n[bitcoind]\nurl = \"http://x:1\"\ncookie_file = \"c\"\n");
    fs::write(&file, smallest).unwrap();
    let settings = Settings::read(&file, []).unwrap();
    let values = EffectiveSettings::of(&settings, &Config::from_settings(&settings).unwrap());
    Defaults { network, folder: format!("{}/", dir.path().display()), values }
}

/// A default as the page shows it: for all networks, or for each where they differ. Paths are shown from the config file's
/// folder.
fn default_of(key: &str, by_network: &[Defaults]) -> String {
    let required = ["network", "bitcoind.url", "bitcoind.cookie_file"];
    if required.contains(&key) {
        return "-".to_owned();
    }
    let shown = |defaults: &Defaults| match defaults.values.value(key) {
        Some(Effective::Is(value)) => format!("`{}`", value.to_string().replace(&defaults.folder, "")),
        _ => "-".to_owned(),
    };
    let mut networks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for defaults in by_network {
        networks.entry(shown(defaults)).or_default().push(defaults.network);
    }
    match networks.len() {
        1 => networks.into_keys().next().unwrap(),
        _ => {
            let each = networks.iter().map(|(value, names)| format!("{value} ({})", names.join(", ")));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn reference_of_the_configuration_is_what_the_code_says() {
    let by_network = NETWORKS.map(|(name, _)| defaults(name));
    let mut text = String::from(
        "# Configuration\n\n\
         Made of the code; a test compares it. `adit config show` prints the values in force, `adit init` writes a file in\n\
         which each setting has its comment.\n\n\
         Settings stand in a TOML file (`--config`, `ADIT_CONFIG`). Paths are seen from its folder. Each can also come from the\n\
         environment, which wins, by one rule: the key in capitals, `__` for each point, `ADIT__` before it all. Lists are\n\
         separated by commas, and an empty variable unsets what the file has. Unknown keys and variables are errors that name\n\
         the nearest known one. Secrets never stand in this file: each has a setting that ends with `_file` and names a file\n\
         of mode 0600.\n\n\
         *restart*: a change works at the next start. *reload*: `adit reload` or SIGHUP takes it up.\n",
    );
    let mut section = None;
    for key in reference::all_keys() {
        let (above, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if section.as_deref() != Some(above) {
            let heading = if above.is_empty() { "General".to_owned() } else { format!("[{above}]") };
            text += &format!("\n## {heading}\n\n| key | type | default | change | variable |\n|---|---|---|---|---|\n");
            section = Some(above.to_owned());
        }
        let reference = reference::find(&key).unwrap_or_else(|| panic!("{key} has no reference"));
        let (default, effect) = (default_of(&key, &by_network), reference.effect.as_str());
        let (kind, meaning, variable) = (reference.kind, reference.meaning, variable_of(&key));
        text += &format!("| **`{name}`** {meaning} | {kind} | {default} | {effect} | `{variable}` |\n");
    }
    check_page("config.md", &text);
}

#[test]
fn exit_statuses_are_what_the_code_says() {
    let mut text = String::from(
        "# Exit statuses\n\n\
         Made of the code; a test compares it. Errors are one line on stderr; stdout has only what was asked for, so that\n\
         `--json` can be piped.\n\n\
         | status | meaning |\n|---|---|\n",
    );
    for status in ExitStatus::ALL {
        text += &format!("| {} | {} |\n", status.code(), status.meaning());
    }
    text += "\n`adit check` ends with 1 when it finds an error, with `--strict` also when it finds a warning. `adit reload` ends\n\
             with 3 when the file is wrong; the old settings stay in force then.\n";
    check_page("exit-codes.md", &text);
}

/// What stands before the tests of a source file, without comments.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The texts in a code that look like those that the wire has: small words with hyphens between them.
fn codes_in(code: &str) -> BTreeSet<String> {
    let texts = code.split('"').skip(1).step_by(2);
    let is_code = |text: &&str| {
        text.contains('-')
            && text.split('-').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    texts.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_code_that_miners_are_told_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src/mining", "src/stratum", "src/accounting", "../protocol/src/connection"];
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    files.push(root.join("../protocol/src/messages/common.rs"));
    // The labels of metrics are finer than what the wire has.
    files.retain(|file| !file.ends_with("stratum/metrics.rs"));
    let told: BTreeSet<String> = files.iter().flat_map(|file| codes_in(&code_of(file))).collect();
    assert!(told.len() > 15 && told.contains("stale-share") && told.contains("unsupported-protocol"), "{told:?}");

    let known: BTreeSet<String> = CURES.iter().map(|cure| cure.code.to_owned()).collect();
    assert_eq!((known.len(), &known), (CURES.len(), &told));
}

#[test]
fn page_of_codes_says_what_the_pages_of_the_pool_say() {
    let text = fs::read_to_string(page("errors.md")).unwrap().replace("[runbook.md](runbook.md)", "runbook.md");
    let mut section = "";
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.split(':').next().unwrap_or_default();
        }
        if line.starts_with("| `") {
            rows.push(format!("{section} {line}"));
        }
    }
    let section = |of| match of {
        Refused::Setup => "Setup",
        Refused::Channel => "Channels",
        Refused::Share => "Shares",
        Refused::Job => "Jobs of the client's own",
    };
    let row = |cure: &Cure| format!("{} | `{}` | {} | {} |", section(cure.of), cure.code, cure.meaning, cure.cure);
    assert_eq!(rows, CURES.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn runbook_has_a_section_for_every_check() {
    let text = fs::read_to_string(page("runbook.md")).unwrap();
    let (of_checks, _in_service) = text.split_once("\n# In service\n").unwrap();
    let sections: Vec<&str> = of_checks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, CheckId::ALL.map(CheckId::as_str));
    for section in text.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap();
        assert!(body.trim().len() > 100, "{heading} says nothing");
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    for file in fs::read_dir(page("")).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default()) {
            let name = link.split('#').next().unwrap_or_default();
            assert!(page(name).exists(), "{link} in {}", file.display());
        }
    }
}

#[test]
fn page_of_the_api_has_a_section_for_every_problem() {
    let text = fs::read_to_string(page("api.md")).unwrap();
    let (_, problems) = text.split_once("\n## Problems\n").unwrap();
    let sections: Vec<_> =
        problems.split("\n### ").skip(1).map(|section| section.split_once("\n\n").unwrap()).collect();
    let names: Vec<_> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ProblemCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    for (code, (name, body)) in ProblemCode::ALL.iter().zip(&sections) {
        assert!(body.starts_with(code.status().as_str()), "{name} says another status");
        assert!(body.trim().len() > 60, "{name} says nothing");
    }
}

/// What stands for itself in an example, and something that it could be.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("ADDRESS", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ("BLOCK", "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
    ("HOST", "pool.example.org"),
    ("PORT", "34254"),
    ("KEY", "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"),
    ("PERIOD", "12"),
    ("NETWORK", "regtest"),
    ("URL", "stratum2+tcp://pool.example.org:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"),
];

/// The commands of the blocks of code in a document, as a shell would have them.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("\n```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    lines.filter_map(|line| shlex::split(&line)).filter_map(of_adit).collect()
}

/// The command of this pool that a line has, if it has one: also as another user.
fn of_adit(words: Vec<String>) -> Option<Vec<String>> {
    let as_another = words.iter().take(2).eq(["sudo", "-u"]);
    let command = if as_another { words.get(3..)? } else { &words };
    let program = command.first()?;
    (program == "adit" || program.ends_with("/adit")).then(|| command.to_vec())
}

#[test]
fn commands_of_the_documents_are_understood() {
    let repository = page("..");
    let mut documents = vec![repository.join("README.md"), repository.join("deploy/README.md")];
    documents.extend(fs::read_dir(page("")).unwrap().map(|file| file.unwrap().path()));
    let mut count = 0;
    for document in documents {
        for command in commands(&fs::read_to_string(&document).unwrap()) {
            let fill = |word: String, (name, value): (&str, &str)| word.replace(name, value);
            let words: Vec<_> = command.into_iter().map(|word| PLACEHOLDERS.into_iter().fold(word, fill)).collect();
            if let Err(error) = help::command().try_get_matches_from(&words) {
                panic!("{}: {words:?}: {error}", document.display());
            }
            count += 1;
        }
    }
    assert!(count > 50, "only {count} commands were found");
}
