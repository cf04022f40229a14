//! `adit init`: a new pool's config file and keys.
//!
//! Owns the text of the config file. What the settings mean belongs to [`crate::config`], what the keys are to the
//! crates that use them. Nothing that exists is overwritten: an authority key that is lost cuts off every miner that
//! pinned it, and a wallet key that is lost takes the pool's coins along.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bitcoin::Network;
use payouts::{
    export::party::Vault,
    wallet::{WalletKey, WatchOnly},
};
use protocol::noise::{AuthorityPublicKey, AuthoritySecretKey};
use toml::Value;

use crate::{
    config::{Config, network_name, secret_file},
    operations::token::{self, TokenSecret},
};

/// The config file's name in the new pool's folder.
pub const CONFIG_FILE: &str = "adit.toml";
const AUTHORITY_KEY_FILE: &str = "authority.key";
const WALLET_KEY_FILE: &str = "wallet.key";
const PARTY_KEY_FILE: &str = "party.key";
const DATA_DIR: &str = "data";
/// The operator's own list on networks whose coins are worth nothing.
const SUPPLEMENT_FILE: &str = "lists/supplement.csv";
/// What it begins with: a list without an entry may not be relied upon.
const SUPPLEMENT: &str = "address,name,label,programme,reference\n\
    1BitcoinEaterAddressDontSendf59kuE,,XBT,EXAMPLE,an address that nobody has the key of\n";

/// What the operator decides at the start. What is left out gets the value that suits the network.
#[derive(Clone, Debug)]
pub struct NewPool {
    /// The network whose blocks are to be mined.
    pub network: Network,
    /// The folder of the pool; made if it is missing.
    pub dir: PathBuf,
    /// The node, `http://host:port`.
    pub bitcoind_url: Option<String>,
    /// The node's cookie file.
    pub cookie_file: Option<PathBuf>,
    /// The address to listen on for miners.
    pub listen: Option<SocketAddr>,
    /// The host that miners use.
    pub public_host: Option<String>,
    /// The wallet whose keys are elsewhere; without one, a key is made.
    pub watch_only: Option<Descriptors>,
}

/// The public descriptors of a wallet whose keys are elsewhere (BIP 380), as the operator gives them.
#[derive(Clone, Debug)]
pub struct Descriptors {
    /// The one for coinbases.
    pub external: String,
    /// The one for change.
    pub change: String,
}

/// What was made, and what to do next: its `Display` is for the operator.
#[derive(Clone, Debug)]
pub struct Created {
    /// The config file.
    pub config_file: PathBuf,
    /// The authority's secret key.
    pub authority_key_file: PathBuf,
    /// The wallet's keys, if they are here.
    pub wallet_key_file: Option<PathBuf>,
    /// The key by which personal data is sealed.
    pub party_key_file: PathBuf,
    /// What miners know the pool by.
    pub authority: AuthorityPublicKey,
    /// The URL for miners.
    pub miner_url: String,
    /// Where the API will be heard.
    pub api_url: String,
    /// The first token of the API, of role admin. Only its hash is kept.
    pub first_token: TokenSecret,
}

