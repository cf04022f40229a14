//! The settings as an operator sees and mistakes them, and what belongs to every command: help, completions, statuses.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn adit(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command.args(arguments).current_dir(dir).env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn new_pool() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let output = adit(dir.path(), &["init", "--network", "regtest", "--cookie-file", "cookie"], &[]);
    assert!(output.status.success(), "{output:?}");
    dir
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn config_show_masks_secrets_and_names_sources() {
    let dir = new_pool();
    let environment = [
        ("ADIT__BITCOIND__COOKIE_FILE", ""),
        ("ADIT__BITCOIND__USER", "pool"),
        ("ADIT__BITCOIND__PASSWORD", "correct-horse"),
        ("ADIT__STORE__PATH", ""),
        ("ADIT__STORE__URL", "postgres://adit:battery-staple@db.example.org/adit"),
    ];
    for arguments in [&["config", "show"][..], &["config", "show", "--json"], &["config", "show", "--only-set"]] {
        let output = adit(dir.path(), arguments, &environment);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = stdout(&output);
        assert!(!text.contains("correct-horse") && !text.contains("battery-staple"), "{text}");
        assert!(text.contains("bitcoind.password") && text.contains("ADIT__BITCOIND__PASSWORD"), "{text}");
    }
    let shown = adit(dir.path(), &["config", "show", "--json"], &environment);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let of = |key: &str| shown["settings"].as_array().unwrap().iter().find(|it| it["key"] == key).unwrap().clone();
    let line = of("payout.fee_bp")["line"].as_u64().unwrap() as usize;
    let file = fs::read_to_string(dir.path().join("adit.toml")).unwrap();
    assert_eq!(file.lines().nth(line - 1).unwrap(), "fee_bp = 100");
    assert_eq!(of("store.url")["secret"], true);
    assert_eq!(of("payout.keep_shares")["source"], "default");
    let only_set = adit(dir.path(), &["config", "show", "--only-set"], &environment);
    assert!(!stdout(&only_set).contains("payout.keep_shares"));
}

#[test]
fn mistaken_settings_end_with_3_and_name_the_nearest_with_file_and_line() {
    let dir = new_pool();
    let file = dir.path().join("adit.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("fee_bp = 100", "fee_pb = 100")).unwrap();
    let line = text.lines().position(|line| line == "fee_bp = 100").unwrap() + 1;
    let output = adit(dir.path(), &["config", "show"], &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = format!("payout.fee_pb in adit.toml, line {line} is not a setting; the nearest one is payout.fee_bp");
    assert!(stderr(&output).contains(&said), "{}", stderr(&output));
    fs::write(&file, text).unwrap();
    let output = adit(dir.path(), &["config", "show"], &[("ADIT_PAYOUT_FEE_BP", "3")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).ends_with("the nearest one is ADIT__PAYOUT__FEE_BP\n"), "{}", stderr(&output));
}

#[test]
fn what_only_a_running_pool_can_do_ends_with_5_where_none_runs() {
    let dir = new_pool();
    for arguments in [&["metrics"][..], &["bans", "list"], &["connections", "list"]] {
        let output = adit(dir.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert!(stderr(&output).starts_with("adit: no pool runs in ") && stdout(&output).is_empty(), "{output:?}");
    }
}

#[test]
fn help_groups_the_commands_and_explains_statuses() {
    let dir = tempfile::tempdir().unwrap();
    let output = adit(dir.path(), &["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    for part in
        ["\nRunning:\n  init", "\nMoney:\n  payout", "\nExamples:\n  adit init", "\n  3  the configuration is wrong"]
    {
        assert!(stdout(&output).contains(part), "{part} in\n{}", stdout(&output));
    }
}

#[test]
fn completions_are_a_script_that_bash_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let output = adit(dir.path(), &["completions", "bash"], &[]);
    assert_eq!(output.status.code(), Some(0));
    fs::write(dir.path().join("adit.bash"), &output.stdout).unwrap();
    let checked = Command::new("bash").arg("-n").arg(dir.path().join("adit.bash")).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(adit(dir.path(), &["completions", "tcsh"], &[]).status.code(), Some(2));
}

#[test]
fn sample_keys_and_passwords_are_found_and_refused() {
    let dir = new_pool();
    // The key of the reference implementation's examples.
    let key = dir.path().join("authority.key");
    fs::write(&key, "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n\n").unwrap();
    let output =
        adit(dir.path(), &["run"], &[("ADIT__STRATUM__LISTEN", "127.0.0.1:0"), ("ADIT__API__LISTEN", "127.0.0.1:0")]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("holds a key that examples show"), "{}", stderr(&output));

    let environment = [
        ("ADIT__BITCOIND__COOKIE_FILE", ""),
        ("ADIT__BITCOIND__USER", "pool"),
        ("ADIT__BITCOIND__PASSWORD", "rpcpassword"),
        ("ADIT__BITCOIND__URL", "http://127.0.0.1:1"),
        ("ADIT__STRATUM__LISTEN", "127.0.0.1:0"),
    ];
    let output = adit(dir.path(), &["check", "--json"], &environment);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let severity = |check: &str| {
        let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {report}"))["severity"].clone()
    };
    assert_eq!(severity("authority-key"), "error");
    // On regtest nothing can be stolen by it.
    assert_eq!(severity("password"), "warning");
    assert_eq!(severity("node-reachable"), "error");
    assert_eq!(severity("wallet"), "ok");
    assert_eq!(report["errors"], 2);
    assert!(!stdout(&output).contains("rpcpassword"), "{}", stdout(&output));
}

#[test]
fn mainnet_pool_does_not_start_with_a_password_of_an_example() {
    let dir = tempfile::tempdir().unwrap();
    assert!(adit(dir.path(), &["init", "--cookie-file", "cookie"], &[]).status.success());
    let environment = [
        ("ADIT__BITCOIND__COOKIE_FILE", ""),
        ("ADIT__BITCOIND__USER", "pool"),
        ("ADIT__BITCOIND__PASSWORD", "changeme"),
        ("ADIT__STRATUM__LISTEN", "127.0.0.1:0"),
    ];
    let output = adit(dir.path(), &["run"], &environment);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("bitcoind.password: is a password that examples show"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("changeme"), "{}", stderr(&output));
}
