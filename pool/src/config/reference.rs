//! What each setting is, for `docs/config.md`, and which of them a running pool can take up.
//!
//! Defaults do not stand here: they are read off a configuration that sets nothing. Tests hold that every setting has its
//! line, and that the committed page is what the code makes of them.

use super::settings::{KEYS, NAMED};

/// When a changed value has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At a reload.
    Live,
    /// At a reload, for connections that begin after it.
    NewConnections,
    /// At the next start.
    Restart,
}

impl Effect {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "reload",
            Self::NewConnections => "reload, for new connections",
            Self::Restart => "restart",
        }
    }
}

/// What there is to say of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The key. `NAME` stands for what the operator calls the section.
    pub key: &'static str,
    /// What its value is.
    pub kind: &'static str,
    /// When a change has its effect.
    pub effect: Effect,
    /// What it does.
    pub meaning: &'static str,
}

/// The reference of a setting; of one in a section that the operator has named, that of all of its kind.
pub fn find(key: &str) -> Option<&'static Reference> {
    let general = NAMED.iter().find_map(|(above, _)| {
        let (_, setting) = key.strip_prefix(above)?.strip_prefix('.')?.split_once('.')?;
        Some(format!("{above}.NAME.{setting}"))
    });
    let key = general.as_deref().unwrap_or(key);
    REFERENCES.iter().find(|reference| reference.key == key)
}

/// All keys, with `NAME` for the names of sections, in the order of the page.
pub fn all_keys() -> impl Iterator<Item = String> {
    let named =
        NAMED.iter().flat_map(|(above, settings)| settings.iter().map(move |key| format!("{above}.NAME.{key}")));
    KEYS.iter().map(|key| (*key).to_owned()).chain(named)
}

const fn of(key: &'static str, kind: &'static str, effect: Effect, meaning: &'static str) -> Reference {
    Reference { key, kind, effect, meaning }
}

use Effect::{Live, NewConnections, Restart};

