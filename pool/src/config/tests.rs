//! What operators get wrong, and what they are told.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::{settings::KEYS, *};

const SMALLEST: &str = r#"
network = "regtest"
data_dir = "."
[bitcoind]
url = "http://127.0.0.1:18443"
cookie_file = ".cookie"
"#;

fn load(text: &str, environment: &[(&str, &str)]) -> (TempDir, Result<Config, ConfigError>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("adit.toml");
    fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    let config = Config::load_with(&file, environment.collect::<Vec<_>>());
    (dir, config)
}

fn complaint(text: &str, environment: &[(&str, &str)]) -> String {
    load(text, environment).1.unwrap_err().to_string()
}

fn with_stratum(line: &str) -> String {
    format!("{SMALLEST}[stratum]\n{line}\n")
}

#[test]
fn smallest_config_has_defaults_and_resolves_paths_from_its_own_folder() {
    let (dir, config) = load(SMALLEST, &[]);
    let config = config.unwrap();
    assert_eq!(config.network, Network::Regtest);
    let StoreConfig::Sqlite(store) = &config.store else { panic!("no file") };
    assert_eq!(*store, dir.path().join("./adit.sqlite"));
    assert_eq!(config.stratum.authority_key_file, dir.path().join("authority.key"));
    let NodeCredentials::CookieFile(cookie) = &config.bitcoind.credentials else { panic!("no cookie") };
    assert_eq!(*cookie, dir.path().join(".cookie"));
    assert_eq!(config.payout.fee_bp, 100);
    assert!(config.bitcoind.template_refresh <= Duration::from_secs(30));
}

#[test]
fn unknown_key_names_the_nearest() {
    let said = complaint(&with_stratum("listn = \"0.0.0.0:1\""), &[]);
    assert!(said.contains("stratum.listn in ") && said.ends_with("the nearest one is stratum.listen"), "{said}");
}

#[test]
fn unknown_section_names_the_nearest() {
    let said = complaint(&format!("{SMALLEST}[stratun]\nlisten = \"0.0.0.0:1\"\n"), &[]);
    assert!(said.ends_with("the nearest one is stratum.listen"), "{said}");
    let said = complaint(&format!("{SMALLEST}[payuot]\n"), &[]);
    assert!(said.starts_with("[payuot] in ") && said.ends_with("the nearest one is [payout]"), "{said}");
}

#[test]
fn key_in_the_wrong_section_names_the_right_one() {
    let said = complaint(&with_stratum("fee_bp = 1"), &[]);
    assert!(said.ends_with("the nearest one is payout.fee_bp"), "{said}");
}

#[test]
fn unknown_variable_names_the_nearest_variable() {
    let said = complaint(SMALLEST, &[("ADIT__PAYOUT__FEE_PB", "1")]);
    assert_eq!(said, "ADIT__PAYOUT__FEE_PB is not a setting; the nearest one is ADIT__PAYOUT__FEE_BP");
}

#[test]
fn environment_overrides_the_file() {
    let environment = [
        ("ADIT__NETWORK", "signet"),
        ("ADIT__PAYOUT__FEE_BP", "250"),
        ("ADIT__STRATUM__INITIAL_DIFFICULTY", "0.5"),
        ("ADITX", "not ours"),
        ("PATH", "/bin"),
    ];
    let config = load(&format!("{SMALLEST}[payout]\nfee_bp = 3\n"), &environment).1.unwrap();
    assert_eq!(config.network, Network::Signet);
    assert_eq!(config.payout.fee_bp, 250);
    assert_eq!(config.stratum.initial_difficulty.log2(), -1);
}

#[test]
fn empty_variable_unsets_the_file_value() {
    let environment = [
        ("ADIT__BITCOIND__COOKIE_FILE", ""),
        ("ADIT__BITCOIND__USER", "pool"),
        ("ADIT__BITCOIND__PASSWORD", "12345678"),
    ];
    let config = load(SMALLEST, &environment).1.unwrap();
    let (user, password) = config.bitcoind.credentials.read().unwrap();
    assert_eq!((user.as_str(), password.expose_secret()), ("pool", "12345678"));
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    // A text that no setting takes: each key must be read, and complain of it or keep it.
    let texts = ["bitcoind.user", "bitcoind.password", "bitcoind.password_file", "bitcoind.cookie_file"];
    let free =
        ["stratum.authority_key_file", "payout.wallet_key_file", "store.path", "store.url_file", "stratum.pool_tag"];
    for key in KEYS.iter().filter(|key| !texts.contains(key) && !free.contains(key)) {
        let variable = settings::variable_of(key);
        let said = complaint(SMALLEST, &[(&variable, "=[nothing]=")]);
        assert!(said.starts_with(&variable), "{said}");
    }
}

