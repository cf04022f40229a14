//! Periods of the register: their reports, and that they are declared and closed. Both are asked about on a page of their
//! own before they are done, because neither can be taken back.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use payouts::export::{
    report::manifest::{FileEntry, MANIFEST_FILE},
    rules::source_file::FileHash,
};

use super::now_ms;
use crate::{
    operations::{Refusal, RefusalCode, Request},
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, capitalised, refused, shown, told},
        guard::Viewer,
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
pub(in crate::pages) async fn periods(State(pages): State<Pages>, Extension(viewer): Extension<Viewer>) -> Response {
    let contents = async {
        let periods = pages.register.periods(now_ms()).await?;
        let mut frame = Frame::new(&pages, &viewer, "/register", "Periods");
        // They change by the day, and take a look at all that is on record.
        frame.is_live = false;
        Ok(Periods {
            frame,
            may_see_reports: viewer.may_see("/register/reports/{profile}/{period}"),
            may_declare: viewer.may_post("/register/reports/{profile}/{period}/declare"),
            may_close: viewer.may_post("/register/reports/{profile}/{period}/close"),
            periods: periods.into_iter().rev().map(|report| PeriodLine::new(&pages, report)).collect(),
        })
    };
    let contents = contents.await;
    shown(&pages, &viewer, contents)
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

/// Which period of which profile a path names.
fn wish(pages: &Pages, profile: &str, period: &str, fields: &Fields) -> Result<Wish, Refusal> {
    let period = period.parse().map_err(|error| Refusal::new(RefusalCode::Invalid, error))?;
    Ok(Wish { profile: pages.register.profile(Some(profile))?, period, edition: fields.optional("edition")? })
}

async fn stands(pages: &Pages, wish: &Wish) -> Result<PeriodLine, Refusal> {
    let report = pages.register.period(&wish.profile, wish.period, now_ms()).await?;
    Ok(PeriodLine::new(pages, report))
}

/// The reports of a period. They are made now.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path((profile, period)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = reports(&pages, &viewer, &profile, &period, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn reports(
    pages: &Pages,
    viewer: &Viewer,
    profile: &str,
    period: &str,
    fields: &Fields,
) -> Result<Reports, Refusal> {
    let wish = wish(pages, profile, period, fields)?;
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
    let mut frame = Frame::new(pages, viewer, "/register", format!("Reports of {period}"));
    // They would be made anew every few seconds.
    frame.is_live = false;
    let may = |action: &str| viewer.may_post(&format!("/register/reports/{{profile}}/{{period}}/{action}"));
    Ok(Reports {
        frame,
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
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path((profile, period, file)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let bytes = async { pages.register.file(wish(&pages, &profile, &period, &fields)?, &file).await };
    match bytes.await {
        Ok(bytes) => {
            let disposition = format!("attachment; filename=\"{file}\"");
            let headers =
                [(header::CONTENT_TYPE, media_type(&file).to_owned()), (header::CONTENT_DISPOSITION, disposition)];
            (headers, bytes).into_response()
        }
        Err(refusal) => refused(Some(&viewer), &pages, &refusal),
    }
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
pub(in crate::pages) async fn ask_declare(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path((profile, period)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = async {
        let edition: Edition = fields.required("edition")?;
        let manifest_sha256 = fields.required::<String>("manifest_sha256")?;
        let stands = stands(&pages, &wish(&pages, &profile, &period, &fields)?).await?;
        let mut frame = Frame::new(&pages, &viewer, "/register", format!("Declare {period}"));
        frame.is_live = false;
        Ok(Declare { frame, period: stands, edition, made: When(edition.generated_at_ms), manifest_sha256 })
    };
    let contents = contents.await;
    shown(&pages, &viewer, contents)
}

/// Puts on record that a period was declared.
pub(in crate::pages) async fn declare(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Extension(fields): Extension<Fields>,
    Path((profile, period)): Path<(String, String)>,
) -> Response {
    let request = async {
        let wish = wish(&pages, &profile, &period, &fields)?;
        let handed_in = HandedIn {
            manifest_sha256: file_hash(&fields)?,
            declaration: fields.required("declaration")?,
            authority: fields.required("authority")?,
        };
        let declared = pages.register.declarable(wish, handed_in, &viewer.by()?).await?;
        pages.ask(&viewer, Request::DeclarePeriod(Box::new(declared))).await
    };
    let outcome = request.await;
    told(&pages, &viewer, "/register/periods", outcome, |_| format!("It is on record that {period} was declared."))
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
pub(in crate::pages) async fn ask_close(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path((profile, period)): Path<(String, String)>,
) -> Response {
    let contents = async {
        let stands = stands(&pages, &wish(&pages, &profile, &period, &Fields::default())?).await?;
        if !stands.may_be_closed() {
            let reason = format!("{period} is {} and not to be closed", stands.report.state.as_str());
            return Err(Refusal::new(RefusalCode::Conflict, reason));
        }
        let mut frame = Frame::new(&pages, &viewer, "/register", format!("Close {period}"));
        frame.is_live = false;
        Ok(Close { frame, period: stands })
    };
    let contents = contents.await;
    shown(&pages, &viewer, contents)
}

/// Closes a period.
pub(in crate::pages) async fn close(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path((profile, period)): Path<(String, String)>,
) -> Response {
    let request = async {
        let Wish { profile, period, .. } = wish(&pages, &profile, &period, &Fields::default())?;
        let name = profile.name().parse().map_err(|error| Refusal::new(RefusalCode::Failed, error))?;
        pages.ask(&viewer, Request::ClosePeriod { profile: name, period, by: viewer.by()? }).await
    };
    let outcome = request.await;
    told(&pages, &viewer, "/register/periods", outcome, |_| format!("{period} is closed: it stays as it was declared."))
}