const REFERENCES: &[Reference] = &[
    of(
        "network",
        "network",
        Restart,
        "The network whose blocks are mined: mainnet, testnet4, signet or regtest. Required.",
    ),
    of("data_dir", "path", Restart, "The folder of everything that the pool writes. It must exist."),
    of("log", "filter", Live, "Which log lines are written: error, warn, info, debug or trace, also by module."),
    of("bitcoind.url", "URL", Restart, "The node's RPC address, http://host:port. Required."),
    of("bitcoind.cookie_file", "path", Restart, "The file in which bitcoind leaves a new password at each start."),
    of("bitcoind.user", "text", Restart, "Instead of the cookie: a user of rpcauth."),
    of("bitcoind.password_file", "path", Restart, "The user's password, in a file of mode 0600."),
    of("bitcoind.password", "secret", Restart, "The user's password. Only in the environment."),
    of("bitcoind.template_refresh_seconds", "integer, 5 to 30", Restart, "How often miners get new work at least."),
    of("stratum.listen", "address:port", Restart, "Where miners are heard."),
    of(
        "stratum.public_host",
        "host or host:port",
        Restart,
        "How miners reach this machine, for the URL that they are given.",
    ),
    of("stratum.authority_key_file", "path", Restart, "The key that miners know the pool by, in a file of mode 0600."),
    of(
        "stratum.certificate_validity_hours",
        "integer, 1 to 8760",
        Restart,
        "How long a certificate of the pool is valid.",
    ),
    of("stratum.server_id", "integer, 0 to 65535", Restart, "Tells apart the servers of one pool."),
    of("stratum.max_connections", "integer, 1 to 1000000", Live, "Most connections at a time."),
    of(
        "stratum.max_channels_per_connection",
        "integer, 1 to 100000",
        NewConnections,
        "Most channels of one connection. A translator opens one for each of its miners.",
    ),
    of(
        "stratum.shares_per_minute",
        "integer, 1 to 600000000",
        NewConnections,
        "Difficulty follows each channel's hash rate to so many shares.",
    ),
    of(
        "stratum.initial_difficulty",
        "power of two",
        NewConnections,
        "The difficulty of a new channel whose hash rate is not known: a number or \"2^n\".",
    ),
    of("stratum.min_difficulty", "power of two", NewConnections, "The least difficulty of any channel."),
    of("stratum.pool_tag", "text", Restart, "What the pool writes into its blocks."),
    of(
        "stratum.job_ahead",
        "true or false",
        Restart,
        "Whether miners turn to a new tip before the node's template is there.",
    ),
    of(
        "stratum.supported_extensions",
        "list",
        Restart,
        "Extensions of the protocol that miners may use, by number or name.",
    ),
    of("stratum.required_extensions", "list", Restart, "Extensions without which miners are sent away."),
    of(
        "limits.connections_per_address",
        "integer, 1 to 1000000",
        Live,
        "Connections of one address at a time (IPv6: one /64).",
    ),
    of("limits.handshakes", "integer, 1 to 1000000", Live, "Connections at a time that are not set up yet."),
    of("limits.handshakes_per_address", "integer, 1 to 1000000", Live, "The same, of one address."),
    of(
        "limits.unlimited_addresses",
        "list of networks",
        Live,
        "Addresses that have no bounds of their own and are never banned: known farms and proxies.",
    ),
    of(
        "limits.messages_per_second",
        "integer, 1 to 10000000",
        NewConnections,
        "Messages of one connection; to open or change a channel counts as ten.",
    ),
    of("limits.bytes_per_second", "integer, 1024 to 1000000000", NewConnections, "Bytes of one connection."),
    of("limits.frame_bytes", "integer, 4096 to 16777215", Restart, "The longest payload of a frame."),
    of(
        "limits.idle_seconds",
        "integer, 15 to 3600",
        NewConnections,
        "How long a connection may stay without a channel.",
    ),
    of(
        "limits.shares_per_job",
        "integer, 1 to 4294967295",
        NewConnections,
        "Shares of one channel for one job that are remembered to find duplicates; more are refused.",
    ),
    of(
        "limits.invalid_shares",
        "integer, 1 to 1000000",
        NewConnections,
        "So many more invalid shares than valid ones within ten minutes close a connection.",
    ),
    of(
        "limits.ban_seconds",
        "integer, 0 to 86400",
        Live,
        "How long an address is banned after three such ends; 0 for never.",
    ),
    of(
        "api.listen",
        "address:port",
        Restart,
        "Where operators are heard: the admin API, its documentation and /metrics.",
    ),
    of(
        "api.tls_certificate",
        "path",
        Restart,
        "A certificate in PEM. Without it the API speaks plain HTTP. The file is read again at each reload: a renewed \
        certificate is shown to new connections.",
    ),
    of(
        "api.tls_key",
        "path",
        Restart,
        "The certificate's secret key in PEM, in a file of mode 0600. It is read again with the certificate.",
    ),
    of(
        "api.allow_plaintext_beyond_loopback",
        "true or false",
        Restart,
        "Whether plain HTTP may be heard on an address that others reach: for a proxy that encrypts.",
    ),
    of(
        "api.requests_per_second",
        "integer, 1 to 100000",
        Restart,
        "Requests of one address (IPv6: one /64), with as many at once.",
    ),
    of("accounts.open_registration", "true or false", Restart, "Whether any address may mine, or accounts only."),
    of("payout.wallet_key_file", "path", Restart, "The key to the pool's coins, in a file of mode 0600."),
    of(
        "payout.watch_only_descriptor",
        "descriptor",
        Restart,
        "Instead of the key: the public descriptor for coinbases (BIP 380).",
    ),
    of("payout.watch_only_change_descriptor", "descriptor", Restart, "The public descriptor for change."),
    of("payout.fee_bp", "integer, 0 to 10000", Restart, "The pool's fee in hundredths of a percent."),
    of(
        "payout.scheme",
        "name",
        Restart,
        "How blocks are split: pplns, tides, prop, solo, pps, fpps, pps+, slice or slice-weighted.",
    ),
    of("payout.slice_fee_delta_sat", "satoshis", Restart, "With slice: by how much fees grow until a slice ends."),
    of(
        "payout.pplns_window",
        "integer, 1 to 1000",
        Restart,
        "The window in multiples of the network's difficulty. On regtest it may be up to 4294967295.",
    ),
    of(
        "payout.keep_shares",
        "integer, 0 to 4294967295",
        Restart,
        "How much work is kept at least, in the same measure.",
    ),
    of(
        "payout.credit_minutes",
        "integer, 1 to 1440",
        Restart,
        "With pps and pps+: how long work is gathered for one credit.",
    ),
    of("payout.fpps_average", "plain or trimmed", Restart, "With fpps: how the network's fees of a day are averaged."),
    of("payout.threshold_sat", "integer, 1000 to 100000000", Live, "The balance from which an account is paid."),
    of("payout.schedule", "schedule", Live, "continuous, daily HH:MM, weekly DAY HH:MM (UTC), every Nh, or manual."),
    of("payout.approval", "none, always or above", Live, "Which new payouts wait for adit payout approve."),
    of(
        "payout.approve_above_sat",
        "satoshis",
        Live,
        "With approval = \"above\": from which sum of one transaction on.",
    ),
    of("payout.network_fee", "pool or miners", Live, "Who pays the network for new payouts."),
    of("payout.max_outputs", "integer, 1 to 2000", Live, "Most payments in one transaction."),
    of("payout.fee_target_blocks", "integer, 1 to 1008", Live, "Within how many blocks payouts should confirm."),
    of("payout.min_fee_rate_sat_per_vb", "integer, 1 to 10000", Live, "The least fee rate, satoshis a virtual byte."),
    of(
        "payout.fallback_fee_rate_sat_per_vb",
        "integer, 1 to 10000",
        Live,
        "The fee rate when the node has no estimate.",
    ),
    of("payout.max_fee_rate_sat_per_vb", "integer, 1 to 10000", Live, "The greatest fee rate."),
    of(
        "export.profile",
        "name or path",
        Restart,
        "By which rules coin is valued and reported: a shipped profile, or a TOML file.",
    ),
    of(
        "export.party_key_file",
        "path",
        Restart,
        "The key that seals what is noted about owners, in a file of mode 0600.",
    ),
    of("store.path", "path", Restart, "The SQLite file of the books."),
    of("store.url", "URL", Restart, "Instead of it: a PostgreSQL database. With a password only in the environment."),
    of("store.url_file", "path", Restart, "The URL in a file of mode 0600."),
    of("bitcoind.backup.NAME.url", "URL", Restart, "A further node, used when those before it fail. At most 8."),
    of("bitcoind.backup.NAME.cookie_file", "path", Restart, "As of [bitcoind]."),
    of("bitcoind.backup.NAME.user", "text", Restart, "As of [bitcoind]."),
    of("bitcoind.backup.NAME.password_file", "path", Restart, "As of [bitcoind]."),
    of("bitcoind.backup.NAME.password", "secret", Restart, "As of [bitcoind]. Only in the environment."),
    of(
        "screening.lists.NAME.format",
        "name",
        Live,
        "How a list's file is written: ofac-advanced-xml, ofac-sdn-xml, ofac-sdn-csv, eu-fsf-xml, uk-csv or supplement.",
    ),
    of("screening.lists.NAME.file", "path", Live, "The list's file. It is read again whenever it changes."),
    of("screening.lists.NAME.comments_file", "path", Live, "With ofac-sdn-csv: the file of its comments."),
    of(
        "screening.lists.NAME.max_age_hours",
        "integer, 1 to 87840",
        Live,
        "How long ago the file may have been fetched.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_reference_in_the_order_of_the_config_file() {
        let referenced: Vec<_> = REFERENCES.iter().map(|reference| reference.key.to_owned()).collect();
        assert_eq!(referenced, all_keys().collect::<Vec<_>>());
        for reference in REFERENCES {
            assert!(reference.meaning.ends_with('.') && !reference.meaning.contains('|'), "{}", reference.key);
        }
    }

    #[test]
    fn settings_of_named_sections_have_the_reference_of_their_kind() {
        let list = find("screening.lists.ofac_sdn.max_age_hours").map(|reference| reference.key);
        assert_eq!(list, Some("screening.lists.NAME.max_age_hours"));
        assert_eq!(find("payout.fee_bp").map(|reference| reference.effect), Some(Restart));
        assert!(find("payout.fee_pb").is_none());
    }
}
