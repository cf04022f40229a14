//! Which pages there are, as the pool's source has them: so that none is added that no test looks at.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the pool's pages are made.
const SOURCE: &str = "../pool/src/pages";
/// The table of those that take a log-in.
const DOORS: &str = include_str!("../../../pool/src/pages/doors.rs");
/// What leads on to another page, and what is saved.
const NO_PAGES: [&str; 3] = ["/m", "/m/{miner}/statement", "/blocks/{hash}/raw"];
/// What the pool of the scene does not have, a reserve and a period that is over: `returns` looks at these.
const ELSEWHERE: [&str; 3] = [
    "/m/{miner}/work/{period}",
    "/register/reports/{profile}/{period}/declare",
    "/register/reports/{profile}/{period}/close",
];

/// Returns the paths of all pages, with their parameters in braces: those that anybody may see, and those that take a log-in.
pub(crate) fn all() -> (Vec<String>, Vec<String>) {
    let mut routes: Vec<String> = sources(Path::new(SOURCE)).iter().flat_map(|code| routes(code)).collect();
    // Some routes are put together of parts; their rows in the table are not.
    routes
        .extend(DOORS.split("page(\"").skip(1).filter_map(|row| row.split_once('"')).map(|(path, _)| path.to_owned()));
    routes.sort();
    routes.dedup();
    let left_out = |path: &str| NO_PAGES.contains(&path) || ELSEWHERE.contains(&path) || is_file(path);
    routes.retain(|path| !left_out(path));
    // A path that stands there as it is goes before one that has it for a parameter.
    routes.sort_by_key(|path| path.matches('{').count());
    routes.into_iter().partition(|path| !DOORS.contains(&format!("page(\"{path}\"")))
}

/// The code in a folder and those below it.
fn sources(folder: &Path) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let of = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![fs::read_to_string(path).unwrap()] };
    paths.into_iter().flat_map(of).collect()
}

/// The paths of which code says what browsers get there.
fn routes(code: &str) -> Vec<String> {
    let routes = code.split(".route(\"").skip(1).filter_map(|rest| rest.split_once("\", "));
    routes.filter(|(_, handler)| handler.starts_with("get(")).map(|(path, _)| path.to_owned()).collect()
}

/// Styles, images and downloads have an ending, as files have; and streams of events are for scripts.
fn is_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.contains('.') || name.starts_with("{*") || ["events", "{file}"].contains(&name)
}

/// Tells whether a path with parameters in braces stands for a path.
pub(crate) fn stands_for(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(named), Some(part)) if named == part || (named.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

#[test]
fn pages_are_read_from_the_source() {
    let (open, guarded) = all();
    for page in ["/", "/blocks", "/blocks/{hash}", "/payouts/{batch}"] {
        assert!(guarded.iter().any(|path| path == page), "{page} is not in {guarded:?}");
    }
    assert!(!guarded.iter().any(|path| path == "/payouts/{batch}/approve"), "a form is no page: {guarded:?}");
    for page in ["/log-in", "/connect", "/m/{miner}/payouts/{payout}"] {
        assert!(open.iter().any(|path| path == page), "{page} is not in {open:?}");
    }
    assert!(!open.iter().any(|path| path == "/connect/qr.svg"), "an image is no page: {open:?}");
}

#[test]
fn path_is_that_of_one_page() {
    assert!(stands_for("/blocks/{hash}", "/blocks/00ff"));
    assert!(!stands_for("/blocks/{hash}", "/blocks/"));
    assert!(!stands_for("/blocks/{hash}", "/blocks/00ff/more"));
    assert!(!stands_for("/blocks", "/blocks/00ff"));
    assert!(stands_for("/", "/"));
}