/// Makes the folder, the keys and the config file of a new pool, and loads the config to make sure that it is right.
///
/// # Errors
///
/// When one of the files exists already or cannot be written, or when the given values make no valid config.
pub fn init(pool: &NewPool) -> anyhow::Result<Created> {
    let dir = &pool.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let [config_file, authority_key_file, wallet_key_file, party_key_file] =
        [CONFIG_FILE, AUTHORITY_KEY_FILE, WALLET_KEY_FILE, PARTY_KEY_FILE].map(|name| dir.join(name));
    let made = [&config_file, &authority_key_file, &wallet_key_file, &party_key_file];
    let existing = made.into_iter().find(|file| file.exists());
    if let Some(file) = existing {
        bail!("{} exists already: nothing was changed; choose another folder with --dir", file.display());
    }
    let watched = pool.watch_only.as_ref();
    let watched = watched.map(|given| WatchOnly::new(&given.external, &given.change, pool.network)).transpose()?;
    let text = config_text(pool, watched.as_ref())?;
    create_private_dir(&dir.join(DATA_DIR))?;
    write_new(&config_file, &text)?;
    let outcome = (|| {
        // Before any key is made: a key beside a config that does not load would only be in the way.
        let config = Config::load_with(&config_file, [])?;
        let secret = AuthoritySecretKey::generate();
        secret_file::create(&authority_key_file, &hex::encode(secret.to_secret_bytes()))
            .with_context(|| format!("cannot write {}", authority_key_file.display()))?;
        secret_file::create(&party_key_file, &hex::encode(Vault::new_key()?))
            .with_context(|| format!("cannot write {}", party_key_file.display()))?;
        if pool.network != Network::Bitcoin {
            write_supplement(&dir.join(SUPPLEMENT_FILE))?;
        }
        let wallet_key_file = match watched {
            Some(_) => None,
            None => {
                WalletKey::create(&wallet_key_file, pool.network)
                    .with_context(|| format!("cannot write {}", wallet_key_file.display()))?;
                Some(wallet_key_file)
            }
        };
        let first_token = token::make_first(&config.data_dir)?;
        anyhow::Ok((config, wallet_key_file, secret.public_key(), first_token))
    })();
    match outcome {
        Ok((config, wallet_key_file, authority, first_token)) => Ok(Created {
            config_file,
            authority_key_file,
            wallet_key_file,
            party_key_file,
            authority,
            miner_url: config.stratum.miner_url(&authority),
            api_url: format!("http://{}", config.api.listen),
            first_token,
        }),
        Err(error) => {
            // This run made it, so that no operator's words are lost with it.
            let _ = fs::remove_file(&config_file);
            Err(error)
        }
    }
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, authority) = (self.config_file.display(), self.authority_key_file.display());
        writeln!(f, "Created")?;
        writeln!(f, "  {config}  the settings, each with a comment")?;
        writeln!(f, "  {authority}  proves to miners that this is your pool")?;
        if let Some(wallet) = &self.wallet_key_file {
            writeln!(f, "  {}  owns the coins that the pool mines", wallet.display())?;
        }
        writeln!(f, "  {}  seals what you note about owners of addresses", self.party_key_file.display())?;
        writeln!(f)?;
        writeln!(f, "Next")?;
        match self.wallet_key_file {
            Some(_) => writeln!(f, "  1. Copy the key files to a safe place. Without wallet.key the coins are lost.")?,
            None => {
                writeln!(f, "  1. Copy {authority} to a safe place. Payouts are signed where the wallet's keys are.")?
            }
        }
        writeln!(f, "  2. Read {config}, above all [bitcoind], stratum.public_host, [payout] and [screening].")?;
        writeln!(f, "  3. Start bitcoind, then: adit check --config {config}, and adit run --config {config}")?;
        writeln!(f, "  4. Point miners at {}", self.miner_url)?;
        writeln!(f, "     with their payout address, and .worker if they like, as the user.")?;
        writeln!(f)?;
        writeln!(f, "Dashboard and API will be at {}/. The token to log in with is shown this once:", self.api_url)?;
        writeln!(f)?;
        writeln!(f, "    {}", self.first_token.expose())?;
        writeln!(f)?;
        write!(f, "It is of role admin. `adit token add` makes others, `adit token revoke 1` ends this one.")
    }
}

fn create_private_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        outcome => outcome.with_context(|| format!("cannot make the folder {}", dir.display())),
    }
}

