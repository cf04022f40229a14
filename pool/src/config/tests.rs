//! What operators get wrong, and what they are told.
#![allow(clippy::unwrap_used)]

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt};

use protocol::noise::AuthorityPublicKey;
use tempfile::TempDir;

use super::{settings::KEYS, *};

pub(crate) const SMALLEST: &str = r#"
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

/// The settings of a text and an environment, before their meaning is checked.
pub(crate) fn settings(text: &str, environment: &[(&str, &str)]) -> (TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("adit.toml");
    fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let settings = Settings::read(&file, environment).unwrap();
    (dir, settings)
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
    let NodeCredentials::CookieFile { file: cookie, .. } = &config.bitcoind.credentials else { panic!("no cookie") };
    assert_eq!(*cookie, dir.path().join(".cookie"));
    assert_eq!(config.payout.fee_bp, 100);
    assert!(config.bitcoind.template_refresh <= Duration::from_secs(30));
}

#[test]
fn template_refresh_is_never_longer_than_devices_bear() {
    let with = |seconds: u32| load(&format!("{SMALLEST}template_refresh_seconds = {seconds}\n"), &[]).1;
    assert_eq!(with(30).unwrap().bitcoind.template_refresh, Duration::from_secs(30));
    assert!(with(31).is_err());
}

#[test]
fn limits_have_defaults_that_do_no_harm_to_farms_and_are_read_from_file_and_environment() {
    let limits = load(SMALLEST, &[]).1.unwrap().limits;
    assert!(limits.connections_per_address >= 1_024 && limits.handshakes_per_address >= 512);
    assert!(limits.shares_per_job >= 1_000_000, "a fast proxy's channel, for as long as a job lives");
    assert!(limits.connection.idle >= Duration::from_secs(60), "devices and probes take their time");
    assert!(limits.unlimited_addresses.iter().any(|network| network.contains(&"127.0.0.1".parse::<IpAddr>().unwrap())));

    let text =
        format!("{SMALLEST}[limits]\nunlimited_addresses = [\"192.0.2.0/24\", \"2001:db8::1\"]\nban_seconds = 0\n");
    let limits = load(&text, &[("ADIT__LIMITS__MESSAGES_PER_SECOND", "1000000")]).1.unwrap().limits;
    let networks: Vec<_> = limits.unlimited_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!((limits.ban, limits.connection.messages_per_second), (Duration::ZERO, 1_000_000));
    let none = load(SMALLEST, &[("ADIT__LIMITS__UNLIMITED_ADDRESSES", "[]")]).1.unwrap().limits;
    assert!(none.unlimited_addresses.is_empty());
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let said = complaint(SMALLEST, &[("ADIT__LIMITS__UNLIMITED_ADDRESSES", "10.0.0.0/8,farm")]);
    assert!(said.contains("farm is not an address or a network"), "{said}");
    let said = complaint(SMALLEST, &[("ADIT__LIMITS__IDLE_SECONDS", "14")]);
    assert!(said.contains("from 15 to 3600"), "{said}");
    for key in [
        "CONNECTIONS_PER_ADDRESS",
        "HANDSHAKES",
        "HANDSHAKES_PER_ADDRESS",
        "MESSAGES_PER_SECOND",
        "INVALID_SHARES",
        "SHARES_PER_JOB",
    ] {
        let said = complaint(SMALLEST, &[(&format!("ADIT__LIMITS__{key}"), "0")]);
        assert!(said.contains("from 1 to"), "{said}");
    }
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
    let free = [
        "stratum.authority_key_file",
        "export.party_key_file",
        "payout.wallet_key_file",
        // The complaint is about the other one, which is missing.
        "payout.watch_only_descriptor",
        "payout.watch_only_change_descriptor",
        "api.tls_certificate",
        "api.tls_key",
        "store.path",
        "store.url_file",
        "stratum.pool_tag",
    ];
    for key in KEYS.iter().filter(|key| !texts.contains(key) && !free.contains(key)) {
        let variable = settings::variable_of(key);
        let said = complaint(SMALLEST, &[(&variable, "=[nothing]=")]);
        assert!(said.starts_with(&variable), "{said}");
    }
}

