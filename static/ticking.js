// Times on a page go on by themselves, by the server's clock.
(() => {
  "use strict";
  const { now, timeWords } = document.body.dataset;
  const { ago, in: ahead, now: justNow, soon, units } = JSON.parse(timeWords);
  const JUST_NOW = 3;
  let offset = now * 1000 - Date.now();

  function length(seconds) {
    const parts = [];
    let left = Math.floor(seconds);
    for (const [text, size] of units) {
      const amount = Math.floor(left / size);
      left -= amount * size;
      if (amount || parts.length || size === 1) parts.push([amount, text]);
    }
    return parts
      .slice(0, parts[0][0] > 9 ? 1 : 2)
      .filter(([amount], place) => amount || !place)
      .map(([amount, text]) => text.replace("{count}", amount))
      .join(" ");
  }
  function relative(seconds) {
    if (Math.abs(seconds) < JUST_NOW) return seconds >= 0 ? justNow : soon;
    return (seconds > 0 ? ago : ahead).replace("{length}", length(Math.abs(seconds)));
  }
  function tick() {
    const selection = getSelection();
    for (const time of document.querySelectorAll("time[data-tick]")) {
      const seconds = (Date.now() + offset - Date.parse(time.dateTime)) / 1000;
      const { tick } = time.dataset;
      const words = tick === "length" ? length(Math.max(seconds, 0)) : relative(seconds);
      if (tick === "title") time.title = words;
      else if (time.textContent !== words && (selection.isCollapsed || !selection.containsNode(time, true))) {
        time.textContent = words;
      }
    }
  }
  function askWhatIsDue() {
    const due = [...document.querySelectorAll("time[data-tick=text]")].map((time) => Date.parse(time.dateTime));
    return due.some((at) => at > last && at <= Date.now() + offset);
  }
  let last = Date.now() + offset;
  setInterval(() => {
    if (document.hidden) return;
    tick();
    const pulse = document.getElementById("pulse");
    if (pulse && askWhatIsDue()) pulse.dispatchEvent(new Event("seen"));
    last = Date.now() + offset;
  }, 1000);
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const told = detail.xhr.getResponseHeader("Squidmesh-Now");
    if (told) offset = told * 1000 - Date.now();
  });
})();
