//! `adit export`: the register of coin that left the pool, what it was worth, and its reports. Arguments, and what is
//! printed; the work is that of [`payouts::export`].

mod periods;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use payouts::{
    export::{
        bookkeeping::{self, VerifiedExports, Wanted},
        journal::JournalSeq,
        owner,
        party::Vault,
        report::{
            blocked_property::BLOCKED_PROPERTY_FILE,
            manifest::{MANIFEST_BYTES, MANIFEST_FILE, Manifest},
            travel_rule::TRAVEL_RULE_FILE,
        },
        rules::{
            period::Period,
            price_files::{PriceFile, RateFile},
            prices::PriceBook,
            profile::CountryProfile,
        },
    },
    store::Store,
};

pub use self::periods::{CloseArguments, DeclareArguments, PeriodsArguments, closed, declared};
use super::{
    ConfigArguments, ListArguments, books,
    exit::example,
    request,
    table::{Align, Table},
    value,
};
use crate::{
    config::Config,
    register::{Gathered, Made, Opened, SOFTWARE, Wish},
    store,
};

/// Rows of the journal that are read at a time.
const JOURNAL_PAGE: u32 = 1_000;
/// What the files of a CARF draft and of the sales, which name buyers, begin with.
const NAMING_PREFIXES: [&str; 2] = ["carf_", "export_sales_"];

/// What to do with the export register.
#[derive(Clone, Debug, Subcommand)]
pub enum ExportCommand {
    /// Print the latest records: each payment, with the coinbases that it came from
    #[command(after_help = example("adit export list --last 20"))]
    List(ListArguments),
    /// Value what was received, from files of prices and rates, and put that on record; the pool may be running
    #[command(after_help = example("adit export value --prices btc-usd-2026-10.csv --rates bank-2026-10.csv"))]
    Value(ValueArguments),
    /// Write the reports of a period to a new folder
    #[command(after_help = example("adit export report --profile my-country.toml --period 2026-10 --out reports-2026-10"))]
    Report(ReportArguments),
    /// Recompute the register, its journal and every value on record; with a folder, also its reports
    #[command(after_help = example("adit export verify --dir reports-2026-10"))]
    Verify(VerifyArguments),
    /// Put on record that the reports in a folder were declared, once they are verified; again for an amended return
    #[command(after_help = request::example(
        "adit export declare --dir reports-2026-10 --declaration 2026/10-1 --authority \"Tax Office\" --by alice"
    ))]
    Declare(DeclareArguments),
    /// Close a period that was declared: its reports stay as they are, and later values are corrections in the open period
    #[command(after_help = request::example("adit export close --period 2026-10 --by alice"))]
    Close(CloseArguments),
    /// Print the periods: open, over, overdue, declared or closed, and when their reports are due
    #[command(after_help = example("adit export periods"))]
    Periods(PeriodsArguments),
}

/// By what is valued.
#[derive(Clone, Debug, Args)]
pub struct ValueArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// CSV files with prices: venue,pair,basis,time,price and perhaps revision
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub prices: Vec<PathBuf>,
    /// CSV files with a central bank's rates: source,base,quote,date,rate and perhaps nominal and revision
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub rates: Vec<PathBuf>,
    /// The country profile, a shipped name or a TOML file [default: that of the settings]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
}

/// Which reports, and where to.
#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The country profile, a shipped name or a TOML file [default: that of the settings]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The period: a month, quarter or year, as the profile has them
    #[arg(long, value_name = "2026-10|2026-Q3|2026")]
    pub period: Period,
    /// The folder, new or empty
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}

/// What is recomputed.
#[derive(Clone, Debug, Args)]
pub struct VerifyArguments {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// A folder of reports, which are compared with their manifest and made again
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// The country profile of those reports, if it is neither shipped nor that of the settings
    #[arg(long, value_name = "PROFILE", requires = "dir")]
    pub profile: Option<String>,
}

/// Does what a command asks for, and returns what is printed.
///
/// # Errors
///
/// When a file or the store cannot be read or written, or something is not as it must be.
pub async fn perform(command: ExportCommand) -> anyhow::Result<String> {
    match command {
        ExportCommand::List(arguments) => {
            let config = Config::load(&arguments.config.config)?;
            let store = store::open_read_only(&config.store).await?;
            books::list_exports(&*store, arguments.last, &config.export.profile.id()).await
        }
        ExportCommand::Value(arguments) => value(arguments).await,
        ExportCommand::Report(arguments) => report(arguments).await,
        ExportCommand::Verify(arguments) => verify(arguments).await,
        ExportCommand::Declare(arguments) => periods::declare(arguments).await,
        ExportCommand::Close(arguments) => periods::close(arguments).await,
        ExportCommand::Periods(arguments) => periods::periods(arguments).await,
    }
}

