// Keeps a page current: follows the event stream, fetches the page's content anew when something happened (and every two
// seconds, because last values make no events), and changes only what differs. Also shows how long ago times were.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const FALLBACK_MS = 2000;
  const DEBOUNCE_MS = 150;

  function ago(ms) {
    const s = Math.round(Math.abs(ms) / 1000);
    if (s < 2) return "now";
    let span = `${Math.round(s / 86400)} days`;
    if (s < 100) span = `${s} s`;
    else if (s < 6000) span = `${Math.round(s / 60)} min`;
    else if (s < 172800) span = `${Math.round(s / 3600)} h`;
    return ms < 0 ? `in ${span}` : `${span} ago`;
  }

  function tell() {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.dateTime);
      if (Number.isNaN(at)) continue;
      const text = ago(Date.now() - at);
      if (time.textContent !== text) {
        if (!time.title) time.title = new Date(at).toLocaleString();
        time.textContent = text;
      }
    }
  }

  // Makes `old` like `fresh`, touching only what differs, so that focus, selection and scrolling stay.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh.cloneNode(true));
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeName === "TIME") {
      if (old.dateTime === fresh.dateTime) return;
      old.removeAttribute("title");
    }
    for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const name of fresh.getAttributeNames()) {
      if (old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
    }
    morphChildren(old, fresh);
  }

  // What has an id is found again by it, wherever it stands now: what somebody types into a form is not lost because a line
  // was added above.
  function morphChildren(old, fresh) {
    let at = old.firstChild;
    for (const node of fresh.childNodes) {
      if (node.id) {
        let known = at;
        while (known && known.id !== node.id) known = known.nextSibling;
        if (!known) {
          old.insertBefore(node.cloneNode(true), at);
          continue;
        }
        while (at !== known) at = removed(at);
      } else if (!at || at.id) {
        old.insertBefore(node.cloneNode(true), at);
        continue;
      }
      const next = at.nextSibling;
      morph(at, node);
      at = next;
    }
    while (at) at = removed(at);
  }

  function removed(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  let last = "";
  let busy = false;
  let again = false;
  async function refresh() {
    if (document.hidden) return;
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "x-fragment": "1" }, redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (answer.ok) {
        const text = await answer.text();
        if (text !== last) {
          last = text;
          const page = new DOMParser().parseFromString(`<main>${text}</main>`, "text/html");
          morphChildren(main, page.querySelector("main"));
          tell();
        }
      }
    } catch {
      show("bad", "✕", "no connection");
    } finally {
      busy = false;
      if (again) { again = false; soon(); }
    }
  }

  let timer = 0;
  function soon() {
    if (!timer) timer = setTimeout(() => { timer = 0; refresh(); }, DEBOUNCE_MS);
  }

  const live = document.getElementById("live");
  function show(tone, sign, word) {
    if (!live) return;
    live.className = `chip ${tone}`;
    live.firstElementChild.textContent = sign;
    live.lastElementChild.textContent = word;
  }

  tell();
  setInterval(tell, 1000);
  if (main) {
    const stream = new EventSource("/api/v1/events/stream");
    stream.onopen = () => show("good", "●", "live");
    stream.onerror = () => show("warn", "◐", "reconnecting");
    stream.addEventListener("event", soon);
    setInterval(refresh, FALLBACK_MS);
    document.addEventListener("visibilitychange", refresh);
  }
})();
