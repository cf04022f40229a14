//! The help pages: the documents of the repository, which are in the program itself, as HTML.
//!
//! Headings have the anchors that GitHub gives them, and links between the documents lead to the pages. HTML in a document
//! is text.

use std::{collections::HashMap, sync::LazyLock};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

/// Where the help pages are.
pub(super) const ROOT: &str = "/help";
/// Where the API's description is, which the repository has beside the documents.
const API_DESCRIPTION: &str = "/api/openapi.json";

/// A document as it is in the repository.
struct Document {
    /// Its file in `docs/`, without the ending, and its name in the path.
    name: &'static str,
    /// What it is for.
    purpose: &'static str,
    markdown: &'static str,
}

macro_rules! document {
    ($name:literal, $purpose:literal) => {
        Document { name: $name, purpose: $purpose, markdown: include_str!(concat!("../../../docs/", $name, ".md")) }
    };
}

/// All documents, in the order in which they are shown.
const DOCUMENTS: [Document; 13] = [
    document!("runbook", "What to do when something is not as it must be"),
    document!("firmware", "How devices are connected, by firmware"),
    document!("miner-pages", "What miners see without an account, and how it is hidden"),
    document!("errors", "What miners are told, and the cure"),
    document!("payouts", "How blocks are split, when miners are paid, and who must agree"),
    document!("screening", "Whom sanctions lists name, and who may release"),
    document!("register", "What left the pool: values, periods, reports and sales"),
    document!("api", "Tokens, paging, idempotency, events, and every problem with its cure"),
    document!("config", "Every setting with its default, and when a change has its effect"),
    document!("metrics", "What the pool counts, for Prometheus"),
    document!("quick-start", "From nothing to a pool, by network"),
    document!("upgrade", "To a new version, and back"),
    document!("exit-codes", "What scripts can rely upon"),
];

/// A document as a page.
#[derive(Clone, Debug)]
pub(super) struct HelpPage {
    /// Its name in the path.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) purpose: &'static str,
    /// Its first heading.
    pub(super) title: String,
    /// Its sections.
    pub(super) sections: Vec<Section>,
    /// All of it, as HTML.
    pub(super) html: String,
}

/// A section of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// By what links name it.
    pub(super) anchor: String,
    /// Its heading.
    pub(super) title: String,
    level: HeadingLevel,
}

impl Section {
    /// Whether it stands in the list of what is on the page.
    pub(super) fn is_listed(&self) -> bool {
        self.level == HeadingLevel::H2
    }
}

/// Returns all pages.
pub(super) fn pages() -> &'static [HelpPage] {
    static PAGES: LazyLock<Vec<HelpPage>> = LazyLock::new(|| DOCUMENTS.iter().map(render).collect());
    &PAGES
}

/// Returns a page by its name in the path.
pub(super) fn find(name: &str) -> Option<&'static HelpPage> {
    pages().iter().find(|page| page.name == name)
}

fn render(document: &Document) -> HelpPage {
    let mut writer = Writer::default();
    for event in Parser::new_ext(document.markdown, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    let mut html = String::with_capacity(document.markdown.len() * 3 / 2);
    push_html(&mut html, writer.events.into_iter());
    let title = writer.sections.first().map_or_else(|| document.name.to_owned(), |first| first.title.clone());
    HelpPage { name: document.name, purpose: document.purpose, title, sections: writer.sections, html }
}

/// Makes of what the parser has read what is written.
#[derive(Default)]
struct Writer<'a> {
    events: Vec<Event<'a>>,
    sections: Vec<Section>,
    anchors: Anchors,
    /// The heading that is open: its place among the events, its level and its text so far.
    heading: Option<(usize, HeadingLevel, String)>,
    is_head: bool,
    tables: usize,
}

impl<'a> Writer<'a> {
    fn take(&mut self, event: Event<'a>) {
        if let (Some((_, _, text)), Event::Text(part) | Event::Code(part)) = (&mut self.heading, &event) {
            text.push_str(part);
        }
        match event {
            Event::Html(html) | Event::InlineHtml(html) => self.events.push(Event::Text(html)),
            Event::Start(Tag::Heading { level, .. }) => {
                self.heading = Some((self.events.len(), level, String::new()));
                self.events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                self.end_heading();
                self.events.push(event);
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = link(&dest_url).into();
                self.events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::Start(Tag::Table(columns)) => self.begin_table(columns.len()),
            Event::End(TagEnd::Table) => {
                self.events.push(event);
                self.write("</div>\n");
            }
            Event::Start(Tag::TableHead) => {
                self.is_head = true;
                self.events.push(event);
            }
            Event::End(TagEnd::TableHead) => {
                self.is_head = false;
                self.events.push(event);
            }
            Event::Start(Tag::TableCell) if self.is_head => self.write("<th scope=\"col\">"),
            Event::End(TagEnd::TableCell) if self.is_head => self.write("</th>"),
            event => self.events.push(event),
        }
    }

    fn write(&mut self, html: impl Into<CowStr<'a>>) {
        self.events.push(Event::Html(html.into()));
    }

    fn end_heading(&mut self) {
        let Some((place, level, text)) = self.heading.take() else { return };
        let anchor = self.anchors.of(&text);
        if let Some(Event::Start(Tag::Heading { id, .. })) = self.events.get_mut(place) {
            *id = Some(anchor.clone().into());
        }
        self.sections.push(Section { anchor, title: text, level });
    }

    /// A table that is too wide is moved by itself. Its columns are not aligned, which would take a style in the page.
    fn begin_table(&mut self, columns: usize) {
        self.tables += 1;
        let about = self.sections.last().map_or("", |section| &section.title);
        let about = about.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let number = self.tables;
        self.write(format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table {number}: {about}\">\n"
        ));
        self.events.push(Event::Start(Tag::Table(vec![pulldown_cmark::Alignment::None; columns])));
    }
}