async fn value(arguments: ValueArguments) -> anyhow::Result<String> {
    let ValueArguments { config, prices, rates, profile } = arguments;
    let config = Config::load(&config.config)?;
    let profile = profile_of(&config, profile.as_deref())?;
    let book = book(&prices, &rates)?;
    value::value(&config, &profile, &book).await
}

fn book(prices: &[PathBuf], rates: &[PathBuf]) -> anyhow::Result<PriceBook> {
    let mut book = PriceBook::default();
    for path in prices {
        let file = PriceFile::read(open(path)?).with_context(|| path.display().to_string())?;
        book.add_prices(&file).with_context(|| path.display().to_string())?;
    }
    for path in rates {
        let file = RateFile::read(open(path)?).with_context(|| path.display().to_string())?;
        book.add_rates(&file).with_context(|| path.display().to_string())?;
    }
    Ok(book)
}

async fn report(arguments: ReportArguments) -> anyhow::Result<String> {
    let ReportArguments { config, profile, period, out } = arguments;
    let config = Config::load(&config.config)?;
    let profile = Arc::new(profile_of(&config, profile.as_deref())?);
    let store = store::open_read_only(&config.store).await?;
    let opened = Opened::read(&*store, config.export.party_key()?).await?;
    // All that can be refused is refused before anything is written.
    let wish = Wish { profile: Arc::clone(&profile), period, edition: None };
    let gathered = Gathered::read(&*store, &opened, &wish).await?;
    make_empty(&out)?;
    let mut create = |name: &str| -> io::Result<Box<dyn io::Write>> {
        Ok(Box::new(BufWriter::new(File::create_new(out.join(name))?)))
    };
    let Made { manifest, faults, notes, .. } =
        gathered.write(&mut create).with_context(|| format!("the reports in {} are not whole", out.display()))?;
    let due = profile.due(period);
    let mut text = format!(
        "Wrote {} files and {MANIFEST_FILE} to {}: {period} by profile {}, due {due}.\n",
        manifest.files.len(),
        out.display(),
        profile.id(),
    );
    for note in notes {
        let _ = writeln!(text, "Note: {note}.");
    }
    ensure!(
        faults.is_empty(),
        "the reports are written, but do not reconcile: {}; adit ledger verify tells whether the books are sound",
        faults.join("; ")
    );
    Ok(text)
}

async fn verify(arguments: VerifyArguments) -> anyhow::Result<String> {
    let VerifyArguments { config, dir, profile } = arguments;
    let config = Config::load(&config.config)?;
    let store = store::open_read_only(&config.store).await?;
    let vault = config.export.party_key()?.map(|key| Vault::new(&key));
    let verified = bookkeeping::verify(&*store, vault.as_ref()).await?;
    let mut text = verified_text(&verified);
    if let Some(dir) = dir {
        text.push_str(&verify_dir(&config, &*store, &dir, profile.as_deref()).await?.text);
    }
    Ok(text)
}

fn verified_text(verified: &VerifiedExports) -> String {
    let VerifiedExports { audited, parties, parties_opened, valued, unvalued, declared, closed } = verified;
    let mut table = Table::new([("CHAIN", Align::Left), ("RECORDS", Align::Right), ("LAST HASH", Align::Left)]);
    for (chain, seq, hash) in [
        ("ledger", audited.ledger.seq.get(), audited.ledger.hash),
        ("export register", audited.register.seq.get(), audited.register.hash),
        ("export journal", audited.journal.seq.get(), audited.journal.hash),
    ] {
        table.push([chain.to_owned(), seq.to_string(), hash.to_string()]);
    }
    let parties = match parties_opened {
        true => format!("Parties whose sealed data agrees with the journal: {parties}."),
        false => "Sealed data of parties not compared: export.party_key_file is not set.".to_owned(),
    };
    format!(
        "{table}\nAll records are as they were written. Delivered: {} sat.\nValues worked out again: {valued}; \
         receipts that had no value when they were looked at: {unvalued}.\nDeclarations whose records are there: {declared}; \
         closed periods: {closed}.\n{parties}\n",
        audited.delivered.to_sat(),
    )
}

