//! Every page that there is, found by the links between them.

use std::collections::{BTreeMap, VecDeque};

use crate::{pages, scene, soundness, stage::Stage};

/// The links of a page, without those within it.
const LINKS: &str = "return [...document.querySelectorAll('a[href]')].filter((it) => !it.hash).map((it) => it.href)";
/// What a program that follows a link is told.
const STATUS: &str =
    "const done = arguments[1]; fetch(arguments[0], { method: 'GET' }).then((it) => done(it.status), () => done(0))";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_and_bars_nobody() {
    let scene = scene::set().await;
    let stage = &scene.stage;
    let mut faults = Vec::new();
    // Without a log-in first: the front door, and the page of a miner who has not begun, are other pages then.
    for (path, name) in [("/".to_owned(), "start"), (format!("/m/{}", stage.site.new_address()), "miner-new")] {
        stage.open(&path).await;
        faults.extend(soundness::faults(stage, name).await);
    }
    let (open, guarded) = pages::all();
    let mut all: Vec<String> = open.iter().chain(&guarded).cloned().collect();
    all.sort_by_key(|path| path.matches('{').count());
    let mut tour = Tour { unseen: open, all, links: scene.entries().into(), faults };
    tour.go(stage).await;
    stage.open("/log-in").await;
    stage.give_token(stage.site.pool.first_token()).await;
    tour.unseen.extend(guarded);
    tour.links.push_front("/".to_owned());
    tour.go(stage).await;
    let Tour { unseen, mut faults, .. } = tour;
    faults.extend(unseen.iter().map(|page| format!("no link leads to {page}")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A way through all pages.
struct Tour {
    /// The paths of all pages, with their parameters in braces.
    all: Vec<String>,
    /// Those that are still to be looked at.
    unseen: Vec<String>,
    /// Links that were found.
    links: VecDeque<String>,
    faults: Vec<String>,
}

impl Tour {
    /// Goes where links lead, and looks at each page once; other links are tried.
    async fn go(&mut self, stage: &Stage) {
        let mut answers: BTreeMap<String, u16> = BTreeMap::new();
        while let Some(link) = self.links.pop_front() {
            let path = link.split('?').next().unwrap();
            let pattern = self.all.iter().find(|pattern| pages::stands_for(pattern, path));
            let Some(at) = self.unseen.iter().position(|unseen| Some(unseen) == pattern) else {
                if answers.len() < MOST_LINKS && !answers.contains_key(&link) {
                    let answer = stage.browser.execute_async(STATUS, vec![link.as_str().into()]).await.unwrap();
                    answers.insert(link, answer.convert().unwrap());
                }
                continue;
            };
            stage.open(&link).await;
            if stage.path().await.split('?').next() != Some(path) {
                // Where somebody may not go yet.
                continue;
            }
            let pattern = self.unseen.remove(at);
            self.faults.extend(soundness::faults(stage, &name(&pattern)).await);
            let found: Vec<String> = stage.ask(LINKS).await;
            self.links.extend(found.iter().filter_map(|link| link.strip_prefix(stage.url())).map(str::to_owned));
        }
        let broken = answers.into_iter().filter(|(_, status)| *status != 200);
        self.faults.extend(broken.map(|(link, status)| format!("{link} answers {status}")));
    }
}

/// So many links are followed that lead to no new page.
const MOST_LINKS: usize = 60;

/// What pictures of a page are called.
fn name(pattern: &str) -> String {
    let words: Vec<&str> = pattern.split(['/', '{', '}']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "home".to_owned() } else { words.join("-") }
}
