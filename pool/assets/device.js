// Shows how far a device came, as the pool tells it. Without this script the page loads itself again.
"use strict";

const steps = document.getElementById("steps");

function show(event) {
  const fresh = new DOMParser().parseFromString(event.data, "text/html");
  steps.replaceChildren(...fresh.body.childNodes);
}

if (steps && steps.dataset.events) {
  const events = new EventSource(steps.dataset.events);
  events.addEventListener("progress", show);
  events.addEventListener("over", (event) => {
    show(event);
    events.close();
    document.getElementById("test-over").hidden = false;
  });
}