/// A folder of reports that are those of its manifest, and that the books make again.
struct VerifiedDir {
    /// The manifest's bytes.
    manifest: Vec<u8>,
    profile: CountryProfile,
    /// The files that were not made again, because what is known of parties is not what it was, or sealed.
    not_made_again: Vec<String>,
    text: String,
}

/// Compares the files of a folder with their manifest, and with what the books make of them now.
async fn verify_dir(
    config: &Config,
    store: &dyn Store,
    dir: &Path,
    profile: Option<&str>,
) -> anyhow::Result<VerifiedDir> {
    let mut bytes = Vec::new();
    open(&dir.join(MANIFEST_FILE))?.take(MANIFEST_BYTES).read_to_end(&mut bytes)?;
    let manifest = Manifest::read(bytes.as_slice()).with_context(|| dir.display().to_string())?;
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), open(&entry.path())?));
    }
    let differences: Vec<_> = manifest.verify(files)?.iter().map(ToString::to_string).collect();
    ensure!(
        differences.is_empty(),
        "the files in {} are not those of its manifest: {}",
        dir.display(),
        differences.join("; ")
    );

    let profile = profile_by_hash(config, profile, &manifest)?;
    let opened = Opened::read(store, config.export.party_key()?).await?;
    let wanted = Wanted {
        profile: &profile,
        period: manifest.period.label.parse()?,
        software_version: &manifest.software_version,
        generated_at_ms: manifest.generated_at.parse::<Timestamp>()?.as_millisecond(),
        parties: &opened.parties,
        as_of: Some(manifest.as_of.clone()),
    };
    let mut discard = |_: &str| -> io::Result<Box<dyn io::Write>> { Ok(Box::new(io::sink())) };
    let again = bookkeeping::gather(store, &wanted).await?.write(&mut discard)?.manifest;
    // What is known of parties is not kept as it was: files with names can be made again only while it is the same.
    let since = JournalSeq::new(manifest.as_of.journal.seq);
    let is_known = opened.has_key && !parties_changed(store, since).await?;
    let names_people = |name: &str| {
        NAMING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || [TRAVEL_RULE_FILE, BLOCKED_PROPERTY_FILE].contains(&name)
    };
    let (mut same, mut left_out, mut other) = (0, Vec::new(), Vec::new());
    let made: BTreeMap<&str, _> = again.files.iter().map(|file| (file.name.as_str(), file)).collect();
    for file in &manifest.files {
        match made.get(file.name.as_str()) {
            Some(made) if *made == file => same += 1,
            Some(_) if !is_known && names_people(&file.name) => left_out.push(file.name.as_str()),
            _ => other.push(file.name.as_str()),
        }
    }
    let unlisted = again.files.iter().filter(|made| manifest.files.iter().all(|file| file.name != made.name));
    other.extend(unlisted.map(|made| made.name.as_str()));
    if (Manifest { files: manifest.files.clone(), ..again.clone() }) != manifest {
        other.push(MANIFEST_FILE);
    }
    let by_another = if manifest.software_version == SOFTWARE { "" } else { " (they were made by another version)" };
    ensure!(other.is_empty(), "made again from the books, these files differ{by_another}: {}", other.join(", "));
    let mut text = format!(
        "The {} files in {} are those of their manifest; {same} were made again and are the same.\n",
        manifest.files.len(),
        dir.display()
    );
    if !left_out.is_empty() {
        let _ = writeln!(
            text,
            "Not made again, because what is known of parties is not what it was, or sealed: {}.",
            left_out.join(", ")
        );
    }
    let not_made_again = left_out.into_iter().map(str::to_owned).collect();
    Ok(VerifiedDir { manifest: bytes, profile, not_made_again, text })
}

/// Tells whether anything about parties was put on record after a row of the journal.
async fn parties_changed(store: &dyn Store, mut after: JournalSeq) -> anyhow::Result<bool> {
    loop {
        let page = store.journal_rows(after, JOURNAL_PAGE).await?;
        let Some(last) = page.last() else { return Ok(false) };
        after = last.seq;
        if page.iter().any(|row| owner::KINDS.contains(&row.kind.as_str())) {
            return Ok(true);
        }
    }
}

/// Returns the profile that a command names, or that of the settings.
fn profile_of(config: &Config, named: Option<&str>) -> anyhow::Result<CountryProfile> {
    let Some(named) = named else { return Ok((*config.export.profile).clone()) };
    if let Some(shipped) = CountryProfile::shipped(named) {
        return Ok(shipped);
    }
    let path = Path::new(named);
    if !path.exists() {
        let shipped: Vec<_> = CountryProfile::SHIPPED.iter().map(|(name, _)| *name).collect();
        bail!("{named} is neither a file nor one of the profiles {}", shipped.join(", "));
    }
    CountryProfile::read(open(path)?).with_context(|| named.to_owned())
}

