(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const on = (name, react, target = document) => target.addEventListener(name, react);
  const dialogOf = () => find("#dialog");

  // A link with hx-target="#dialog" shows its page in the dialog; without script it leads there.
  const isForm = ({ requestConfig }) => Boolean(requestConfig) && requestConfig.verb === "post";
  // After htmx has moved the focus to what has autofocus.
  on("htmx:afterSettle", ({ detail }) => {
    const dialog = dialogOf();
    if (detail.target !== dialog && !isForm(detail)) return;
    // What is no page of ours, such as the log-in of a proxy, is shown as what it is.
    if (!find("#action")) return (location.href = detail.requestConfig.path);
    if (detail.target === dialog) dialog.setAttribute("aria-label", find("h1", dialog).textContent);
    if (detail.target === dialog && !dialog.open) dialog.showModal();
    const first = find("#action [aria-invalid=true], #action [autofocus]");
    if (first) first.focus();
  });
  // A link says so for as long as its page is on the way; it is drawn as a ring that turns.
  on("htmx:beforeRequest", ({ detail }) => detail.target === dialogOf() && detail.elt.setAttribute("aria-busy", "true"));
  on("htmx:afterRequest", ({ detail }) => detail.elt.removeAttribute("aria-busy"));
  on("htmx:responseError", ({ detail }) => {
    if (detail.target === dialogOf()) location.href = detail.requestConfig.path;
  });
  // A form that gets no answer for its own place is sent as a page; its key keeps that from doing anything twice.
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    on(name, ({ detail }) => isForm(detail) && detail.requestConfig.elt.submit());
  }
  document.addEventListener("close", ({ target }) => target.replaceChildren(), true);
  on("click", (event) => {
    if (!event.target.closest("#dialog [data-close]")) return;
    event.preventDefault();
    dialogOf().close();
  });

  // navigator.clipboard is missing on plain http.
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  on("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const done = () => (button.textContent = button.dataset.done);
    const select = () => {
      getSelection().selectAllChildren(source);
      if (!document.execCommand("copy")) return;
      getSelection().removeAllRanges();
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, select);
    else select();
  });

  // Keys never act: they lead to a page or open a dialog.
  if (document.body.dataset.shortcuts === "off") return;
  let leading = false;
  function go(key) {
    const target = find(`[data-go="${CSS.escape(key)}"]`);
    if (target) target.href ? target.click() : target.focus();
    return target;
  }
  function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const now = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[Math.min(Math.max(now + by, 0), rows.length - 1)];
    if (next) find("a", next).focus();
  }
  function open(key) {
    const row = document.activeElement.closest("[data-row]") || find("#verdict");
    const button = row && find(`[data-act=${key}]`, row);
    if (button) button.click();
  }
  on("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (typing || dialogOf().open || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (leading) go(key);
    else if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
    else if (key === "a" || key === "x") open(key);
    else if ((key === "/" || key === "?") && go(key)) event.preventDefault();
    leading = key === "g" && !leading;
  });
})();
