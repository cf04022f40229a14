//! Periods of the register: their reports, and that they are declared and closed. Both are asked about on a page of their
//! own before they are done, because neither can be taken back.

use askama::Template;
use axum::{extract::Path, response::Response};
use payouts::export::{
    report::manifest::{FileEntry, MANIFEST_FILE},
    rules::source_file::FileHash,
};

use super::now_ms;
use crate::{
    operations::{Refusal, RefusalCode, Request},
    pages::{
        Pages,
        asked::{self, Asked, Shown, page},
        fields::Fields,
        frame::{Frame, capitalised},
        show::{Btc, Ends, Number, When},
    },
    register::{Edition, HandedIn, Made, PeriodStanding, PeriodState, PeriodTotals, Wish, media_type},
};

/// Files of a set that are listed.
const LISTED: usize = 500;

#[derive(Template)]
#[template(path = "periods.html")]
struct Periods {
    frame: Frame,
    may_see_reports: bool,
    may_declare: bool,
    may_close: bool,
    periods: Vec<PeriodLine>,
}

struct PeriodLine {
    report: PeriodStanding,
    class: &'static str,
    /// Whether its reports can be made here.
    has_reports: bool,
    declared: Option<When>,
    closed: Option<When>,
}

impl PeriodLine {
    fn new(pages: &Pages, report: PeriodStanding) -> PeriodLine {
        PeriodLine {
            class: match report.state {
                PeriodState::Open => "open",
                PeriodState::Over => "held",
                PeriodState::Overdue => "ill",
                PeriodState::Declared => "broadcast",
                PeriodState::Closed => "confirmed",
            },
            has_reports: pages.register.profile(Some(&report.profile)).is_ok(),
            declared: report.declaration.as_ref().map(|declared| When(declared.at_ms)),
            closed: report.closed_at_ms.map(When),
            report,
        }
    }

    fn may_be_declared(&self) -> bool {
        matches!(self.report.state, PeriodState::Over | PeriodState::Overdue | PeriodState::Declared)
    }

    fn may_be_closed(&self) -> bool {
        self.report.state == PeriodState::Declared
    }
}

/// The periods, newest first.
pub(in crate::pages) async fn periods(asked: Asked) -> Shown {
    let Asked { pages, viewer, .. } = &asked;
    let periods = pages.register.periods(now_ms()).await?;
    page(&Periods {
        // They change by the day, and take a look at all that is on record.
        frame: asked.frame("/register/periods", "Periods").live_if(false),
        may_see_reports: viewer.may_see("/register/reports/{profile}/{period}"),
        may_declare: viewer.may_post("/register/reports/{profile}/{period}/declare"),
        may_close: viewer.may_post("/register/reports/{profile}/{period}/close"),
        periods: periods.into_iter().rev().map(|report| PeriodLine::new(pages, report)).collect(),
    })
}

#[derive(Template)]
#[template(path = "reports.html")]
struct Reports {
    frame: Frame,
    period: PeriodLine,
    edition: Edition,
    made: When,
    manifest_sha256: String,
    totals: PeriodTotals,
    moved: Btc,
    faults: Vec<String>,
    notes: Vec<String>,
    files: Vec<FileLine>,
    unlisted: usize,
    may_declare: bool,
    may_close: bool,
}

struct FileLine {
    name: String,
    bytes: Number,
    sha256: Ends,
}

/// A profile and a period, as a path names them.
type Named = Path<(String, String)>;

/// Which period of which profile is meant, in which edition.
fn wish(pages: &Pages, profile: &str, period: &str, fields: &Fields) -> Result<Wish, Refusal> {
    let period = period.parse().map_err(|error| Refusal::new(RefusalCode::Invalid, error))?;
    Ok(Wish { profile: pages.register.profile(Some(profile))?, period, edition: fields.optional("edition")? })
}

async fn stands(pages: &Pages, wish: &Wish) -> Result<PeriodLine, Refusal> {
    let report = pages.register.period(&wish.profile, wish.period, now_ms()).await?;
    Ok(PeriodLine::new(pages, report))
}