/// Writes a list of the operator's own, if there is none.
fn write_supplement(file: &Path) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    if file.exists() { Ok(()) } else { write_new(file, SUPPLEMENT) }
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;

    fs::File::create_new(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The RPC port of bitcoind on a network, and the folder below its data folder.
fn node_defaults(network: Network) -> (u16, &'static str) {
    match network {
        Network::Testnet4 => (48_332, "testnet4"),
        Network::Signet => (38_332, "signet"),
        Network::Regtest => (18_443, "regtest"),
        _ => (8_332, ""),
    }
}

fn cookie_file(pool: &NewPool) -> anyhow::Result<PathBuf> {
    if let Some(file) = &pool.cookie_file {
        // Given as seen from here; in the config file it would be seen from there.
        return std::path::absolute(file).with_context(|| format!("cannot resolve {}", file.display()));
    }
    let home = std::env::home_dir().context("the home folder is not known: give bitcoind's --cookie-file")?;
    Ok(home.join(".bitcoin").join(node_defaults(pool.network).1).join(".cookie"))
}

/// A text in TOML's quotation marks.
fn quoted(text: impl Into<String>) -> String {
    Value::String(text.into()).to_string()
}

/// Where the wallet's keys are, as the config says it.
fn wallet_text(watched: Option<&WatchOnly>, network: Network) -> String {
    let key = format!("wallet_key_file = \"{WALLET_KEY_FILE}\"");
    let (key, descriptors) = match watched {
        Some(watched) => (format!("# {key}"), [quoted(watched.external()), quoted(watched.internal())]),
        None => {
            let (coin, xpub) = if network == Network::Bitcoin { (0, "xpub") } else { (1, "tpub") };
            let shown = |change| quoted(format!("wpkh([fingerprint/84'/{coin}'/0']{xpub}.../{change}/*)"));
            (key, [shown(0), shown(1)])
        }
    };
    let [external, change] = descriptors;
    let mark = if watched.is_some() { "" } else { "# " };
    format!(
        "# The key of the pool's own wallet, to which blocks are mined and from which miners are paid.\n\
         {key}\n\
         # Or no key on this machine: the public descriptors of a wallet whose keys are elsewhere, for coinbases and for \
         change.\n\
         # Payouts are then signed there: adit payout export-psbt, adit payout import-psbt.\n\
         {mark}watch_only_descriptor = {external}\n\
         {mark}watch_only_change_descriptor = {change}"
    )
}

/// The list that payments are screened by. Where coins are worth nothing, one of the operator's own stands in for it.
fn list_text(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => {
            "[screening.lists.ofac_sdn]\n\
             format = \"ofac-advanced-xml\"\n\
             file = \"lists/sdn_advanced.xml\"\n\
             max_age_hours = 24"
        }
        _ => {
            "[screening.lists.ofac_sdn]\n\
             format = \"supplement\"\n\
             file = \"lists/supplement.csv\"\n\
             max_age_hours = 87600"
        }
    }
}