/// Returns the profile whose file a manifest names.
fn profile_by_hash(config: &Config, named: Option<&str>, manifest: &Manifest) -> anyhow::Result<CountryProfile> {
    let given = profile_of(config, named)?;
    let shipped = CountryProfile::shipped(&manifest.profile);
    let is_it = |profile: &CountryProfile| profile.file_sha256().to_string() == manifest.profile_sha256;
    [Some(given), shipped].into_iter().flatten().find(is_it).with_context(|| {
        format!(
            "the reports were made by profile {}/{} with SHA-256 {}: give its file by --profile",
            manifest.profile, manifest.profile_version, manifest.profile_sha256
        )
    })
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes a folder, or makes sure that the one there is empty.
fn make_empty(folder: &Path) -> anyhow::Result<()> {
    let what = || folder.display().to_string();
    fs::create_dir_all(folder).with_context(what)?;
    ensure!(fs::read_dir(folder).with_context(what)?.next().is_none(), "{} is not empty", folder.display());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroU32;

    use bitcoin::{Address, Amount, BlockHash, CompactTarget, Network, OutPoint, PubkeyHash, Txid, hashes::Hash as _};
    use payouts::{
        Books, FoundBlock, ShareSeq, SqliteStore,
        books::DirectPayments,
        export::valued::{self, Kept},
        scheme::{
            PoolFee,
            rule::{Scheme, SchemeName},
        },
    };
    use tempfile::TempDir;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        control::ControlSocket,
        init::{CONFIG_FILE, NewPool, init},
        lock::DataLock,
        operations::{Desk, Outcome, Port, Request},
    };

    struct Pool {
        dir: TempDir,
        period: Period,
    }

    impl Pool {
        fn config(&self) -> ConfigArguments {
            ConfigArguments { config: self.dir.path().join(CONFIG_FILE) }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn profile(&self) -> Option<String> {
            Some(self.path("profile.toml").display().to_string())
        }

        async fn report(&self, out: &str) -> anyhow::Result<String> {
            let (config, profile, out) = (self.config(), self.profile(), self.path(out));
            perform(ExportCommand::Report(ReportArguments { config, profile, period: self.period, out })).await
        }

        async fn verify(&self, dir: &str) -> anyhow::Result<String> {
            let (config, profile, dir) = (self.config(), self.profile(), Some(self.path(dir)));
            perform(ExportCommand::Verify(VerifyArguments { config, dir, profile })).await
        }

        fn common(&self) -> request::CommonArguments {
            request::CommonArguments { config: self.config(), json: false }
        }

        async fn declare(&self, dir: &str, declaration: &str) -> anyhow::Result<String> {
            let (common, profile, dir) = (self.common(), self.profile(), self.path(dir));
            let [declaration, authority, by] = [declaration, "Tax Office", "alice"].map(|words| words.parse().unwrap());
            perform(ExportCommand::Declare(DeclareArguments { common, dir, declaration, authority, by, profile })).await
        }

        async fn close(&self) -> anyhow::Result<String> {
            let (common, profile, by) = (self.common(), self.profile(), "bob".parse().unwrap());
            perform(ExportCommand::Close(CloseArguments { common, period: self.period, profile, by })).await
        }

        async fn periods(&self) -> String {
            let (config, profile) = (self.config(), self.profile());
            perform(ExportCommand::Periods(PeriodsArguments { config, profile })).await.unwrap()
        }

        async fn value(&self, price: &str) -> anyhow::Result<String> {
            let file = self.path("prices.csv");
            let day = Timestamp::now().strftime("%Y-%m-%d").to_string();
            fs::write(&file, format!("venue,pair,basis,time,price\nexample,BTC/USD,close,{day}T23:59:59Z,{price}\n"))?;
            let (config, profile, prices) = (self.config(), self.profile(), vec![file]);
            perform(ExportCommand::Value(ValueArguments { config, prices, rates: Vec::new(), profile })).await
        }
    }

    /// A pool that found a block today, and a profile that names a venue.
    async fn pool() -> Pool {
        let dir = tempfile::tempdir().unwrap();
        let new = NewPool {
            network: Network::Regtest,
            dir: dir.path().to_owned(),
            bitcoind_url: None,
            cookie_file: Some(dir.path().join("cookie")),
            listen: None,
            public_host: None,
            watch_only: None,
        };
        init(&new).unwrap();
        let config = Config::load(&dir.path().join(CONFIG_FILE)).unwrap();
        let crate::config::StoreConfig::Sqlite(file) = &config.store else { panic!("{:?}", config.store) };
        let store = Arc::new(SqliteStore::open(file).await.unwrap());
        let address = Address::p2pkh(PubkeyHash::from_byte_array([1; 20]), Network::Regtest);
        let finder = store.account(&address).await.unwrap();
        let solo = Scheme::new(SchemeName::Solo, NonZeroU32::MIN, PoolFee::from_basis_points(100).unwrap());
        let found = FoundBlock {
            hash: BlockHash::from_byte_array([1; 32]),
            height: 1,
            coinbase: OutPoint::new(Txid::from_byte_array([1; 32]), 0),
            value: Amount::from_sat(316_737_819),
            subsidy: Amount::from_sat(312_500_000),
            finder,
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        Books::new(store, solo).record_found(&found).await.unwrap();
        let (_, text) = CountryProfile::SHIPPED[0];
        let text = text.replace("venue = \"\"", "venue = \"example\"");
        fs::write(dir.path().join("profile.toml"), &text).unwrap();
        let profile = CountryProfile::parse(&text).unwrap();
        let period = profile.period_at(Timestamp::now().as_millisecond()).unwrap();
        Pool { dir, period }
    }

    #[tokio::test]
    async fn reports_are_valued_written_and_made_again() {
        let pool = pool().await;
        let text = pool.value("60000").await.unwrap();
        assert_eq!(text, "By profile neutral/1: 2 valued, 0 valued anew, 0 as before, 0 without a value.\n");
        let text = pool.report("out").await.unwrap();
        assert!(text.contains("is not over") && !text.contains("without a value"), "{text}");
        let refused = pool.report("out").await.unwrap_err();
        assert!(refused.to_string().ends_with("is not empty"), "{refused}");
        let text = pool.verify("out").await.unwrap();
        assert!(text.contains("Values worked out again: 2;") && text.contains("are the same"), "{text}");

        // Another value, on record later, leaves reports as they were.
        let text = pool.value("60001").await.unwrap();
        assert!(text.contains("2 valued anew"), "{text}");
        let register = pool.path("out").join("reconciliation.json");
        let bytes = fs::read(&register).unwrap();
        pool.verify("out").await.unwrap();
        fs::write(&register, [bytes.as_slice(), b" "].concat()).unwrap();
        let error = pool.verify("out").await.unwrap_err().to_string();
        assert!(error.contains("reconciliation.json"), "{error}");
    }

    #[tokio::test]
    async fn a_period_is_declared_closed_and_made_again_as_it_was() {
        let pool = pool().await;
        let last = Pool { period: pool.period.previous().unwrap(), dir: pool.dir };
        last.report("first").await.unwrap();
        let listed = last.periods().await;
        assert!(listed.lines().count() == 2 && listed.lines().last().unwrap().contains("OPEN"), "{listed}");
        let error = last.close().await.unwrap_err().to_string();
        assert!(error.contains("was never declared"), "{error}");
        let text = last.declare("first", "D-1").await.unwrap();
        assert_eq!(text, format!("{} by profile neutral/1 is declared as D-1 to Tax Office.\n", last.period));
        let text = last.declare("first", "D-1").await.unwrap();
        assert!(text.contains("was declared as D-1 to Tax Office already"), "{text}");

        // An amended return.
        let text = last.report("second").await.unwrap();
        assert!(text.contains("was declared as D-1 to Tax Office on "), "{text}");
        last.declare("second", "D-2").await.unwrap();
        let text = last.close().await.unwrap();
        assert!(text.ends_with("is closed: what was declared as D-2 to Tax Office stands.\n"), "{text}");
        assert!(last.close().await.unwrap().contains("was closed already"));
        let error = last.declare("first", "D-3").await.unwrap_err().to_string();
        assert!(error.contains("is closed") && error.contains("corrected in the open period"), "{error}");
        let listed = last.periods().await;
        let line = listed.lines().find(|line| line.starts_with(&last.period.to_string())).unwrap();
        assert!(line.contains("CLOSED") && line.contains("D-2") && line.contains("Tax Office"), "{listed}");

        // Whatever comes on record, the files of then are made again, byte by byte, and the later ones are found to be others.
        last.value("60000").await.unwrap();
        let text = last.report("again").await.unwrap();
        assert!(text.contains("byte by byte"), "{text}");
        for file in fs::read_dir(last.path("second")).unwrap() {
            let file = file.unwrap();
            let again = fs::read(last.path("again").join(file.file_name())).unwrap();
            assert_eq!(fs::read(file.path()).unwrap(), again, "{:?}", file.file_name());
        }
        let text = last.verify("again").await.unwrap();
        assert!(text.contains("Declarations whose records are there: 2; closed periods: 1."), "{text}");
    }

    #[tokio::test]
    async fn reports_that_are_not_what_the_books_say_are_not_declared() {
        let pool = pool().await;
        pool.report("early").await.unwrap();
        let error = pool.declare("early", "D-1").await.unwrap_err().to_string();
        assert!(error.contains("is not over"), "{error}");

        let last = Pool { period: pool.period.previous().unwrap(), dir: pool.dir };
        last.report("out").await.unwrap();
        let manifest = last.path("out").join(MANIFEST_FILE);
        let text = fs::read_to_string(&manifest).unwrap();
        // Another period's name on the same files.
        let other = last.period.previous().unwrap().to_string();
        fs::write(&manifest, text.replace(&format!("\"{}\"", last.period), &format!("\"{other}\""))).unwrap();
        let error = last.declare("out", "D-1").await.unwrap_err().to_string();
        assert!(error.contains("these files differ"), "{error}");
        fs::write(&manifest, text.replace("\"pool\": \"pool\"", "\"pool\": \"Another Pool\"")).unwrap();
        let error = last.declare("out", "D-1").await.unwrap_err().to_string();
        assert!(error.contains("these files differ: manifest.json"), "{error}");
        fs::write(&manifest, &text).unwrap();
        fs::remove_file(last.path("out").join("reconciliation.json")).unwrap();
        let error = last.declare("out", "D-1").await.unwrap_err().to_string();
        assert!(error.contains("\"reconciliation.json\" is missing"), "{error}");
        assert!(!last.periods().await.contains("D-1"), "nothing is on record");
    }

    #[tokio::test]
    async fn a_running_pool_puts_values_on_record_itself() {
        let pool = pool().await;
        let config = Config::load(&pool.config().config).unwrap();
        let running = DataLock::take(&config.data_dir).unwrap().unwrap();
        let refused = pool.value("60000").await.unwrap_err().to_string();
        assert!(refused.contains("it is starting or ending"), "{refused}");

        let store = store::open(&config.store).await.unwrap();
        let (draining, drained) = watch::channel(false);
        let (desk, mut orders) = Desk::open(Port::closed(), Arc::clone(&store));
        let served = tokio::spawn(ControlSocket::bind(&config.data_dir).unwrap().serve(desk, drained));
        let kept = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(order) = orders.recv().await {
                let Request::KeepValues { values } = &order.request else { panic!("{}", order.request) };
                kept.push(valued::keep(&*store, values).await.unwrap());
                order.answer(Ok(Outcome::ValuesKept(kept[kept.len() - 1])));
            }
            kept
        });
        for valued in ["2 valued, 0 valued anew, 0 as before", "0 valued, 0 valued anew, 2 as before"] {
            let text = pool.value("60000").await.unwrap();
            assert!(text.contains(valued), "{text}");
        }
        draining.send_replace(true);
        served.await.unwrap();
        // What is not new is not even asked for.
        assert_eq!(kept.await.unwrap(), [Kept { appended: 2, already: 0 }]);
        drop(running);
        assert!(pool.value("60001").await.unwrap().contains("2 valued anew"));
        pool.report("out").await.unwrap();
    }

    #[tokio::test]
    async fn a_profile_that_is_nowhere_is_refused_by_name() {
        let pool = pool().await;
        let config = Config::load(&pool.config().config).unwrap();
        let refused = profile_of(&config, Some("atlantis")).unwrap_err().to_string();
        assert!(refused.contains("atlantis") && refused.contains("carf-yearly"), "{refused}");
        assert_eq!(profile_of(&config, None).unwrap().name(), "neutral");
        let yearly = ReportArguments {
            config: pool.config(),
            profile: Some("carf-yearly".to_owned()),
            period: "2026".parse().unwrap(),
            out: pool.path("carf"),
        };
        let refused = perform(ExportCommand::Report(yearly)).await.unwrap_err().to_string();
        assert!(refused.contains("pool.facts") && !pool.path("carf").exists(), "{refused}");
    }
}
