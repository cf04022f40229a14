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
    // Without a log-in first.
    let (mut unseen, mut links) = (pages::open(), VecDeque::from(scene.entries()));
    links.retain(|link| unseen.iter().any(|pattern| pages::stands_for(pattern, link)));
    look_at_all(stage, &mut unseen, &mut links, &mut faults).await;
    stage.open("/log-in").await;
    stage.give_token(stage.site.pool.first_token()).await;
    unseen.extend(pages::guarded());
    links.push_front("/".to_owned());
    look_at_all(stage, &mut unseen, &mut links, &mut faults).await;
    faults.extend(unseen.iter().map(|page| format!("no link leads to {page}")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Goes where links lead, and looks at each page once.
async fn look_at_all(stage: &Stage, unseen: &mut Vec<String>, links: &mut VecDeque<String>, faults: &mut Vec<String>) {
    let mut answers: BTreeMap<String, u16> = BTreeMap::new();
    while let Some(link) = links.pop_front() {
        let path = link.split('?').next().unwrap().to_owned();
        let Some(at) = unseen.iter().position(|pattern| pages::stands_for(pattern, &path)) else {
            if answers.len() < MOST_LINKS && !answers.contains_key(&link) {
                let answer = stage.browser.execute_async(STATUS, vec![link.as_str().into()]).await.unwrap();
                answers.insert(link, answer.convert().unwrap());
            }
            continue;
        };
        let pattern = unseen.remove(at);
        stage.open(&link).await;
        if stage.path().await.split('?').next() != Some(&path) {
            faults.push(format!("{link} leads to {}", stage.path().await));
            continue;
        }
        faults.extend(soundness::faults(stage, &name(&pattern)).await);
        let found: Vec<String> = stage.ask(LINKS).await;
        links.extend(found.iter().filter_map(|link| link.strip_prefix(stage.url())).map(str::to_owned));
    }
    faults
        .extend(answers.into_iter().filter(|(_, status)| *status != 200).map(|(it, status)| format!("{it}: {status}")));
}

/// So many links are followed that lead to no new page.
const MOST_LINKS: usize = 60;

/// What pictures of a page are called.
fn name(pattern: &str) -> String {
    let words: Vec<&str> = pattern.split(['/', '{', '}']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "home".to_owned() } else { words.join("-") }
}
