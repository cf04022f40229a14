// Keeps a page up to date, copies texts, and draws nothing. Pages are whole without it.
//
// A part of a page (data-part, with an id) is taken out of a fresh copy of the page and put in the place of the old one,
// unless somebody is at work in it. That happens when the pool tells of something (an event), and else now and then;
// counts (data-count) go on with each event. Without the stream of events, the page is asked for more often. The dashboard
// hears of the whole pool, a miner's page of his own devices.
"use strict";

const INTERVAL_MS = 3000;
const SLOWEST_MS = 60000;
// With events: how often a page is asked for at most, and at least.
const SOONEST_MS = 1000;
const LATEST_MS = 10000;

function isInUse(part) {
  const selected = window.getSelection();
  const holds = selected && !selected.isCollapsed && part.contains(selected.anchorNode);
  return holds || (part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"));
}

// What was opened stays open.
function keepOpen(part, fresh) {
  const before = [...part.querySelectorAll("details")];
  [...fresh.querySelectorAll("details")].forEach((details, at) => {
    if (before[at]) details.open = before[at].open;
  });
}

// Who was at a button or in a table stays there.
function replace(part, fresh) {
  const inside = [...part.querySelectorAll("a, button, summary, [tabindex]")];
  const at = inside.indexOf(document.activeElement);
  part.replaceChildren(...fresh.childNodes);
  for (const name of ["class", "title"]) {
    if (fresh.hasAttribute(name)) part.setAttribute(name, fresh.getAttribute(name));
  }
  if (at >= 0) {
    const now = part.querySelectorAll("a, button, summary, [tabindex]")[at];
    if (now) now.focus({ preventScroll: true });
  }
}

async function refresh() {
  const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
  // Whoever was logged out meanwhile is shown why.
  if (answer.redirected) return location.reload();
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // What is another page by now is loaded anew.
  const passing = document.querySelector("[data-passing]");
  if (passing && !page.getElementById(passing.id)) return location.reload();
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || isInUse(part)) continue;
    keepOpen(part, fresh);
    if (part.innerHTML !== fresh.innerHTML) replace(part, fresh);
  }
  showCopyButtons();
}

function showState(text) {
  const state = document.getElementById("live-state");
  if (!state) return;
  state.textContent = text;
  state.hidden = false;
}

// Counts that go on between two copies of the page.
function showCounts(shares) {
  for (const count of document.querySelectorAll("[data-count=accepted]")) {
    if (shares.accepted > 0) count.textContent = String(shares.accepted_total);
  }
}

// Follows the events. The browser connects again by itself; whether it hears anything is told by isFollowed.
function follow() {
  const heard = { isFollowed: false, hasNews: false, hasOwn: false };
  const events = document.body.dataset.events;
  if (!window.EventSource || !events) return heard;
  const source = new EventSource(events);
  source.addEventListener("error", () => { heard.isFollowed = false; });
  source.addEventListener("open", () => { heard.isFollowed = true; });
  source.addEventListener("shares", (event) => {
    const shares = JSON.parse(event.data);
    showCounts(shares);
    // Charts go on when the pool's past has come so far.
    const isNews = shares.accepted > 0 || Object.keys(shares.refused).length > 0;
    if (isNews) document.dispatchEvent(new CustomEvent("adit:shares", { detail: shares.at_ms }));
  });
  // What a miner's devices do may go on all the time: the page is asked for as often as without events, and no more often.
  source.addEventListener("own", (event) => {
    heard.hasOwn = true;
    document.dispatchEvent(new CustomEvent("adit:shares", { detail: JSON.parse(event.data).at_ms }));
  });
  for (const kind of ["block", "payout", "connection", "lagged"]) {
    source.addEventListener(kind, () => { heard.hasNews = true; });
  }
  return heard;
}

async function keepUp() {
  const heard = follow();
  let pause = INTERVAL_MS;
  let asked = Date.now();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, heard.isFollowed ? SOONEST_MS : pause));
    const since = Date.now() - asked;
    const isDue = !heard.isFollowed || heard.hasNews || since >= (heard.hasOwn ? INTERVAL_MS : LATEST_MS);
    if (document.hidden || !isDue) continue;
    heard.hasNews = heard.hasOwn = false;
    asked = Date.now();
    try {
      await refresh();
      pause = INTERVAL_MS;
      showState("live");
    } catch {
      pause = Math.min(pause * 2, SLOWEST_MS);
      heard.isFollowed = false;
      showState("the pool does not answer");
    }
  }
}

function showCopyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent.trim();
  await navigator.clipboard.writeText(text);
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
});

showCopyButtons();
if (document.body.hasAttribute("data-live")) keepUp();
