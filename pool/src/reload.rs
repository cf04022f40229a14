//! Taking up a changed configuration while the pool runs: what can change live is applied, what cannot is named, and a
//! file that is wrong changes nothing.
//!
//! Owns the settings that are in force. Which of them can change live is said by [`crate::config::reference`].

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::anyhow;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{
    api::certificate::{ApiCertificate, Identity},
    config::{
        Config, ConfigError,
        api::TLS_CERTIFICATE,
        effective::{Effective, EffectiveSettings, MASK},
        reference::{self, Effect},
        settings::Settings,
        shown::ShownSettings,
    },
    descriptors,
    screening::ListReader,
    stratum::{
        addresses::{AddressLimits, Addresses},
        upstream::Terms,
    },
};

/// Has log lines chosen by another filter; an error says why not.
pub type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// A configuration with what is needed to read it again.
#[derive(Clone, Debug)]
pub struct Loaded {
    file: PathBuf,
    /// The configuration.
    pub config: Config,
    values: EffectiveSettings,
    shown: ShownSettings,
}

impl Loaded {
    /// Reads a config file, with this process's environment over it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, a key is unknown, or a value is wrong.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let settings = Settings::read(file, std::env::vars_os())?;
        let config = Config::from_settings(&settings)?;
        let values = EffectiveSettings::of(&settings, &config);
        let shown = ShownSettings::of(file, &settings, &values);
        Ok(Self { file: file.to_owned(), config, values, shown })
    }
}

/// A setting whose value differs from the one in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value in force, or that was.
    pub from: String,
    /// The new value.
    pub to: String,
    /// When it has its effect, in words.
    pub effect: String,
}

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReloadReport {
    /// Whether nothing was applied, because only a report was wanted.
    pub dry_run: bool,
    /// What is in force now, or would be.
    pub applied: Vec<Change>,
    /// What stays as it was until the pool is started again.
    pub needs_restart: Vec<Change>,
}

/// Why nothing was reloaded. What was in force still is.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}; nothing was changed, the old settings stay in force")]
pub struct NotReloaded(anyhow::Error);

/// Where live settings have their effect.
pub(crate) struct Outlets {
    /// The log.
    pub(crate) set_log: SetLog,
    /// What addresses may cost.
    pub(crate) addresses: Arc<Addresses>,
    /// What is told to each new connection.
    pub(crate) terms: watch::Sender<Arc<Terms>>,
    /// Payments and the lists that they are screened by.
    pub(crate) payments: watch::Sender<Arc<Config>>,
    /// What clients of the API are shown, if they are shown one.
    pub(crate) certificate: Option<ApiCertificate>,
}

/// The settings in force, and the way to others.
pub struct Reloader {
    in_force: Mutex<Loaded>,
    /// Held by the one who reads files, which may take its time. Whoever asks what is in force does not wait for that.
    reading: Mutex<()>,
    file: PathBuf,
    outlets: Outlets,
}

impl Reloader {
    pub(crate) fn new(in_force: Loaded, outlets: Outlets) -> Self {
        Self { file: in_force.file.clone(), in_force: Mutex::new(in_force), reading: Mutex::default(), outlets }
    }

