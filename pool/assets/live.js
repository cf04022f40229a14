// Keeps a page up to date, copies texts, and draws nothing. Pages are whole without it.
//
// A part of a page (data-part, with an id) is taken out of a fresh copy of the page and put in the place of the old one,
// unless somebody is at work in it.
"use strict";

const INTERVAL_MS = 3000;
const SLOWEST_MS = 60000;

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
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || isInUse(part)) continue;
    keepOpen(part, fresh);
    if (part.innerHTML !== fresh.innerHTML) replace(part, fresh);
  }
  showCopyButtons();
}

async function keepUp() {
  const state = document.getElementById("live-state");
  let pause = INTERVAL_MS;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (document.hidden) continue;
    try {
      await refresh();
      pause = INTERVAL_MS;
      if (state) state.textContent = "live";
    } catch {
      pause = Math.min(pause * 2, SLOWEST_MS);
      if (state) state.textContent = "the pool does not answer";
    }
    if (state) state.hidden = false;
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
