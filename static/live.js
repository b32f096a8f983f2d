// Refreshing by a poll that rests while nobody looks, and saying what it was refused.
// What is on the page is found when it is needed, since htmx may have put something else in its place.
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const on = (name, react, target = document) => target.addEventListener(name, react);
  const isPulse = (event) => event.detail.elt && event.detail.elt.id === "pulse";
  const needing = () => (find("#needs-count") || { dataset: {} }).dataset;
  const REST_SECONDS = 30;
  let { count } = needing();
  let restUntil = 0;

  function say(text) {
    const status = find("#live [role=status]");
    if (status && status.textContent !== text) status.textContent = text;
  }
  // why: one of the sentences of #live; none where the page is as the server has it.
  function tell(why) {
    const live = find("#live");
    if (!live) return;
    if (why) say(live.dataset[why].replace("{time}", live.dataset.at));
    else if (live.classList.contains("lost")) say("");
    live.classList.toggle("lost", Boolean(why));
    const again = find("#again");
    if (again) again.hidden = !["out", "refused", "gone"].includes(why);
    const out = find("#signed-out");
    if (out) out.hidden = why !== "out";
  }
  function faultOf(xhr) {
    if (xhr.status === 401 || xhr.status === 403) return "refused";
    if (xhr.status === 404 || xhr.status === 410) return "gone";
    if (xhr.status === 429) return "busy";
    // What is not ours, such as the log-in of a proxy, does not tell the time.
    return xhr.status < 300 && xhr.getResponseHeader("Squidmesh-Time") ? "" : "lost";
  }
  function isInUse() {
    const fields = [...document.querySelectorAll("main textarea, main input:not([type=hidden], [type=search])")];
    const typed = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
    return find("#dialog").open || fields.some(typed);
  }
  function askNow() {
    const pulse = find("#pulse");
    if (pulse && !document.hidden) pulse.dispatchEvent(new Event("seen"));
  }

  on("htmx:beforeRequest", (event) => {
    if (isPulse(event) && (document.hidden || Date.now() < restUntil)) event.preventDefault();
  });
  on("htmx:beforeOnLoad", (event) => {
    if (!isPulse(event)) return;
    const { xhr } = event.detail;
    if (xhr.getResponseHeader("HX-Redirect")) {
      // Whoever is in the middle of something goes to the log-in when they like.
      if (!isInUse()) return;
      tell("out");
    } else if (!faultOf(xhr)) return;
    event.preventDefault();
  });
  on("htmx:afterRequest", (event) => {
    if (!isPulse(event)) return;
    const { xhr } = event.detail;
    if (xhr.getResponseHeader("HX-Redirect")) return;
    const fault = faultOf(xhr);
    if (fault === "busy") restUntil = Date.now() + 1000 * (parseInt(xhr.getResponseHeader("Retry-After")) || REST_SECONDS);
    const live = find("#live");
    if (live && !fault) live.dataset.at = xhr.getResponseHeader("Squidmesh-Time");
    tell(fault);
  });
  on("visibilitychange", askNow);
  on("online", askNow, window);
  on("offline", () => tell("lost"), window);
  on("pageshow", (event) => event.persisted && askNow(), window);

  on("htmx:afterSettle", () => {
    const now = needing();
    if (now.count === count) return;
    ({ count } = now);
    document.title = (count > 0 ? `(${count}) ` : "") + document.title.replace(/^\(\d+\) /, "");
    say(now.says);
  });
})();
