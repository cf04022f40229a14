//! Which pages there are, as the pool's source has them: so that none is added that no test looks at.

/// The table of pages that take a log-in.
const DOORS: &str = include_str!("../../../pool/src/pages/doors.rs");
/// The routes, of which those of `open` take none.
const ROUTES: &str = include_str!("../../../pool/src/pages/routes/mod.rs");
/// What browsers get there is no page.
const NO_PAGES: [&str; 0] = [];

/// Returns the paths of all pages that take a log-in, with their parameters in braces.
pub(crate) fn guarded() -> Vec<String> {
    let table = DOORS.split_once("const DOORS").unwrap().1.split_once("];").unwrap().0;
    let paths = table.split(" page(").skip(1).map(|row| first_text(row).to_owned());
    paths.filter(|path| !NO_PAGES.contains(&path.as_str())).collect()
}

/// Returns the paths of all pages that anybody may see.
pub(crate) fn open() -> Vec<String> {
    let body = ROUTES.split_once("fn open()").unwrap().1.split_once("\n}").unwrap().0;
    let routes = body.split(".route(").skip(1).filter(|route| route.contains("get("));
    let paths = routes.map(|route| first_text(route).to_owned());
    paths.filter(|path| !NO_PAGES.contains(&path.as_str())).collect()
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

fn first_text(code: &str) -> &str {
    code.split('"').nth(1).unwrap()
}

#[test]
fn pages_are_read_from_the_source() {
    let (guarded, open) = (guarded(), open());
    for page in ["/", "/blocks", "/blocks/{hash}", "/payouts/{batch}"] {
        assert!(guarded.iter().any(|path| path == page), "{page} is not in {guarded:?}");
    }
    assert!(!guarded.iter().any(|path| path == "/payouts/{batch}/approve"), "a form is no page: {guarded:?}");
    assert!(open.iter().any(|path| path == "/log-in"), "{open:?}");
}

#[test]
fn path_is_that_of_one_page() {
    assert!(stands_for("/blocks/{hash}", "/blocks/00ff"));
    assert!(!stands_for("/blocks/{hash}", "/blocks/"));
    assert!(!stands_for("/blocks/{hash}", "/blocks/00ff/more"));
    assert!(!stands_for("/blocks", "/blocks/00ff"));
    assert!(stands_for("/", "/"));
}