    /// Reads the config file again, and the API's certificate, and applies what can change live; with `dry_run` nothing.
    ///
    /// It blocks for as long as the files take; callers wait for each other. Nothing is asked of the network, and with
    /// `dry_run` nothing is written anywhere.
    ///
    /// # Errors
    ///
    /// When the file is wrong, the certificate or its key cannot be used, or there would be no list to screen payments by.
    /// Then nothing has changed.
    pub fn reload(&self, dry_run: bool) -> Result<ReloadReport, NotReloaded> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Loaded::read(&self.file).map_err(|error| NotReloaded(error.into()))?;
        let renewed = self.renewed_certificate().map_err(NotReloaded)?;
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounds and defaults hang on the network: what is right for another is not right for this one.
        if new.config.network != in_force.config.network {
            return Err(NotReloaded(anyhow!("a running pool cannot change its network")));
        }
        ListReader::new(&new.config.lists, &in_force.config.export.profile).map_err(NotReloaded)?;
        let mut report = ReloadReport { dry_run, ..ReloadReport::default() };
        for change in changes(&in_force.values, &new.values) {
            let list = if change.0 == Effect::Restart { &mut report.needs_restart } else { &mut report.applied };
            list.push(change.1);
        }
        if !dry_run && !report.applied.is_empty() {
            in_force.take_live(new);
            self.apply(&in_force.config).map_err(NotReloaded)?;
        }
        if let Some((certificate, renewed)) = renewed {
            report.applied.push(Change {
                key: TLS_CERTIFICATE.to_owned(),
                from: certificate.to_string(),
                to: renewed.to_string(),
                effect: Effect::NewConnections.as_str().to_owned(),
            });
            if !dry_run {
                certificate.replace(renewed);
            }
        }
        Ok(report)
    }

    /// Returns the certificate in force and what its files hold by now, if that is another one.
    fn renewed_certificate(&self) -> anyhow::Result<Option<(&ApiCertificate, Identity)>> {
        let files = self.in_force.lock().unwrap_or_else(PoisonError::into_inner).config.api.tls.clone();
        let (Some(certificate), Some(files)) = (&self.outlets.certificate, files) else { return Ok(None) };
        Ok(certificate.read_again(&files, Timestamp::now())?.map(|renewed| (certificate, renewed)))
    }

    /// Returns the settings in force, with where each came from.
    pub fn settings(&self) -> ShownSettings {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).shown.clone()
    }

    /// Reloads and tells the log what came of it.
    pub fn reload_and_tell(&self) {
        match self.reload(false) {
            Ok(report) => report.tell(),
            Err(error) => error!("the configuration was not reloaded: {error}"),
        }
    }

    fn apply(&self, config: &Config) -> anyhow::Result<()> {
        let Outlets { set_log, addresses, terms, payments, certificate: _ } = &self.outlets;
        // Its words were checked when the file was read.
        set_log(&config.log).map_err(anyhow::Error::msg)?;
        addresses.set_limits(AddressLimits::of(config, descriptors::fit(config.stratum.max_connections)));
        terms.send_replace(Arc::new(Terms::of(config)));
        payments.send_replace(Arc::new(config.clone()));
        Ok(())
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl ReloadReport {
    /// Writes what changed to the log.
    pub fn tell(&self) {
        for Change { key, from, to, effect } in &self.applied {
            info!(key, from, to, effect, "setting changed");
        }
        for Change { key, from, to, .. } in &self.needs_restart {
            warn!(key, from, to, "setting differs in the file, and needs a restart");
        }
        info!(applied = self.applied.len(), need_restart = self.needs_restart.len(), "configuration reloaded");
    }
}

impl Loaded {
    /// Takes over what can change live, and leaves the rest.
    fn take_live(&mut self, new: Loaded) {
        let (config, live) = (&mut self.config, new.config);
        config.log = live.log;
        config.lists = live.lists;
        config.stratum.max_connections = live.stratum.max_connections;
        config.stratum.max_channels_per_connection = live.stratum.max_channels_per_connection;
        config.stratum.shares_per_minute = live.stratum.shares_per_minute;
        config.stratum.initial_difficulty = live.stratum.initial_difficulty;
        config.stratum.min_difficulty = live.stratum.min_difficulty;
        config.limits = crate::config::LimitsConfig { frame_bytes: config.limits.frame_bytes, ..live.limits };
        config.payout.threshold = live.payout.threshold;
        config.payout.schedule = live.payout.schedule;
        config.payout.approval = live.payout.approval;
        config.payout.fee_payer = live.payout.fee_payer;
        config.payout.max_outputs = live.payout.max_outputs;
        config.payout.fee_target_blocks = live.payout.fee_target_blocks;
        config.payout.min_fee_rate_sat_per_vb = live.payout.min_fee_rate_sat_per_vb;
        config.payout.fallback_fee_rate_sat_per_vb = live.payout.fallback_fee_rate_sat_per_vb;
        config.payout.max_fee_rate_sat_per_vb = live.payout.max_fee_rate_sat_per_vb;
        self.values.take(&new.values, |key| effect(key) != Effect::Restart);
        self.shown.take(new.shown, |key| effect(key) != Effect::Restart);
    }
}

fn effect(key: &str) -> Effect {
    reference::find(key).map_or(Effect::Restart, |reference| reference.effect)
}

/// What differs, in the order of the config file, each with when it has its effect.
fn changes(old: &EffectiveSettings, new: &EffectiveSettings) -> Vec<(Effect, Change)> {
    let gone = old.iter().filter(|(key, _)| new.value(key).is_none());
    let keys = new.iter().chain(gone).map(|(key, _)| key);
    let differing =
        keys.filter(|key| old.value(key).unwrap_or(&Effective::Unset) != new.value(key).unwrap_or(&Effective::Unset));
    let change = |key: &'static str| {
        let [from, to] = [old, new].map(|values| text(values.value(key)));
        let effect = effect(key);
        (effect, Change { key: key.to_owned(), from, to, effect: effect.as_str().to_owned() })
    };
    differing.map(change).collect()
}

