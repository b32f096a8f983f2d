// Refreshing by a poll that rests while nobody looks and never takes away what somebody is using.
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const on = (name, react, target = document) => target.addEventListener(name, react);
  const live = find("#live");
  if (!live) return;
  const dialog = find("#dialog");
  const status = find("[role=status]", live);
  const isPulse = (event) => event.detail.elt && event.detail.elt.id === "pulse";
  const needing = () => find("#needs-count").dataset;
  let { count } = needing();

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }
  function setLost(lost) {
    if (lost) say(live.dataset.lost.replace("{time}", live.dataset.at));
    else if (live.classList.contains("lost")) say("");
    live.classList.toggle("lost", lost);
  }
  function askNow() {
    const pulse = find("#pulse");
    if (pulse && !document.hidden) pulse.dispatchEvent(new Event("seen"));
  }

  on("htmx:beforeRequest", (event) => {
    if (isPulse(event) && document.hidden) event.preventDefault();
  });
  on("htmx:afterRequest", (event) => {
    if (!isPulse(event)) return;
    const { xhr } = event.detail;
    live.dataset.at = xhr.getResponseHeader("Squidmesh-Time") || live.dataset.at;
    setLost(xhr.status === 0 || xhr.status >= 500);
  });
  on("visibilitychange", askNow);
  on("online", askNow, window);
  on("offline", () => setLost(true), window);

  const KEPT = "details, pre, .scroll";
  function nameOf(element) {
    const name = ["id", "href", "aria-label"].find((each) => element.hasAttribute(each));
    return name && `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  }
  function isSelected(part) {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  }
  function isKept(part, fresh) {
    const { about } = part.dataset;
    const other = about && !find(`[data-about="${CSS.escape(about)}"]`, fresh);
    return "keep" in part.dataset && (dialog.open || (other && find("details[open]", part)));
  }
  function keepPlaces(part, fresh) {
    const places = fresh.querySelectorAll(KEPT);
    part.querySelectorAll(KEPT).forEach((old, place) => {
      const now = places[place];
      if (!now || now.tagName !== old.tagName) return;
      if ("open" in old) now.open = old.open;
      const { scrollTop, scrollLeft } = old;
      queueMicrotask(() => now.scrollTo(scrollLeft, scrollTop));
    });
  }
  on("htmx:oobBeforeSwap", (event) => {
    const { target: part, fragment } = event.detail;
    const focus = part.contains(document.activeElement) && document.activeElement;
    const name = focus && nameOf(focus);
    const again = name && find(name, fragment);
    if ((focus && !again) || isSelected(part) || isKept(part, fragment)) {
      event.preventDefault();
      const offer = find("#changed a");
      offer.hidden = false;
      return say(offer.textContent);
    }
    keepPlaces(part, fragment);
    if (focus) queueMicrotask(() => find(name).focus({ preventScroll: true }));
  });
  on("htmx:afterSettle", () => {
    const now = needing();
    if (now.count === count) return;
    ({ count } = now);
    document.title = (count > 0 ? `(${count}) ` : "") + document.title.replace(/^\(\d+\) /, "");
    say(now.says);
  });
})();
