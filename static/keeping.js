// A refresh never takes away what somebody is using.
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
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
    return "keep" in part.dataset && (find("#dialog").open || (other && find("details[open]", part)));
  }
  // What somebody has typed, but not into the table of runs, whose boxes are kept by themselves.
  function isTyped(part) {
    const fields = [...part.querySelectorAll("form textarea, form select, form input:not([type=hidden], [hx-preserve])")];
    const chosen = ({ options, selectedIndex }) =>
      selectedIndex !== Math.max([...options].findIndex((each) => each.defaultSelected), 0);
    const typed = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
    return fields.some((field) => (field.options ? chosen(field) : typed(field)));
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
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target: part, fragment } = event.detail;
    const focus = part.contains(document.activeElement) && document.activeElement;
    const name = focus && nameOf(focus);
    const again = name && find(name, fragment);
    if ((focus && !again) || isSelected(part) || isTyped(part) || isKept(part, fragment)) {
      event.preventDefault();
      const offer = find("#changed a");
      offer.hidden = false;
      find("#live [role=status]").textContent = offer.textContent;
      return;
    }
    keepPlaces(part, fragment);
    if (focus) queueMicrotask(() => find(name).focus({ preventScroll: true }));
  });
})();
