//! What is asked of every page, whatever it shows.

use std::path::{Path, PathBuf};

use tests::browser::{LOOKS, Look};

use crate::stage::Stage;

/// The elements that stick out of the page at its side, and do not lie in something that can be scrolled.
const STICKS_OUT: &str = r#"
    const width = arguments[0];
    const isScrolled = (it) => it && (getComputedStyle(it).overflowX !== "visible" || isScrolled(it.parentElement));
    const root = document.documentElement;
    if (Math.max(root.scrollWidth, document.body.scrollWidth) <= width) return [];
    const wide = [...document.body.querySelectorAll("*")].filter((it) =>
        it.getBoundingClientRect().right > width + 0.5 && !isScrolled(it.parentElement));
    return ["the page is " + root.scrollWidth + " wide", ...wide.slice(0, 5).map((it) =>
        it.tagName.toLowerCase() + "." + it.className + ": " + it.innerText.slice(0, 40))];
"#;

/// Looks at the page that is shown in every way, leaves pictures of it, and returns what is wrong.
pub(crate) async fn faults(stage: &Stage, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for look in LOOKS {
        stage.browser.look(look).await.unwrap();
        let seen = in_look(stage, name, look).await;
        faults.extend(seen.into_iter().map(|fault| format!("{name}, {}: {fault}", look.name)));
    }
    stage.browser.look(LOOKS[0]).await.unwrap();
    let complaints = stage.browser.complaints().await.unwrap();
    let complaints = complaints.into_iter().filter(|it| it.starts_with("SEVERE") || it.starts_with("WARNING"));
    faults.extend(complaints.map(|complaint| format!("{name}: the browser complains: {complaint}")));
    let requests = stage.browser.requests().await.unwrap();
    let elsewhere = requests.into_iter().filter(|url| !url.starts_with(stage.url()) && !url.starts_with("data:"));
    faults.extend(elsewhere.map(|url| format!("{name}: it asks for {url}")));
    faults
}

/// Looks at the page as it stands.
pub(crate) async fn in_look(stage: &Stage, name: &str, look: Look) -> Vec<String> {
    stage.browser.keep_picture(&pictures().join(format!("{name}-{}.png", look.name))).await.unwrap();
    let barriers = stage.browser.barriers().await.unwrap();
    let mut faults: Vec<String> = barriers.into_iter().map(|barrier| barrier.to_string()).collect();
    let script = stage.browser.execute(STICKS_OUT, vec![look.width.into()]).await.unwrap();
    faults.extend(script.convert::<Vec<String>>().unwrap().into_iter().map(|it| format!("sticks out: {it}")));
    faults
}

/// The folder of pictures, in that of all builds.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
