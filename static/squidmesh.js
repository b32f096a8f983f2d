(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const dialog = find("#dialog");
  const live = find("#live");
  const spoken = live && find("[role=status]", live);
  const usual = spoken && spoken.textContent;
  let reached = new Date();

  const isPulse = (event) => event.detail.elt && event.detail.elt.id === "pulse";
  const isBusy = (target) =>
    target.contains(document.activeElement) || (dialog.open && target.hasAttribute("data-keep"));

  function say(lost) {
    if (!live) return;
    live.classList.toggle("lost", lost);
    const text = lost ? document.body.dataset.lost.replace("{time}", reached.toLocaleTimeString()) : usual;
    if (spoken.textContent !== text) spoken.textContent = text;
  }

  // A poll rests while nobody looks, and never replaces what somebody is using.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isPulse(event) && document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (!isBusy(event.detail.target)) return;
    event.preventDefault();
    const line = find("#changed");
    if (line && !line.firstChild) {
      const link = document.createElement("a");
      link.href = location.href;
      link.className = "new";
      link.textContent = line.dataset.text;
      line.append(link);
    }
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isPulse(event)) return;
    const answered = event.detail.xhr && event.detail.xhr.status > 0 && event.detail.xhr.status < 500;
    if (answered) reached = new Date();
    say(!answered);
  });
  document.addEventListener("htmx:afterSettle", () => {
    const count = find("#needs-count");
    const title = document.title.replace(/^\(\d+\) /, "");
    if (count) document.title = count.dataset.count > 0 ? `(${count.dataset.count}) ${title}` : title;
  });

  // A link with data-dialog shows its page in the dialog; without script it leads there.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== dialog || !dialog.firstElementChild) return;
    if (!dialog.open) dialog.showModal();
    const first = find("[autofocus]", dialog);
    if (first) first.focus();
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.target === dialog) location.href = event.detail.requestConfig.path;
  });
  dialog.addEventListener("close", () => dialog.replaceChildren());
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("[data-close]")) return;
    event.preventDefault();
    dialog.close();
  });

  // Copying; navigator.clipboard is missing on plain http.
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    if (navigator.clipboard) navigator.clipboard.writeText(source.textContent);
    else {
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
  });

  // Keys: never while typing, and they only lead somewhere.
  if (document.body.dataset.shortcuts === "off") return;
  let leading = false;
  const go = (key) => {
    const target = find(`[data-go="${CSS.escape(key)}"]`);
    if (target) target.matches("a") ? target.click() : target.focus();
    return target;
  };
  function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const now = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[Math.min(Math.max(now + by, 0), rows.length - 1)];
    if (next) find("a", next).focus();
  }
  function act(key) {
    const row = document.activeElement.closest("[data-row]") || find("#verdict");
    const button = row && find(`[data-act="${CSS.escape(key)}"]`, row);
    if (button) button.click();
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (typing || dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (leading) {
      leading = false;
      go(event.key);
    } else if (event.key === "g") leading = true;
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "a" || event.key === "x") act(event.key);
    else if ((event.key === "/" || event.key === "?") && go(event.key)) event.preventDefault();
  });
})();