fn text(value: Option<&Effective>) -> String {
    match value {
        None | Some(Effective::Unset) => "-".to_owned(),
        Some(Effective::Is(value)) => value.to_string(),
        Some(Effective::Secret) => MASK.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs,
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        api::{
            ApiPort,
            certificate::tests::{connect, issue, issue_until},
        },
        config::{ApiConfig, tests::SMALLEST},
    };

    const LIST: &str = "[screening.lists.ofac_sdn]\nformat = \"supplement\"\nfile = \"own.csv\"\n";

    struct Pool {
        dir: TempDir,
        reloader: Reloader,
        terms: watch::Receiver<Arc<Terms>>,
        payments: watch::Receiver<Arc<Config>>,
        logs: Arc<Mutex<Vec<String>>>,
    }

    impl Pool {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("adit.toml");
            fs::write(&file, format!("{SMALLEST}{LIST}")).unwrap();
            let loaded = Loaded::read(&file).unwrap();
            let (terms_sender, terms) = watch::channel(Arc::new(Terms::of(&loaded.config)));
            let (payments_sender, payments) = watch::channel(Arc::new(loaded.config.clone()));
            let logs = Arc::new(Mutex::new(Vec::new()));
            let written = Arc::clone(&logs);
            let outlets = Outlets {
                set_log: Box::new(move |filter| {
                    written.lock().unwrap().push(filter.to_owned());
                    Ok(())
                }),
                addresses: Arc::new(Addresses::new(AddressLimits::of(&loaded.config, 1))),
                terms: terms_sender,
                payments: payments_sender,
                certificate: None,
            };
            Self { dir, reloader: Reloader::new(loaded, outlets), terms, payments, logs }
        }

        fn write(&self, text: &str) {
            fs::write(self.dir.path().join("adit.toml"), text).unwrap();
        }
    }

    fn keys(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.key.as_str()).collect()
    }

    #[test]
    fn live_settings_are_applied_and_the_others_named_each_time() {
        let pool = Pool::new();
        let text = SMALLEST.replace("data_dir", "log = \"debug\"\ndata_dir") + LIST;
        let text = text + "[payout]\nthreshold_sat = 5000\nfee_bp = 7\n[limits]\nidle_seconds = 99\n";
        pool.write(&text);
        let dry = pool.reloader.reload(true).unwrap();
        assert!(!pool.payments.has_changed().unwrap() && pool.logs.lock().unwrap().is_empty());
        let report = pool.reloader.reload(false).unwrap();
        assert_eq!(dry, ReloadReport { dry_run: true, ..report.clone() });
        assert_eq!(keys(&report.applied), ["log", "limits.idle_seconds", "payout.threshold_sat"]);
        assert_eq!(report.applied[1].effect, "reload, for new connections");
        assert_eq!(keys(&report.needs_restart), ["payout.fee_bp"]);
        assert_eq!((&*report.applied[2].from, &*report.applied[2].to), ("100000", "5000"));
        assert_eq!(pool.terms.borrow().limits.idle.as_secs(), 99);
        let payments = pool.payments.borrow();
        assert_eq!((payments.payout.threshold.to_sat(), payments.payout.fee_bp), (5_000, 100));
        assert_eq!(*pool.logs.lock().unwrap(), ["debug"]);
        // What needs a restart is said again, and what was applied is not.
        let again = pool.reloader.reload(false).unwrap();
        assert_eq!((again.applied.len(), keys(&again.needs_restart)), (0, vec!["payout.fee_bp"]));
    }

    #[test]
    fn wrong_file_changes_nothing() {
        let pool = Pool::new();
        for (text, words) in [
            (format!("{SMALLEST}{LIST}[limits]\nidle_secs = 99\n"), "limits.idle_seconds"),
            (format!("{SMALLEST}{LIST}[limits]\nidle_seconds = 1\n"), "15 to 3600"),
            ("[".to_owned(), "is not valid TOML: line 1"),
            (format!("{SMALLEST}{LIST}").replace("regtest", "signet"), "cannot change its network"),
            (SMALLEST.to_owned().replace("data_dir", "export.profile = \"nowhere\"\ndata_dir"), "nowhere"),
        ] {
            pool.write(&text);
            let said = pool.reloader.reload(false).unwrap_err().to_string();
            assert!(said.contains(words) && said.ends_with("the old settings stay in force"), "{said}");
            assert!(!pool.terms.has_changed().unwrap() && !pool.payments.has_changed().unwrap());
        }
        pool.write(&format!("{SMALLEST}{LIST}"));
        assert_eq!(pool.reloader.reload(false).unwrap(), ReloadReport::default());
    }

    #[test]
    fn whoever_asks_what_is_in_force_does_not_wait_for_a_slow_file() {
        let pool = Pool::new();
        let file = pool.dir.path().join("adit.toml");
        fs::remove_file(&file).unwrap();
        mkfifo(&file, Mode::S_IRWXU).unwrap();
        thread::scope(|scope| {
            let reloading = scope.spawn(|| pool.reloader.reload(true));
            thread::sleep(Duration::from_millis(50));
            let (told, answer) = mpsc::channel();
            scope.spawn(|| {
                let told = told;
                told.send(pool.reloader.settings()).unwrap();
            });
            let answer = answer.recv_timeout(Duration::from_secs(5));
            assert!(!reloading.is_finished());
            pool.write(&format!("{SMALLEST}{LIST}"));
            assert_eq!(reloading.join().unwrap().unwrap(), ReloadReport { dry_run: true, ..ReloadReport::default() });
            assert!(answer.is_ok(), "it waited");
        });
    }

    /// Every setting that is said to change live does, and no other.
    #[test]
    fn what_is_said_to_change_live_does() {
        let pool = Pool::new();
        let settings = "log = \"warn\"\n[stratum]\nlisten = \"127.0.0.1:5\"\npublic_host = \"h\"\nserver_id = 3\n\
            certificate_validity_hours = 30\nmax_connections = 5\nmax_channels_per_connection = 6\nshares_per_minute = 9\n\
            initial_difficulty = \"2^-3\"\nmin_difficulty = \"2^-4\"\npool_tag = \"x\"\njob_ahead = false\n\
            supported_extensions = []\n\
            [limits]\nconnections_per_address = 2\nhandshakes = 3\nhandshakes_per_address = 4\nunlimited_addresses = []\n\
            messages_per_second = 5\nbytes_per_second = 2000\nframe_bytes = 5000\nidle_seconds = 16\nshares_per_job = 7\n\
            invalid_shares = 8\nban_seconds = 9\n[accounts]\nopen_registration = false\n\
            [payout]\nfee_bp = 1\nscheme = \"solo\"\nslice_fee_delta_sat = 2\npplns_window = 3\nkeep_shares = 4\n\
            credit_minutes = 5\nfpps_average = \"trimmed\"\nthreshold_sat = 6000\nschedule = \"manual\"\n\
            approval = \"above\"\napprove_above_sat = 7\nnetwork_fee = \"miners\"\nmax_outputs = 8\nfee_target_blocks = 9\n\
            min_fee_rate_sat_per_vb = 10\nfallback_fee_rate_sat_per_vb = 11\nmax_fee_rate_sat_per_vb = 12\n\
            [screening.lists.other]\nformat = \"supplement\"\nfile = \"other.csv\"\nmax_age_hours = 3\n";
        let (top, sections) = settings.split_once('\n').unwrap();
        let text = SMALLEST.replace("data_dir", &format!("{top}\ndata_dir"));
        pool.write(&format!("{text}template_refresh_seconds = 7\n{LIST}{sections}"));
        let report = pool.reloader.reload(false).unwrap();
        let in_force = pool.reloader.in_force.lock().unwrap();
        // What is in force is what the checked configuration says, not only what the list of values says.
        let (_, settings) = (pool.dir.path(), Settings::read(&in_force.file, []).unwrap());
        let works = EffectiveSettings::of(&settings, &in_force.config);
        for change in &report.applied {
            assert_eq!(text_of(&works, &change.key), change.to, "{}", change.key);
        }
        for change in &report.needs_restart {
            assert_eq!(text_of(&works, &change.key), change.from, "{}", change.key);
        }
        let said = keys(&report.applied);
        for key in reference::all_keys().filter(|key| effect(key) != Effect::Restart && !key.contains("NAME")) {
            assert!(said.contains(&key.as_str()), "{key} was not changed");
        }
        assert!(said.contains(&"screening.lists.other.max_age_hours"));
        let address = "192.0.2.1".parse().unwrap();
        let now = Instant::now();
        let places = [(); 3].map(|()| pool.reloader.outlets.addresses.admit(address, now));
        assert!(places[1].is_ok() && places[2].is_err(), "two connections of an address");
    }

    #[tokio::test]
    async fn renewed_certificate_is_shown_to_new_connections_and_a_bad_one_never() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = issue(folder.path());
        let api = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls: Some(files.clone()), requests_per_second: 1 };
        let port = ApiPort::open(&api).await.unwrap();
        let mut pool = Pool::new();
        pool.write(&format!("{SMALLEST}{LIST}"));
        pool.reloader.outlets.certificate = port.certificate().cloned();
        pool.reloader.in_force.get_mut().unwrap().config.api.tls = Some(files.clone());
        let address = port.address().unwrap();
        let (_draining, drained) = watch::channel(false);
        tokio::spawn(port.serve(axum::Router::new(), drained));
        let mut open = connect(address, first.clone()).await.unwrap();
        assert_eq!(pool.reloader.reload(false).unwrap(), ReloadReport::default(), "the same is no change");

        fs::write(&files.key, "no key").unwrap();
        let said = pool.reloader.reload(false).unwrap_err().to_string();
        assert!(said.contains("api.key holds no key") && said.ends_with("the old settings stay in force"), "{said}");
        connect(address, first.clone()).await.unwrap();

        let (_, second) = issue_until(folder.path(), 3000);
        let dry = pool.reloader.reload(true).unwrap();
        connect(address, first.clone()).await.unwrap();
        let report = pool.reloader.reload(false).unwrap();
        assert_eq!((&dry.applied, keys(&report.applied)), (&report.applied, vec!["api.tls_certificate"]));
        assert_eq!(report.applied[0].to, "valid until 3000-01-01T00:00:00Z");
        connect(address, second).await.unwrap();
        assert!(connect(address, first).await.is_err(), "the old one is shown to nobody any more");
        assert_eq!(pool.reloader.reload(false).unwrap(), ReloadReport::default());
        // Who was there before is still served.
        open.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        open.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
    }

    fn text_of(values: &EffectiveSettings, key: &str) -> String {
        text(values.value(key))
    }
}