/// Anchors as GitHub makes them: small letters, digits, hyphens for blanks; a number behind one that is there already.
#[derive(Default)]
struct Anchors(HashMap<String, usize>);

impl Anchors {
    fn of(&mut self, heading: &str) -> String {
        let signs = heading.trim().chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
        let anchor: String =
            signs.flat_map(char::to_lowercase).map(|sign| if sign == ' ' { '-' } else { sign }).collect();
        let times = self.0.entry(anchor.clone()).or_insert(0);
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    }
}

/// Where a link of a document leads on the pages: `runbook.md#clock` is `/help/runbook#clock`. The API's description is where the
/// API has it.
fn link(target: &str) -> String {
    if target == "openapi.json" {
        return API_DESCRIPTION.to_owned();
    }
    let (file, anchor) = target.split_once('#').map_or((target, ""), |(file, anchor)| (file, anchor));
    match file.strip_suffix(".md") {
        Some(name) if anchor.is_empty() => format!("{ROOT}/{name}"),
        Some(name) => format!("{ROOT}/{name}#{anchor}"),
        None => target.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::api::health::Watched;

    fn of(markdown: &'static str) -> HelpPage {
        render(&Document { name: "test", purpose: "", markdown })
    }

    /// Whether a link leads to a page, and to a section that it has.
    fn leads_somewhere(from: &str, link: &str) -> bool {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let name = path.strip_prefix("/help/").unwrap_or(if path.is_empty() { from } else { "" });
        let Some(page) = find(name) else { return link == API_DESCRIPTION };
        anchor.is_empty() || page.sections.iter().any(|section| section.anchor == anchor)
    }

    #[test]
    fn every_document_of_the_repository_is_a_page() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let documents: BTreeSet<String> = files.filter_map(|file| Some(file.strip_suffix(".md")?.to_owned())).collect();
        assert_eq!(pages().iter().map(|page| page.name.to_owned()).collect::<BTreeSet<_>>(), documents);
    }

    #[test]
    fn every_item_of_the_health_strip_has_its_section() {
        for watched in Watched::ALL {
            let help = watched.help();
            assert!(help.contains('#') && leads_somewhere("", help), "{watched:?}: there is no {help}");
        }
    }

    #[test]
    fn every_link_of_a_page_leads_to_a_section_that_there_is() {
        for page in pages() {
            for link in page.html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(leads_somewhere(page.name, link), "{link} of {}", page.name);
            }
        }
    }

    #[test]
    fn pages_hold_nothing_that_the_policy_forbids() {
        for page in pages() {
            for bad in ["<script", "<style", " style=", " src=", "javascript:", " onclick="] {
                assert!(!page.html.contains(bad), "{} has {bad}", page.name);
            }
        }
    }

    #[test]
    fn headings_have_the_anchors_of_github() {
        let page = of("# Setup: `A.B`, then *closed*\n\n## [bitcoind.backup.NAME]\n\n## Again\n\n## Again\n");
        let anchors: Vec<_> = page.sections.iter().map(|section| section.anchor.as_str()).collect();
        assert_eq!(anchors, ["setup-ab-then-closed", "bitcoindbackupname", "again", "again-1"]);
        assert!(page.html.contains("<h2 id=\"again-1\">Again</h2>"), "{}", page.html);
        assert_eq!(page.title, "Setup: A.B, then closed");
    }

    #[test]
    fn html_in_a_document_is_text_and_tables_can_be_read_aloud() {
        let page = of("# A \"b\"\n\n<script>alert(1)</script> and <b>bold</b>\n\n| x | y |\n|---:|---|\n| 1 | 2 |\n");
        assert!(!page.html.contains("<script") && !page.html.contains("<b>"), "{}", page.html);
        assert!(page.html.contains("<th scope=\"col\">x</th>") && page.html.contains("<td>1</td>"), "{}", page.html);
        assert!(page.html.contains("aria-label=\"Table 1: A &quot;b&quot;\""), "{}", page.html);
        assert!(!page.html.contains(" style="), "{}", page.html);
    }

    #[test]
    fn links_between_documents_lead_to_the_pages() {
        for (target, led) in
            [("runbook.md", "/help/runbook"), ("runbook.md#clock", "/help/runbook#clock"), ("#clock", "#clock")]
        {
            assert_eq!(link(target), led);
        }
    }
}