fn config_text(pool: &NewPool, watched: Option<&WatchOnly>) -> anyhow::Result<String> {
    let wallet = wallet_text(watched, pool.network);
    let list = list_text(pool.network);
    let network = quoted(network_name(pool.network));
    let url = pool.bitcoind_url.clone();
    let url = quoted(url.unwrap_or_else(|| format!("http://127.0.0.1:{}", node_defaults(pool.network).0)));
    let cookie = cookie_file(pool)?;
    let cookie = quoted(cookie.to_str().with_context(|| format!("{} is not UTF-8", cookie.display()))?);
    let listen = quoted(pool.listen.map_or_else(|| crate::config::DEFAULT_LISTEN.to_owned(), |it| it.to_string()));
    let public_host = match &pool.public_host {
        Some(host) => format!("public_host = {}", quoted(host)),
        None => "# public_host = \"pool.example.org\"".to_owned(),
    };
    let (initial, min) = match pool.network {
        Network::Signet | Network::Regtest => ("\"2^-12\"", "\"2^-32\""),
        _ => ("2048", "1"),
    };
    Ok(format!(
        r#"# The settings of an Adit mining pool.
#
# Paths are seen from the folder of this file. Each setting can also be given as an environment variable, which wins:
# payout.fee_bp is ADIT__PAYOUT__FEE_BP. An empty variable unsets what stands here.

# mainnet, testnet4, signet or regtest. The node must follow the same one.
network = {network}

# Where the pool keeps what it writes.
data_dir = "{DATA_DIR}"

# Which log lines are written: error, warn, info, debug or trace, also by module ("info,pool::stratum=debug").
log = "info"

[bitcoind]
# The node's RPC address. It speaks plain HTTP: keep it on this machine, or behind a tunnel.
url = {url}
# The file in which bitcoind leaves a new password at each start...
cookie_file = {cookie}
# ...or a user of rpcauth, with the password in a file of mode 0600 or in ADIT__BITCOIND__PASSWORD.
# user = "adit"
# password_file = "rpc.password"
# Without a new block, miners get new work at least this often, in seconds, 5 to 30: devices give up on a silent pool.
template_refresh_seconds = 30

# More nodes, up to eight, in the order of their names. When the one above stops answering or falls behind, the next takes
# its place until it is well again. A found block goes to all of them.
# [bitcoind.backup.berlin]
# url = "http://10.0.0.1:8332"
# user = "adit"
# password_file = "berlin.password"

[stratum]
# Where miners are heard.
listen = {listen}
# The host, or host:port, by which miners reach this machine: for the URL that they are given.
{public_host}
# The key that miners know the pool by. Changing it cuts off all that are set up already.
authority_key_file = "{AUTHORITY_KEY_FILE}"
# How long a certificate of the pool is valid, in hours. It is renewed in time, without a restart.
certificate_validity_hours = 168
# Another number, 0 to 65535, for each server of one pool.
server_id = 0
# More connections, and more channels of one connection, are refused. A translator that opens a channel for each of its
# miners leaves with all of them when one is refused: allow for all.
max_connections = 10000
max_channels_per_connection = 1000
# Difficulty follows each channel's hash rate to so many shares a minute. More give a finer measure, and more load:
# above 600, it is for load tests.
shares_per_minute = 6
# The difficulty of a new channel whose hash rate is not known, and the least of any: powers of two.
initial_difficulty = {initial}
min_difficulty = {min}
# What the pool writes into its blocks.
pool_tag = "Adit"
# Whether miners turn to a new tip within milliseconds, while the node still puts together its template: for that moment
# with a block without transactions, worth the subsidy alone, whose job most of them hold in advance. With false they go
# on with the old block, which is worth nothing, until the node's template is there.
job_ahead = true
# Extensions of the protocol that miners may use: 2, worker-specific-hashrate-tracking, by which a proxy names the worker
# of each share. Miners that do not ask for all of the required ones are sent away.
supported_extensions = [2]
required_extensions = []

[limits]
# What a peer may cost the pool. Connections of one address (IPv6: one /64) at a time, and connections that are not set up
# yet: of all, and of one address. When one of these is reached, silent ones and those of the address with most give way.
connections_per_address = 1024
handshakes = 2048
handshakes_per_address = 512
# Addresses and networks that have no bounds of their own and are never banned: for farms and proxies that are known.
unlimited_addresses = ["127.0.0.0/8", "::1/128"]
# What one connection may send each second; to open or change a channel counts as ten messages. One that sends more is
# read more slowly, and closed after a minute of that.
messages_per_second = 4000
bytes_per_second = 1048576
# The longest payload of a frame.
frame_bytes = 147456
# A connection without a channel is closed after this time. Devices need some seconds for their first one.
idle_seconds = 120
# Shares of one channel for one job that are remembered to find duplicates, each in some 18 bytes. More are refused; at the
# pace that stratum.shares_per_minute sets nobody comes near it.
shares_per_job = 1048576
# A connection is closed when it has handed in so many more invalid shares than valid ones within ten minutes; late shares
# do not count. When three connections of an address were closed for that, it is banned for so long; 0 for never.
invalid_shares = 1000
ban_seconds = 300

[api]
# Where operators are heard: the API, its documentation at /api/docs, /metrics for Prometheus. Who asks needs a token
# (`adit token`), but for /healthz, /readyz and the documentation.
listen = "127.0.0.1:34255"
# A certificate and its key, in PEM, the key in a file of mode 0600. Without them the API speaks plain HTTP...
# tls_certificate = "api.crt"
# tls_key = "api.key"
# ...and listens on no address that others can reach, unless this is true: for a proxy that encrypts.
allow_plaintext_beyond_loopback = false
# Requests a second of one address (IPv6: one /64), with as many at once. More are told to wait.
requests_per_second = 50

[accounts]
# Whether any address of the network may mine. If not, only accounts may: addresses that have mined before, and those that
# the operator adds with adit account add.
open_registration = true

[payout]
{wallet}
# The pool's fee in hundredths of a percent.
fee_bp = 100
# How blocks are split. pplns: by each share's part of the network's difficulty when it came. tides: by work, as the
# block's own difficulty measures it. prop: by work since the last block, which strangers can exploit: for closed groups.
# solo: all to the finder. pps, fpps and pps+ pay work whatever is found, out of a reserve that the pool's blocks fill
# (`adit reserve`): pps by the subsidy, fpps with the network's fees of the day, pps+ with the pool's own fees by pplns.
# slice: the subsidy as pplns does, the fees by those of the jobs that shares were found on; each slice of the window gets
# the same part of the fees. slice-weighted: each slice gets fees by the work in it.
scheme = "pplns"
# With slice and slice-weighted, a slice ends at a new block, or when the fees of jobs have grown by this.
# slice_fee_delta_sat = 1000000
# With pplns, tides, slice and pps+, shares count for a block while they are within this many times the network's difficulty.
pplns_window = 8
# Shares are kept until this much newer work lies before them, in the same measure; never less than twice the window.
# keep_shares = 16
# With pps and pps+, work is credited after so many minutes; with fpps by the day (UTC).
credit_minutes = 60
# With fpps, how the network's fees of a day are averaged. plain: over all blocks. trimmed: without the 3 highest and lowest.
fpps_average = "plain"
# A balance is paid out from this many satoshis on.
threshold_sat = 100000
# When new payouts are made: "continuous", "daily 14:00", "weekly mon 14:00" (UTC), "every 6h", or "manual": only by
# adit payout run.
schedule = "continuous"
# Which payouts wait for adit payout approve: "none", "always", or "above" this many satoshis in one transaction.
approval = "none"
# approve_above_sat = 10000000
# Who pays the network's fee for payouts: "pool", or "miners", each by the size of its output.
network_fee = "pool"
# Most payments in one transaction.
max_outputs = 200
# The network's fee aims at confirmation within this many blocks; without an estimate of the node the fallback is
# paid, and never less than the minimum nor more than the maximum (satoshis a virtual byte).
fee_target_blocks = 6
fallback_fee_rate_sat_per_vb = 5
min_fee_rate_sat_per_vb = 1
max_fee_rate_sat_per_vb = 200

[screening]
# The sanctions lists that everybody who is paid is compared with, each in a section of its own: published files that you
# fetch, or a CSV file of your own. While one is missing, empty, not fetched for max_age_hours, or has lost more than a tenth
# of its entries, nothing is paid; mining and crediting go on. Formats: ofac-advanced-xml, ofac-sdn-xml, ofac-sdn-csv (with
# comments_file), eu-fsf-xml, uk-csv, supplement.
{list}

[export]
# The rules by which coin that leaves is valued and reported: a profile that comes with the pool, or a TOML file of yours.
profile = "neutral"
# The key by which what you note about owners of addresses is sealed.
party_key_file = "{PARTY_KEY_FILE}"

[store]
# The books: shares, accounts, blocks, payouts, exports. Keep copies of it: adit store backup FILE.
path = "{DATA_DIR}/adit.sqlite"
# Instead of the file, a PostgreSQL database: its URL with the password in a file of mode 0600, or in ADIT__STORE__URL...
# url_file = "store.url"
# ...or here, if there is no password in it.
# url = "postgres://adit@localhost/adit"
"#
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{NETWORKS, WalletConfig, settings::KEYS};

    fn new_pool(dir: &Path, network: Network) -> NewPool {
        NewPool {
            network,
            dir: dir.to_owned(),
            bitcoind_url: None,
            cookie_file: Some(dir.join("a \"quoted\" cookie")),
            listen: None,
            public_host: None,
            watch_only: None,
        }
    }

    #[test]
    fn what_init_writes_is_a_valid_config_on_every_network() {
        for (_, network) in NETWORKS {
            let dir = tempfile::tempdir().unwrap();
            let created = init(&new_pool(dir.path(), network)).unwrap();
            let config = Config::load_with(&created.config_file, []).unwrap();
            assert_eq!(config.network, network);
            assert_eq!(config.stratum.authority_key().unwrap().public_key(), created.authority);
            config.payout.wallet.read(network).unwrap();
            assert!(config.stratum.min_difficulty <= config.stratum.initial_difficulty);
            assert!(config.bitcoind.credentials.read().unwrap_err().to_string().contains("a \"quoted\" cookie"));
        }
    }

    #[test]
    fn comments_and_defaults_agree_with_the_config() {
        let dir = tempfile::tempdir().unwrap();
        let pool = new_pool(dir.path(), Network::Bitcoin);
        let text = config_text(&pool, None).unwrap();
        for key in KEYS.iter().filter(|key| **key != "bitcoind.password") {
            let name = key.rsplit('.').next().unwrap();
            let said = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
            assert!(said, "{key} is not in the config file");
        }
        init(&pool).unwrap();
        let written = Config::load_with(&dir.path().join(CONFIG_FILE), []).unwrap();
        let short = dir.path().join("short.toml");
        let cookie = quoted(pool.cookie_file.unwrap().to_str().unwrap());
        let list = list_text(Network::Bitcoin);
        let smallest = format!(
            "network = \"mainnet\"\n[bitcoind]\nurl = \"http://127.0.0.1:8332\"\ncookie_file = {cookie}\n{list}\n\
             [export]\nparty_key_file = \"{PARTY_KEY_FILE}\"\n"
        );
        fs::write(&short, smallest).unwrap();
        let defaults = Config::load_with(&short, []).unwrap();
        assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let created = init(&new_pool(dir.path(), Network::Regtest)).unwrap();
        for (file, mode) in [
            (&created.authority_key_file, 0o600),
            (created.wallet_key_file.as_ref().unwrap(), 0o600),
            (&dir.path().join(DATA_DIR), 0o700),
        ] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, mode, "{}", file.display());
        }
    }

    #[test]
    fn existing_files_are_not_overwritten() {
        for name in [CONFIG_FILE, AUTHORITY_KEY_FILE, WALLET_KEY_FILE] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "precious").unwrap();
            let said = init(&new_pool(dir.path(), Network::Regtest)).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains("exists already"), "{said}");
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "precious");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something else was written");
        }
    }

    #[test]
    fn values_that_make_no_config_leave_no_keys_behind() {
        let dir = tempfile::tempdir().unwrap();
        let pool = NewPool { bitcoind_url: Some("127.0.0.1:8332".to_owned()), ..new_pool(dir.path(), Network::Signet) };
        let said = init(&pool).unwrap_err().to_string();
        assert!(said.contains("bitcoind.url"), "{said}");
        let pool = NewPool { bitcoind_url: None, ..pool };
        init(&pool).unwrap();
    }

    #[test]
    fn pool_without_a_key_has_both_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let key = WalletKey::create(&dir.path().join("cold.key"), Network::Regtest).unwrap();
        let public = key.watch_only().unwrap();
        let bare = public.external().split('#').next().unwrap().to_owned();
        let watching = |external: String| {
            let watch_only = Some(Descriptors { external, change: public.internal() });
            NewPool { watch_only, ..new_pool(&dir.path().join("pool"), Network::Regtest) }
        };
        let said = init(&watching(bare.replace("/0/*", "/0'/*"))).unwrap_err().to_string();
        assert!(said.contains("hardened step"), "{said}");
        let created = init(&watching(bare)).unwrap();
        assert!(created.wallet_key_file.is_none() && !dir.path().join("pool").join(WALLET_KEY_FILE).exists());
        assert!(!created.to_string().contains("wallet.key"), "{created}");
        let config = Config::load_with(&created.config_file, []).unwrap();
        let WalletConfig::WatchOnly(read) = config.payout.wallet else { panic!("there is a key") };
        assert_eq!(*read, public);
    }

    #[test]
    fn operator_is_told_the_miner_url() {
        let dir = tempfile::tempdir().unwrap();
        let pool =
            NewPool { public_host: Some("pool.example.org".to_owned()), ..new_pool(dir.path(), Network::Regtest) };
        let created = init(&pool).unwrap();
        let url = format!("stratum2+tcp://pool.example.org:34254/{}", created.authority);
        assert!(created.to_string().contains(&url), "{created}");
    }
}