#[test]
fn password_in_the_file_is_refused() {
    let said = complaint(&SMALLEST.replace("cookie_file = \".cookie\"", "user = \"a\"\npassword = \"b\""), &[]);
    assert!(said.contains("bitcoind.password is a secret") && said.contains("ADIT__BITCOIND__PASSWORD"), "{said}");
}

#[test]
fn secrets_are_not_shown() {
    let environment = [
        ("ADIT__BITCOIND__COOKIE_FILE", ""),
        ("ADIT__BITCOIND__USER", "pool"),
        ("ADIT__BITCOIND__PASSWORD", "correct-horse"),
    ];
    let config = load(SMALLEST, &environment).1.unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("pool") && !shown.contains("correct-horse"), "{shown}");
}

#[test]
fn two_ways_to_prove_oneself_are_refused() {
    let said = complaint(SMALLEST, &[("ADIT__BITCOIND__USER", "pool")]);
    assert!(said.contains("bitcoind.cookie_file") && said.contains("excludes"), "{said}");
}

#[test]
fn wrong_network_is_refused_with_the_known_ones() {
    let said = complaint(&SMALLEST.replace("regtest", "testnet3"), &[]);
    assert!(said.ends_with("testnet3 is not one of mainnet, testnet4, signet, regtest"), "{said}");
    let said = complaint(&SMALLEST.replace("network = \"regtest\"", ""), &[]);
    assert!(said.starts_with("network is not set") && said.ends_with("ADIT__NETWORK"), "{said}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    for (line, reason) in [
        ("listen = \"everywhere\"", "everywhere is not an address and port"),
        ("listen = 34254", "34254 should be a text in quotation marks"),
        ("max_connections = 0", "0 is not an integer from 1 to 1000000"),
        ("max_connections = -1", "-1 is not an integer from"),
        ("shares_per_minute = \"6\"", "\"6\" is not an integer from"),
        ("initial_difficulty = 3000", "3000 is not a power of two"),
        ("initial_difficulty = \"2^-33\"", "2^-33 is not a power of two from 2^-32"),
        ("min_difficulty = \"2^20\"", "is above stratum.initial_difficulty"),
        ("public_host = \"http://pool\"", "http://pool is not a host"),
        ("pool_tag = \"\u{26cf}\"", "must be printable ASCII"),
    ] {
        let said = complaint(&with_stratum(line), &[]);
        assert!(said.contains(reason), "{line}: {said}");
    }
    let said = complaint(&SMALLEST.replace("http:", "https:"), &[]);
    assert!(said.contains("does not start with http://"), "{said}");
    let said = complaint(&SMALLEST.replace("data_dir = \".\"", "data_dir = \"nowhere\""), &[]);
    assert!(said.contains("there is no folder") && said.contains("nowhere"), "{said}");
    let said = complaint(&SMALLEST.replace("[bitcoind]", "log = \"adit=loud\"\n[bitcoind]"), &[]);
    assert!(said.contains("log in "), "{said}");
    let said = complaint("stratum = 5\n", &[]);
    assert!(said.contains("is a section"), "{said}");
}

#[test]
fn scheme_is_chosen_by_its_name() {
    assert_eq!(load(SMALLEST, &[]).1.unwrap().payout.scheme, SchemeName::Pplns);
    for (scheme, name) in SchemeName::ALL {
        let config = load(&format!("{SMALLEST}[payout]\nscheme = \"{name}\"\n"), &[]).1.unwrap();
        assert_eq!(config.payout.scheme, scheme);
    }
    let said = complaint(SMALLEST, &[("ADIT__PAYOUT__SCHEME", "fpps")]);
    assert!(said.ends_with("fpps is not one of pplns, tides, prop, solo"), "{said}");
}

#[test]
fn syntax_error_tells_the_line_in_one_line() {
    let said = complaint("network = \"regtest\"\nlog = \n", &[]);
    assert!(said.contains("adit.toml is not valid TOML: line 2: ") && !said.contains('\n'), "{said}");
}

#[test]
fn difficulties_are_read_as_numbers_and_as_powers() {
    for (line, log2) in [("2048", 11), ("0.25", -2), ("\"2^-20\"", -20), ("1", 0), ("\"2^40\"", 40)] {
        let config = load(&with_stratum(&format!("initial_difficulty = {line}")), &[]).1.unwrap();
        assert_eq!(config.stratum.initial_difficulty.log2(), log2, "{line}");
    }
}

#[test]
fn secret_file_open_to_others_is_refused() {
    let (dir, config) = load(SMALLEST, &[]);
    let stratum = config.unwrap().stratum;
    let said = stratum.authority_key().unwrap_err().to_string();
    assert!(said.starts_with("stratum.authority_key_file: cannot read "), "{said}");

    let file = dir.path().join("authority.key");
    secret_file::create(&file, "not a key").unwrap();
    let said = stratum.authority_key().unwrap_err().to_string();
    assert!(said.contains("holds no authority key"), "{said}");

    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let said = stratum.authority_key().unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }
}

