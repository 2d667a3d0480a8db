// The page of a technician on site: asks the agent every two seconds, and stops and starts the value loop.
"use strict";
const part = (id) => document.getElementById(id);
const API = "/api/v1/reconciliation";
const WORDS = { active: "held", stopping: "being stopped", stopped: "not held: stopped", shadow: "only watched" };
let busy = false;

function say(text) {
  part("message").textContent = text;
  part("message").hidden = !text;
}

async function ask(method, path, body) {
  const init = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const answer = await fetch(path, init);
  const text = await answer.text();
  const json = text ? JSON.parse(text) : null;
  if (answer.status === 401) { signedIn(false); }
  if (!answer.ok) { throw new Error(json && json.detail ? json.detail : "the agent answered " + answer.status); }
  return json;
}

function signedIn(is) {
  part("sign-in").hidden = is;
  part("loop").hidden = !is;
  part("sign-out").hidden = !is;
}

function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) { return seconds + " s"; }
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? minutes + " min" : Math.round(minutes / 60) + " h";
}

const lasts = (ms) => ms === null || ms === undefined ? "until it is lifted" : "for another " + duration(ms);

function rows(table, lines) {
  const body = table.tBodies[0];
  body.replaceChildren(...lines.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) { row.insertCell().textContent = cell; }
    return row;
  }));
  table.hidden = lines.length === 0;
}

function show(view) {
  signedIn(true);
  part("device").textContent = view.device;
  part("state").textContent = WORDS[view.state] || view.state;
  part("state").className = "state " + view.state;
  const why = [];
  if (view.local) { why.push("Stopped here by " + view.local.by + ": " + view.local.reason + " (" + lasts(view.local.remainingMs) + ")."); }
  for (const pause of view.hub.pauses) {
    const what = pause.pointId || pause.sensorId ? "Paused" : "Stopped";
    why.push(what + " from the hub by " + pause.by + (pause.reason ? ": " + pause.reason : "") + " (" + lasts(pause.remainingMs) + ").");
  }
  part("why").textContent = why.join(" ");
  part("do-start").disabled = busy || !view.local;
  part("do-stop").disabled = busy;
  const hub = view.hub;
  part("hub").textContent = (hub.reachable ? "in reach" : "out of reach" + (hub.trouble ? ": " + hub.trouble : "")) + "; wants outputs " + (hub.wants === "active" ? "held" : hub.wants);
  part("interval").textContent = "every " + view.intervalMs + " ms" + (view.recommendedIntervalMs ? " (recommended: at least " + view.recommendedIntervalMs + " ms)" : "");
  part("pass").textContent = view.lastPassMs === null ? "none yet" : view.lastPassMs + " ms; " + view.passes + " passes, " + view.overruns + " of them too long";
  part("outputs").textContent = view.outputs + ", of which " + view.differing + " differ from what is wanted";
  const shown = (value) => value === null ? "–" : String(value);
  rows(part("points"), view.points.map((point) => [
    (point.sensor || point.sensorId) + "/" + (point.name || point.pointId), shown(point.wanted), shown(point.real), point.why || "",
  ]));
  rows(part("errors"), view.errors.map((error) => [error.at.slice(0, 19).replace("T", " "), error.error]));
}

async function look() {
  try { show(await ask("GET", API)); say(""); } catch (error) { if (part("sign-in").hidden) { say(error.message); } }
}

async function order(path, body) {
  busy = true;
  part("do-start").disabled = part("do-stop").disabled = true;
  try {
    const view = await ask("POST", API + path, body);
    busy = false;
    show(view);
    say("");
  } catch (error) { busy = false; say(error.message); }
}

part("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("POST", "/session", { token: part("token").value.trim() });
    part("token").value = "";
    say("");
    await look();
  } catch (error) { say(error.message); }
});
part("sign-out").addEventListener("click", async () => { await ask("DELETE", "/session"); signedIn(false); });
part("stop").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = { reason: part("reason").value };
  if (part("by").value.trim()) { body.by = part("by").value.trim(); }
  if (part("for").value) { body.forMs = Number(part("for").value); }
  order("/stop", body);
});
part("do-start").addEventListener("click", () => {
  const body = {};
  if (part("by").value.trim()) { body.by = part("by").value.trim(); }
  if (part("reason").value.trim()) { body.reason = part("reason").value.trim(); }
  order("/start", body);
});
ask("GET", "/session").then((session) => session.signedIn ? look() : signedIn(false)).catch((error) => say(error.message));
setInterval(() => { if (!busy && !part("loop").hidden) { look(); } }, 2000);