#[test]
fn every_secret_can_also_stand_in_a_file_of_its_own() {
    // The URL of a database is a secret when there is a password in it.
    let secrets = settings::SECRET_KEYS.iter().copied().chain(["store.url"]);
    for secret in secrets {
        let file = format!("{secret}_file");
        assert!(KEYS.contains(&file.as_str()), "{file}");
    }
    for (above, below) in settings::NAMED {
        assert!(!below.contains(&"password") || below.contains(&"password_file"), "{above}");
    }
}

#[test]
fn sections_that_the_operator_names_can_be_set_from_the_environment() {
    let environment = [
        ("ADIT__SCREENING__LISTS__OWN__FORMAT", "supplement"),
        ("ADIT__SCREENING__LISTS__OWN__FILE", "own.csv"),
        ("ADIT__SCREENING__LISTS__OWN__MAX_AGE_HOURS", "7"),
    ];
    let (dir, config) = load(SMALLEST, &environment);
    let [own] = &config.unwrap().lists[..] else { panic!("not one list") };
    assert_eq!((own.source.as_str(), &own.file), ("own", &dir.path().join("own.csv")));
    assert_eq!(own.max_age, Duration::from_secs(7 * 3_600));
}

#[test]
fn password_in_the_file_is_refused() {
    let said = complaint(&SMALLEST.replace("cookie_file = \".cookie\"", "user = \"a\"\npassword = \"b\""), &[]);
    assert!(said.contains("bitcoind.password is a secret") && said.contains("ADIT__BITCOIND__PASSWORD"), "{said}");
}

const BACKUPS: &str = r#"
[bitcoind.backup.paris]
url = "http://10.0.0.2:8332"
user = "pool"
password_file = "paris.password"
[bitcoind.backup.berlin]
url = "http://10.0.0.1:8332"
cookie_file = "berlin/.cookie"
"#;

#[test]
fn backup_nodes_come_in_the_order_of_their_names() {
    let text = format!("{SMALLEST}{BACKUPS}");
    let (dir, config) = load(&text, &[("ADIT__BITCOIND__BACKUP__BERLIN__URL", "http://10.0.0.9:8332")]);
    let backups = config.unwrap().bitcoind.backups;
    let [berlin, paris] = backups.as_slice() else { panic!("{backups:?}") };
    assert_eq!((berlin.section, berlin.url.as_str()), ("bitcoind.backup.berlin", "http://10.0.0.9:8332"));
    let NodeCredentials::CookieFile { key: "bitcoind.backup.berlin.cookie_file", file } = &berlin.credentials else {
        panic!("{berlin:?}")
    };
    assert_eq!(*file, dir.path().join("berlin/.cookie"));
    assert!(matches!(&paris.credentials, NodeCredentials::PasswordFile { user, .. } if user == "pool"));
    let said = paris.credentials.read().unwrap_err().to_string();
    assert!(said.starts_with("bitcoind.backup.paris.password_file"), "{said}");
}

#[test]
fn backup_node_can_be_given_by_the_environment_alone() {
    let environment = [
        ("ADIT__BITCOIND__BACKUP__OSLO__URL", "http://10.0.0.3:8332"),
        ("ADIT__BITCOIND__BACKUP__OSLO__USER", "pool"),
        ("ADIT__BITCOIND__BACKUP__OSLO__PASSWORD", "correct-horse"),
    ];
    let config = load(SMALLEST, &environment).1.unwrap();
    assert_eq!(config.bitcoind.backups[0].section, "bitcoind.backup.oslo");
    assert_eq!(config.bitcoind.backups[0].credentials.read().unwrap().1.expose_secret(), "correct-horse");
    assert!(!format!("{config:?}").contains("correct-horse"));
    // Unset again, there is none.
    assert!(load(SMALLEST, &[("ADIT__BITCOIND__BACKUP__OSLO__URL", "")]).1.unwrap().bitcoind.backups.is_empty());
}