#[test]
fn cookie_is_read_anew_each_time() {
    let (dir, config) = load(SMALLEST, &[]);
    let credentials = config.unwrap().bitcoind.credentials;
    for password in ["first", "second"] {
        fs::write(dir.path().join(".cookie"), format!("__cookie__:{password}")).unwrap();
        assert_eq!(credentials.read().unwrap().1.expose_secret(), password);
    }
}

#[test]
fn miner_url_prefers_the_public_host() {
    let authority: AuthorityPublicKey = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh".parse().unwrap();
    for (lines, host) in [
        ("", "localhost:34254"),
        ("listen = \"192.0.2.7:3336\"", "192.0.2.7:3336"),
        ("listen = \"[2001:db8::1]:3336\"", "[2001:db8::1]:3336"),
        ("public_host = \"pool.example.org\"", "pool.example.org:34254"),
        ("public_host = \"pool.example.org:443\"", "pool.example.org:443"),
        ("public_host = \"[2001:db8::1]\"", "[2001:db8::1]:34254"),
    ] {
        let config = load(&with_stratum(lines), &[]).1.unwrap();
        let url = config.stratum.miner_url(&authority);
        assert_eq!(url, format!("stratum2+tcp://{host}/{authority}"), "{lines}");
    }
}

#[test]
fn store_is_a_file_or_a_server() {
    let with_store = |lines: &str| format!("{SMALLEST}[store]\n{lines}\n");
    let (dir, config) = load(&with_store("path = \"books\""), &[]);
    let StoreConfig::Sqlite(path) = config.unwrap().store else { panic!("no file") };
    assert_eq!(path, dir.path().join("books"));
    let (dir, config) = load(SMALLEST, &[("ADIT__STORE__URL", "sqlite:books")]);
    let StoreConfig::Sqlite(path) = config.unwrap().store else { panic!("no file") };
    assert_eq!(path, dir.path().join("books"));

    let url = "postgres://adit@db.example.org/adit?sslmode=verify-full";
    let config = load(&with_store(&format!("url = \"{url}\"")), &[]).1.unwrap();
    let StoreConfig::Postgres(given) = config.store else { panic!("no server") };
    assert_eq!(given.read().unwrap().expose_secret(), url);

    let (dir, config) = load(&with_store("url_file = \"store.url\""), &[]);
    let StoreConfig::Postgres(given) = config.unwrap().store else { panic!("no server") };
    assert!(given.read().unwrap_err().to_string().starts_with("store.url_file: cannot read "));
    let file = dir.path().join("store.url");
    secret_file::create(&file, "postgres://adit:secret@db.example.org/adit").unwrap();
    assert_eq!(given.read().unwrap().expose_secret(), "postgres://adit:secret@db.example.org/adit");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(given.read().unwrap_err().to_string().contains("chmod 600"));
}

#[test]
fn password_of_the_database_is_for_the_environment_and_never_shown() {
    let url = "postgres://adit:correct-horse@db.example.org/adit";
    let said = complaint(&format!("{SMALLEST}[store]\nurl = \"{url}\"\n"), &[]);
    assert!(said.contains("store.url is a secret") && said.contains("ADIT__STORE__URL"), "{said}");
    assert!(!said.contains("correct-horse"), "{said}");
    let config = load(SMALLEST, &[("ADIT__STORE__URL", url)]).1.unwrap();
    let shown = format!("{config:?} {}", config.store);
    assert!(!shown.contains("correct-horse"), "{shown}");
    let said = complaint(SMALLEST, &[("ADIT__STORE__URL", "mysql://adit:correct-horse@db.example.org")]);
    assert!(said.starts_with("ADIT__STORE__URL: ") && !said.contains("correct-horse"), "{said}");
}

#[test]
fn two_places_for_the_books_are_refused() {
    let with_path = format!("{SMALLEST}[store]\npath = \"books\"\n");
    for (text, variable) in [
        (with_path.as_str(), ("ADIT__STORE__URL", "postgres://host/adit")),
        (with_path.as_str(), ("ADIT__STORE__URL_FILE", "store.url")),
    ] {
        let said = complaint(text, &[variable]);
        assert!(said.contains("excludes store.path"), "{said}");
    }
    let both = [("ADIT__STORE__URL", "postgres://host/adit"), ("ADIT__STORE__URL_FILE", "store.url")];
    assert!(complaint(SMALLEST, &both).contains("excludes store.url"));
    let moved = [("ADIT__STORE__PATH", ""), ("ADIT__STORE__URL", "postgres://host/adit")];
    assert!(matches!(load(&with_path, &moved).1.unwrap().store, StoreConfig::Postgres(_)));
}