/// The reports of a period. They are made now.
pub(in crate::pages) async fn show(asked: Asked, Path((profile, period)): Named) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let wish = wish(pages, &profile, &period, fields)?;
    let stands = stands(pages, &wish).await?;
    let made = pages.register.reports(wish).await?;
    let Made { manifest, manifest_bytes, edition, totals, faults, notes } = made;
    let manifest_sha256 = FileHash::of(&manifest_bytes).to_string();
    let (name, bytes) = (MANIFEST_FILE.to_owned(), manifest_bytes.len() as u64);
    let last = FileEntry { name, bytes, sha256: manifest_sha256.clone() };
    let unlisted = (manifest.files.len() + 1).saturating_sub(LISTED);
    // The files that seal and explain the others come first.
    let files = std::iter::once(last).chain(manifest.files).take(LISTED).map(|file| FileLine {
        name: file.name,
        bytes: Number(file.bytes.into()),
        sha256: Ends(file.sha256),
    });
    let may = |action: &str| viewer.may_post(&format!("/register/reports/{{profile}}/{{period}}/{action}"));
    page(&Reports {
        // They would be made anew every few seconds.
        frame: asked.frame("/register/periods", format!("Reports of {period}")).live_if(false),
        may_declare: faults.is_empty() && stands.may_be_declared() && may("declare"),
        may_close: stands.may_be_closed() && may("close"),
        period: stands,
        edition,
        made: When(edition.generated_at_ms),
        manifest_sha256,
        moved: Btc(totals.moved_sat),
        totals,
        faults: faults.iter().map(|fault| capitalised(fault)).collect(),
        notes: notes.iter().map(|note| capitalised(note)).collect(),
        files: files.collect(),
        unlisted,
    })
}

/// A file of a period's reports.
pub(in crate::pages) async fn file(
    Asked { pages, viewer, fields }: Asked,
    Path((profile, period, name)): Path<(String, String, String)>,
) -> Shown {
    let bytes = pages.register.file(wish(&pages, &profile, &period, &fields)?, &name).await?;
    pages.desk.note_download(&viewer.actor(), &name, &profile, &period).await?;
    asked::file(&name, media_type(&name), bytes)
}

#[derive(Template)]
#[template(path = "declare.html")]
struct Declare {
    frame: Frame,
    period: PeriodLine,
    edition: Edition,
    made: When,
    manifest_sha256: String,
}

/// Asks whether a period is to be declared, and by what.
pub(in crate::pages) async fn ask_declare(asked: Asked, Path((profile, period)): Named) -> Shown {
    let Asked { pages, fields, .. } = &asked;
    let edition: Edition = fields.required("edition")?;
    let manifest_sha256 = fields.required::<String>("manifest_sha256")?;
    let stands = stands(pages, &wish(pages, &profile, &period, fields)?).await?;
    let frame = asked.frame("/register/periods", format!("Declare {period}")).live_if(false);
    page(&Declare { frame, period: stands, edition, made: When(edition.generated_at_ms), manifest_sha256 })
}

/// Puts on record that a period was declared.
pub(in crate::pages) async fn declare(asked: Asked, Path((profile, period)): Named) -> Response {
    let Asked { pages, viewer, fields } = &asked;
    let declared = async {
        let wish = wish(pages, &profile, &period, fields)?;
        let handed_in = HandedIn {
            manifest_sha256: file_hash(fields)?,
            declaration: fields.required("declaration")?,
            authority: fields.required("authority")?,
        };
        let declared = pages.register.declarable(wish, handed_in, &viewer.by()?).await?;
        asked.ask(Request::DeclarePeriod(Box::new(declared))).await?;
        Ok(format!("It is on record that {period} was declared."))
    };
    asked.told("/register/periods", declared).await
}

fn file_hash(fields: &Fields) -> Result<FileHash, Refusal> {
    let unknown = |_| Refusal::new(RefusalCode::Invalid, "manifest sha256: should be 64 hexadecimal digits");
    serde_json::from_value(fields.text("manifest_sha256").into()).map_err(unknown)
}

#[derive(Template)]
#[template(path = "close.html")]
struct Close {
    frame: Frame,
    period: PeriodLine,
}

/// Asks whether a period is to be closed.
pub(in crate::pages) async fn ask_close(asked: Asked, Path((profile, period)): Named) -> Shown {
    let stands = stands(&asked.pages, &wish(&asked.pages, &profile, &period, &Fields::default())?).await?;
    if !stands.may_be_closed() {
        let reason = format!("{period} is {} and not to be closed", stands.report.state.as_str());
        return Err(Refusal::new(RefusalCode::Conflict, reason).into());
    }
    page(&Close { frame: asked.frame("/register/periods", format!("Close {period}")).live_if(false), period: stands })
}

/// Closes a period.
pub(in crate::pages) async fn close(asked: Asked, Path((profile, period)): Named) -> Response {
    let closed = async {
        let Wish { profile, period, .. } = wish(&asked.pages, &profile, &period, &Fields::default())?;
        let profile = profile.name().parse().map_err(|error| Refusal::new(RefusalCode::Failed, error))?;
        asked.ask(Request::ClosePeriod { profile, period, by: asked.viewer.by()? }).await?;
        Ok(format!("{period} is closed: it stays as it was declared."))
    };
    asked.told("/register/periods", closed).await
}