#[test]
fn mistakes_in_backup_nodes_are_named() {
    let with = |text: &str| complaint(&format!("{SMALLEST}[bitcoind.backup.a]\n{text}\n"), &[]);
    let said = with("ulr = \"http://10.0.0.1:8332\"");
    assert!(
        said.contains("bitcoind.backup.a.ulr in ") && said.ends_with("nearest one is bitcoind.backup.a.url"),
        "{said}"
    );
    let said = with("user = \"pool\"");
    assert!(said.starts_with("bitcoind.backup.a.url is not set") && said.ends_with("ADIT__BITCOIND__BACKUP__A__URL"));
    let said = with("url = \"http://10.0.0.1:8332\"\nuser = \"pool\"\npassword = \"b\"");
    assert!(said.contains("bitcoind.backup.a.password is a secret"), "{said}");
    assert!(with("url = \"10.0.0.1\"").contains("does not start with http://"));
    assert!(with("").contains("has no settings"));
    let said = complaint(&format!("{SMALLEST}[bitcoind.backup.\"A b\"]\nurl = \"http://x:1\"\n"), &[]);
    assert!(said.ends_with("nearest one is bitcoind.backup.a_b.url"), "{said}");
    let said = complaint(SMALLEST, &[("ADIT__BITCOIND__BACKUP__A__COOKIE", "x")]);
    assert!(said.ends_with("ADIT__BITCOIND__BACKUP__A__COOKIE_FILE"), "{said}");
    let nine: String =
        (1..=9).map(|n| format!("[bitcoind.backup.n{n}]\nurl = \"http://x:{n}\"\ncookie_file = \"c\"\n")).collect();
    assert!(complaint(&format!("{SMALLEST}{nine}"), &[]).contains("bitcoind.backup.n9.url"));
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
        ("shares_per_minute = 600000001", "600000001 is not an integer from 1 to 600000000"),
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
fn extensions_are_listed_by_number_or_by_name() {
    let stratum = load(SMALLEST, &[]).1.unwrap().stratum;
    assert_eq!((stratum.supported_extensions, stratum.required_extensions), (vec![2], vec![]));
    for (listed, numbers) in [
        ("[]", vec![]),
        ("[2]", vec![2]),
        ("[\"0x0002\"]", vec![2]),
        ("[\"worker-specific-hashrate-tracking\"]", vec![2]),
    ] {
        let stratum = load(&with_stratum(&format!("supported_extensions = {listed}")), &[]).1.unwrap().stratum;
        assert_eq!(stratum.supported_extensions, numbers, "{listed}");
    }
    for (listed, numbers) in [("[]", vec![]), ("2", vec![2]), ("[ 0x0002 ]", vec![2]), ("2,2", vec![2, 2])] {
        let stratum = load(SMALLEST, &[("ADIT__STRATUM__REQUIRED_EXTENSIONS", listed)]).1.unwrap().stratum;
        assert_eq!(stratum.required_extensions, numbers, "{listed}");
    }
}

#[test]
fn unknown_extension_names_the_known_ones() {
    let known = "is not one of the extensions that can be negotiated: 2 (worker-specific-hashrate-tracking)";
    for (listed, reason) in [
        ("[3]", format!("3 {known}")),
        ("[2, \"workers\"]", format!("workers {known}")),
        ("[-1]", format!("-1 {known}")),
        ("2", "2 should be a list in square brackets".to_owned()),
        ("[[2]]", "[[2]] should be a list in square brackets".to_owned()),
    ] {
        let said = complaint(&with_stratum(&format!("required_extensions = {listed}")), &[]);
        assert!(said.starts_with("stratum.required_extensions in ") && said.ends_with(&reason), "{said}");
    }
    let said = complaint(SMALLEST, &[("ADIT__STRATUM__SUPPORTED_EXTENSIONS", "2, 0x0003")]);
    assert_eq!(said, format!("ADIT__STRATUM__SUPPORTED_EXTENSIONS: 0x0003 {known}"));
}

#[test]
fn registration_is_open_unless_told_otherwise() {
    assert!(load(SMALLEST, &[]).1.unwrap().accounts.open_registration);
    let closed = format!("{SMALLEST}[accounts]\nopen_registration = false\n");
    assert!(!load(&closed, &[]).1.unwrap().accounts.open_registration);
    let variable = "ADIT__ACCOUNTS__OPEN_REGISTRATION";
    assert!(load(&closed, &[(variable, "true")]).1.unwrap().accounts.open_registration);
    let said = complaint(SMALLEST, &[(variable, "no")]);
    assert_eq!(said, format!("{variable}: \"no\" is not true or false"));
    let said = complaint(&closed.replace("false", "\"false\""), &[]);
    assert!(said.ends_with("\"false\" is not true or false"), "{said}");
}

#[test]
fn scheme_is_chosen_by_its_name() {
    assert_eq!(load(SMALLEST, &[]).1.unwrap().payout.scheme, SchemeName::Pplns);
    for (scheme, name) in SchemeName::ALL {
        let config = load(&format!("{SMALLEST}[payout]\nscheme = \"{name}\"\n"), &[]).1.unwrap();
        assert_eq!(config.payout.scheme, scheme);
    }
    let said = complaint(SMALLEST, &[("ADIT__PAYOUT__SCHEME", "ppps")]);
    assert!(
        said.ends_with("ppps is not one of pplns, tides, prop, solo, pps, fpps, pps+, slice, slice-weighted"),
        "{said}"
    );
}

#[test]
fn slices_end_when_fees_have_grown_by_a_hundredth_of_a_bitcoin_unless_told_otherwise() {
    assert_eq!(load(SMALLEST, &[]).1.unwrap().payout.slice_fee_delta.to_sat(), 1_000_000);
    let set = "[payout]\nscheme = \"slice\"\nslice_fee_delta_sat = 5\n";
    let payout = load(&format!("{SMALLEST}{set}"), &[]).1.unwrap().payout;
    assert_eq!((payout.scheme, payout.slice_fee_delta.to_sat()), (SchemeName::Slice, 5));
    let said = complaint(SMALLEST, &[("ADIT__PAYOUT__SLICE_FEE_DELTA_SAT", "0")]);
    assert!(said.contains("\"0\" is not an integer from 1 to"), "{said}");
}

#[test]
fn work_is_credited_by_the_hour_unless_told_otherwise() {
    let payout = load(SMALLEST, &[]).1.unwrap().payout;
    assert_eq!((payout.credit_period.as_secs(), payout.fpps_average), (3_600, Average::Plain));
    let set = "[payout]\ncredit_minutes = 5\nfpps_average = \"trimmed\"\n";
    let payout = load(&format!("{SMALLEST}{set}"), &[]).1.unwrap().payout;
    assert_eq!((payout.credit_period.as_secs(), payout.fpps_average), (300, Average::Trimmed));
    let said = complaint(SMALLEST, &[("ADIT__PAYOUT__FPPS_AVERAGE", "mean")]);
    assert!(said.ends_with("mean is not plain or trimmed"), "{said}");
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

/// The public descriptors of a new key.
fn descriptors(network: Network) -> [String; 2] {
    let dir = tempfile::tempdir().unwrap();
    let key = payouts::wallet::WalletKey::create(&dir.path().join("wallet.key"), network).unwrap();
    let public = key.watch_only().unwrap();
    [public.external(), public.internal()]
}

fn with_payout(lines: &str) -> String {
    format!("{SMALLEST}[payout]\n{lines}\n")
}

#[test]
fn wallet_is_a_key_or_two_descriptors() {
    let (dir, config) = load(SMALLEST, &[]);
    let WalletConfig::KeyFile(file) = config.unwrap().payout.wallet else { panic!("no key file") };
    assert_eq!(file, dir.path().join("wallet.key"));

    let [external, change] = descriptors(Network::Regtest);
    let both = format!("watch_only_descriptor = \"{external}\"\nwatch_only_change_descriptor = \"{change}\"");
    let WalletConfig::WatchOnly(public) = load(&with_payout(&both), &[]).1.unwrap().payout.wallet else {
        panic!("no descriptors")
    };
    assert_eq!([public.external(), public.internal()], [external.clone(), change.clone()]);

    let said = complaint(&with_payout(&format!("{both}\nwallet_key_file = \"wallet.key\"")), &[]);
    assert!(said.starts_with("payout.wallet_key_file in ") && said.contains("excludes"), "{said}");
    for (line, missing) in [
        (format!("watch_only_descriptor = \"{external}\""), "payout.watch_only_change_descriptor is not set"),
        (format!("watch_only_change_descriptor = \"{change}\""), "payout.watch_only_descriptor is not set"),
    ] {
        let said = complaint(&with_payout(&line), &[]);
        assert!(said.starts_with(missing), "{said}");
    }
    let hardened = external.split('#').next().unwrap().replace("/0/*", "/0'/*");
    let said = complaint(&with_payout(&both.replace(&external, &hardened)), &[]);
    assert!(said.starts_with("payout.watch_only_descriptor in ") && said.contains("hardened step"), "{said}");
    let [foreign, _] = descriptors(Network::Bitcoin);
    let said = complaint(&with_payout(&both.replace(&external, &foreign)), &[]);
    assert!(said.starts_with("payout.watch_only_descriptor in ") && said.contains("regtest"), "{said}");
}

#[test]
fn payouts_have_a_schedule() {
    assert_eq!(load(SMALLEST, &[]).1.unwrap().payout.schedule, Schedule::Continuous);
    for schedule in ["continuous", "daily 14:00", "weekly mon 14:00", "every 6h", "manual"] {
        let config = load(&with_payout(&format!("schedule = \"{schedule}\"")), &[]).1.unwrap();
        assert_eq!(config.payout.schedule.to_string(), schedule);
    }
    let said = complaint(&with_payout("schedule = \"hourly\""), &[]);
    assert!(said.contains("hourly") && said.contains("weekly mon 14:00") && !said.contains('\n'), "{said}");
}

#[test]
fn approval_above_an_amount_needs_the_amount_and_nothing_else_takes_one() {
    let above = "approval = \"above\"\n";
    for (lines, approval) in [
        ("", Approval::None),
        ("approval = \"none\"", Approval::None),
        ("approval = \"always\"", Approval::Always),
        ("approval = \"above\"\napprove_above_sat = 5", Approval::Above(Amount::from_sat(5))),
    ] {
        assert_eq!(load(&with_payout(lines), &[]).1.unwrap().payout.approval, approval, "{lines}");
    }
    for (lines, reason) in [
        (above, "payout.approve_above_sat is not set"),
        ("approve_above_sat = 5", "has a meaning only with payout.approval = \"above\""),
        ("approval = \"always\"\napprove_above_sat = 5", "has a meaning only with payout.approval = \"above\""),
        ("approval = \"sometimes\"", "sometimes is not one of none, always, above"),
    ] {
        let said = complaint(&with_payout(lines), &[]);
        assert!(said.contains(reason), "{lines}: {said}");
    }
}

#[test]
fn network_fee_is_paid_by_the_pool_or_by_miners() {
    for (lines, payer) in [
        ("", FeePayer::Pool),
        ("network_fee = \"pool\"", FeePayer::Pool),
        ("network_fee = \"miners\"", FeePayer::Miners),
    ] {
        assert_eq!(load(&with_payout(lines), &[]).1.unwrap().payout.fee_payer, payer, "{lines}");
    }
    let said = complaint(&with_payout("network_fee = \"nobody\""), &[]);
    assert!(said.ends_with("nobody is not one of pool, miners"), "{said}");
}

#[test]
fn fee_rates_lie_between_their_bounds() {
    let rates = |lines: &str| {
        let payout = load(&with_payout(lines), &[]).1.unwrap().payout;
        [payout.min_fee_rate_sat_per_vb, payout.fallback_fee_rate_sat_per_vb, payout.max_fee_rate_sat_per_vb]
    };
    assert_eq!(rates(""), [1, 5, 200]);
    assert_eq!(rates("min_fee_rate_sat_per_vb = 300"), [300, 300, 300]);
    assert_eq!(rates("fallback_fee_rate_sat_per_vb = 300"), [1, 300, 300]);
    for (lines, reason) in [
        (
            "min_fee_rate_sat_per_vb = 6\nfallback_fee_rate_sat_per_vb = 5",
            "5 is below payout.min_fee_rate_sat_per_vb, 6",
        ),
        ("max_fee_rate_sat_per_vb = 4", "5 is above payout.max_fee_rate_sat_per_vb, 4"),
    ] {
        let said = complaint(&with_payout(lines), &[]);
        assert!(said.contains(reason), "{lines}: {said}");
    }
}

#[test]
fn defaults_of_payouts_are_those_of_their_policy() {
    let payout = load(SMALLEST, &[]).1.unwrap().payout;
    let policy = PayoutPolicy::default();
    assert_eq!((payout.threshold, payout.max_outputs), (policy.threshold, policy.max_outputs));
    assert_eq!(
        (payout.schedule, payout.approval, payout.fee_payer),
        (policy.schedule, policy.approval, policy.fee_payer)
    );
    assert_eq!(payout.fee_target_blocks, policy.confirm_within_blocks);
    let rates = [payout.min_fee_rate_sat_per_vb, payout.fallback_fee_rate_sat_per_vb, payout.max_fee_rate_sat_per_vb];
    let of_policy = [policy.min_fee_rate, policy.fallback_fee_rate, policy.max_fee_rate];
    assert_eq!(rates, of_policy.map(|rate| rate.to_sat_per_vb_floor()));
}
