// Keeps the page live, over one stream of events, and makes things copyable. Without it the page still works.
"use strict";

(() => {
  const swap = (target, select) =>
    htmx.ajax("GET", location.pathname + location.search, { target, select: select || target, swap: "outerHTML" });

  // Where somebody is about to act, or has opened something, what they look at must not move under their hands.
  const busy = () =>
    document.querySelector("details.act[open]") !== null || document.activeElement?.closest("#live-part form") != null;

  const button = document.getElementById("live");
  let stream = null;
  let due = null;

  const refresh = async () => {
    due = null;
    if (!button || button.getAttribute("aria-pressed") !== "true") return;
    if (busy()) {
      const moved = document.getElementById("moved");
      if (moved) moved.hidden = false;
      return;
    }
    const opened = document.querySelector("details.raw[open]") !== null;
    await swap(button.dataset.target);
    if (opened) document.querySelector("details.raw")?.setAttribute("open", "");
    const rows = document.getElementById("rows");
    if (rows && !new URLSearchParams(location.search).has("cursor")) await swap("#rows");
    if (document.querySelector("#live-part[data-ended]")) end();
    offerCopies();
  };

  const listen = () => {
    const seq = document.querySelector("#live-part")?.dataset.seq;
    const url = button.dataset.stream.replace(/last_event_id=\d+/, `last_event_id=${seq}`);
    stream = new EventSource(url);
    const moved = () => { due = due || setTimeout(refresh, 300); };
    stream.addEventListener("open", () => say("Live", "on"));
    stream.addEventListener("error", () => say("Reconnecting", "lost"));
    stream.addEventListener("end", () => { moved(); stream.close(); });
    if (button.dataset.event) stream.addEventListener(button.dataset.event, moved);
    else for (const word of EVENTS) stream.addEventListener(word, moved);
  };

  const say = (words, state) => {
    button.querySelector(".words").textContent = words;
    button.dataset.state = state;
  };

  const end = () => { stream?.close(); button.hidden = true; };

  const EVENTS = [
    "step_succeeded", "step_retried", "step_failed", "step_unknown", "step_compensated", "compensation_retried",
    "compensation_failed", "saga_recovered", "cancel_requested", "retry_requested", "step_resolved",
    "saga_completed", "saga_compensated", "saga_needs_attention",
  ];

  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (on) { listen(); refresh(); } else { stream?.close(); say("Paused", "paused"); }
    });
    listen();
    // A page that nobody sees holds no stream.
    document.addEventListener("visibilitychange", () => {
      if (button.hidden || button.getAttribute("aria-pressed") !== "true") return;
      stream?.close();
      if (!document.hidden) { listen(); refresh(); }
    });
  }

  const offerCopies = () => {
    if (!navigator.clipboard) return;
    for (const copy of document.querySelectorAll("button.copy[hidden]")) {
      copy.hidden = false;
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.querySelector(copy.dataset.copies).textContent);
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
    }
  };
  offerCopies();
})();
