"use strict";

// The page keeps one entry for each export and draws it anew whenever it
// changed. Changes come as server-sent events; where those do not work (or
// with ?live=polling) the page asks once in a while.

const POLL_MILLIS = 700;
// A browser opens six connections to a site at most, for all of its tabs:
// further exports are polled, so that a click always finds a free one.
const MOST_STREAMS = 2;
// Breaks in a row after which streams count as not working here.
const MOST_BREAKS = 20;

const byId = (id) => document.getElementById(id);
const onlyPolling = new URLSearchParams(location.search).get("live") === "polling";
const exportsById = new Map(); // id -> { data, item, follow }
let nextPage = null;
let lost = false;

// --- The interface -----------------------------------------------------------

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function api(path, options = {}) {
  const response = await fetch(path, { headers: { accept: "application/json" }, ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error || `the server answered ${response.status}`);
  return body;
}

const post = (path, body) =>
  api(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: body && JSON.stringify(body),
  });

const explain = (error) =>
  error instanceof Refused ? `That did not work: ${error.message}.` : "The server cannot be reached. Trying again…";

function showError(id, error) {
  byId(id).hidden = !error;
  byId(id).textContent = error ? explain(error) : "";
}

// --- Words -------------------------------------------------------------------

const number = new Intl.NumberFormat("en");
const amount = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const isFinished = (data) => ["completed", "failed", "cancelled"].includes(data.state);

function ago(millis) {
  const seconds = Math.round((millis - Date.now()) / 1000);
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return "just now";
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// What the badge says, and its colour.
function stateOf(data) {
  if (data.state === "running" && data.cancel_requested) return ["cancelling", "Cancelling…"];
  if (data.state === "scheduled" && data.attempt > 0) return ["retrying", "Trying again soon"];
  const words = { scheduled: "Waiting", ready: "Waiting", running: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled" };
  return [data.state, words[data.state]];
}

function messageOf(data) {
  if (data.state !== "running") return data.attempt > 0 ? "Waiting for the next attempt" : "Waiting for a worker";
  const step = data.step ? `Step ${data.step} of ${data.steps}` : "Starting";
  return data.message ? `${step} · ${data.message}` : step;
}

function factsOf(data) {
  const facts = [];
  if (data.rows !== null) facts.push(`${number.format(data.rows)} rows`, size(data.bytes));
  if (isFinished(data)) facts.push(ago(data.finished_at));
  else facts.push(`started ${ago(data.created_at)}`);
  if (data.attempt > 1) facts.push(`attempt ${data.attempt} of ${data.max_attempts}`);
  return facts.join(" · ");
}

function reasonOf(data) {
  const last = data.errors.at(-1);
  if (!last || !["failed", "scheduled"].includes(data.state)) return "";
  return `Attempt ${last.attempt} failed: ${last.message}`;
}

// --- Exports -----------------------------------------------------------------

function addItem(data) {
  const item = byId("export-item").content.cloneNode(true).querySelector("li");
  item.dataset.id = data.id;
  item.querySelector(".name").textContent = data.label;
  item.querySelector(".filters").textContent = [data.status, data.country].filter(Boolean).join(", ");
  item.querySelector("progress").setAttribute("aria-label", `Export of ${data.label}`);
  const download = item.querySelector(".download");
  download.setAttribute("aria-label", `Download ${data.label}`);
  item.querySelector(".cancel").addEventListener("click", () => act(data.id, "cancel"));
  item.querySelector(".retry").addEventListener("click", () => act(data.id, "retry"));

  // Ids rise with time; the list shows the newest first.
  const list = byId("exports");
  const older = [...list.children].find((other) => other.dataset.id < data.id);
  list.insertBefore(item, older || null);
  const entry = { data, item, stop: null };
  exportsById.set(data.id, entry);
  return entry;
}

function draw({ data, item }) {
  const find = (selector) => item.querySelector(selector);
  const [state, word] = stateOf(data);
  const write = (selector, text) => {
    if (find(selector).textContent !== text) find(selector).textContent = text;
  };
  item.dataset.state = state;
  write(".badge", word);
  find(".running").hidden = isFinished(data);
  find("progress").value = data.percent;
  write(".percent", `${data.percent}%`);
  write(".message", messageOf(data));
  write(".reason", reasonOf(data));
  write(".facts", factsOf(data));
  find(".cancel").hidden = isFinished(data);
  find(".cancel").disabled = data.cancel_requested;
  find(".retry").hidden = !["failed", "cancelled"].includes(data.state);
  find(".download").hidden = !data.file;
  if (data.file) find(".download").href = data.file;
}

// Takes in what the server says of an export, and follows it until its end.
function update(data) {
  const entry = exportsById.get(data.id) || addItem(data);
  const before = entry.data;
  entry.data = data;
  if (isFinished(data)) {
    if (!isFinished(before)) announce(data);
    unfollow(entry);
  } else if (!entry.stop) {
    follow(entry);
  }
  draw(entry);
  showLive();
  byId("empty").hidden = exportsById.size > 0;
}

function announce(data) {
  const rows = data.rows === null ? "" : `, ${number.format(data.rows)} rows`;
  byId("announce").textContent = `Export of ${data.label}: ${data.state}${rows}`;
}

async function act(id, action) {
  try {
    update(await post(`/api/exports/${id}/${action}`));
    showError("list-error", null);
  } catch (error) {
    showError("list-error", error);
    // It may have ended just before the click.
    api(`/api/exports/${id}`).then(update, () => {});
  }
}

function forget(entry) {
  unfollow(entry);
  entry.item.remove();
  exportsById.delete(entry.data.id);
  byId("empty").hidden = exportsById.size > 0;
}

// --- Following an export -----------------------------------------------------

function follow(entry) {
  const streams = [...exportsById.values()].filter((other) => other.stop?.kind === "events");
  entry.stop = onlyPolling || streams.length >= MOST_STREAMS ? poll(entry) : listen(entry);
  showLive();
}

function unfollow(entry) {
  entry.stop?.();
  entry.stop = null;
  showLive();
}

function listen(entry) {
  const source = new EventSource(`/api/exports/${entry.data.id}/events`);
  let breaks = 0;
  source.onmessage = (event) => {
    breaks = 0;
    setLost(false);
    update(JSON.parse(event.data));
  };
  source.onerror = () => {
    // The browser comes back by itself, unless it gave up.
    setLost(true);
    breaks += 1;
    if (source.readyState === EventSource.CLOSED || breaks > MOST_BREAKS) {
      source.close();
      if (entry.stop === stop) entry.stop = poll(entry);
      showLive();
    }
  };
  const stop = () => source.close();
  stop.kind = "events";
  return stop;
}

function poll(entry) {
  let timer = null;
  let stopped = false;
  const ask = async () => {
    try {
      const data = await api(`/api/exports/${entry.data.id}`);
      if (stopped) return;
      setLost(false);
      update(data);
    } catch (error) {
      if (stopped) return;
      if (error instanceof Refused && error.status === 404) return forget(entry);
      setLost(true);
    }
    if (!stopped) timer = setTimeout(ask, POLL_MILLIS);
  };
  timer = setTimeout(ask, POLL_MILLIS);
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
  };
  stop.kind = "polling";
  return stop;
}

function setLost(now) {
  lost = now;
  showLive();
}

function showLive() {
  const kinds = [...exportsById.values()].map((entry) => entry.stop?.kind);
  const kind = kinds.includes("events") ? "events" : kinds.includes("polling") ? "polling" : "idle";
  const shown = kind !== "idle" && lost ? "lost" : kind;
  const words = { idle: "Up to date", events: "Live · events", polling: "Live · polling", lost: "Reconnecting…" };
  byId("live").dataset.live = shown;
  if (byId("live").textContent !== words[shown]) byId("live").textContent = words[shown];
}

// --- The list ----------------------------------------------------------------

async function loadExports() {
  const after = nextPage ? `?after=${encodeURIComponent(nextPage)}` : "";
  try {
    const list = await api(`/api/exports${after}`);
    list.exports.forEach(update);
    nextPage = list.next;
    byId("more").hidden = !nextPage;
    byId("empty").hidden = exportsById.size > 0;
    showError("list-error", null);
  } catch (error) {
    showError("list-error", error);
    setTimeout(loadExports, 2000);
  }
  showLive();
}

// --- Choosing and previewing -------------------------------------------------

function chosen() {
  const fields = Object.fromEntries(new FormData(byId("form")));
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
}

function fill(select, options) {
  for (const { value, label } of options) select.add(new Option(label, value));
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);
const columnName = (name) => (name === "id" ? "Order" : capital(name.replaceAll("_", " ")));

let previews = 0;

async function showPreview() {
  const mine = ++previews;
  const table = byId("preview");
  table.setAttribute("aria-busy", "true");
  try {
    const { columns, rows, total } = await api(`/api/orders?${new URLSearchParams(chosen())}`);
    if (mine !== previews) return;
    drawTable(table, columns, rows);
    const all = `${number.format(total)} ${total === 1 ? "row" : "rows"}`;
    byId("preview-note").textContent =
      total > rows.length ? `The first ${rows.length} of ${all}` : total ? all : "No order matches these filters.";
  } catch (error) {
    if (mine !== previews) return;
    byId("preview-note").textContent = explain(error);
    setTimeout(() => mine === previews && showPreview(), 2000);
    return;
  }
  table.setAttribute("aria-busy", "false");
}

function drawTable(table, columns, rows) {
  const isPlain = (name) => name === "id";
  const isMoney = (name) => ["unit_price", "total", "revenue"].includes(name);
  const isNumber = (index) => rows.length > 0 && typeof rows[0][index] === "number" && !isPlain(columns[index]);
  const cell = (kind, text, index) => {
    const element = document.createElement(kind);
    element.textContent = text;
    if (isNumber(index)) element.className = "number";
    return element;
  };
  const row = (cells) => {
    const element = document.createElement("tr");
    element.append(...cells);
    return element;
  };
  const text = (value, index) => {
    if (columns[index] === "status") return capital(value);
    if (typeof value !== "number" || isPlain(columns[index])) return String(value);
    return isMoney(columns[index]) ? `€ ${amount.format(value)}` : number.format(value);
  };
  const head = columns.map((name, index) => {
    const element = cell("th", columnName(name), index);
    element.scope = "col";
    return element;
  });
  table.tHead.replaceChildren(row(head));
  table.tBodies[0].replaceChildren(
    ...rows.map((values) => row(values.map((value, index) => cell("td", text(value, index), index)))),
  );
}

// --- Start -------------------------------------------------------------------

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("export").disabled = true;
  try {
    const data = await post("/api/exports", chosen());
    update(data);
    byId("announce").textContent = `Export of ${data.label} begun`;
    showError("form-error", null);
  } catch (error) {
    showError("form-error", error);
  }
  byId("export").disabled = false;
});

byId("form").addEventListener("change", showPreview);
byId("more").addEventListener("click", loadExports);
setInterval(() => exportsById.forEach(draw), 15000);
// What another tab has exported meanwhile.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) api("/api/exports").then((list) => list.exports.forEach(update), () => {});
});

(async () => {
  loadExports();
  try {
    const { views, statuses, countries } = await api("/api/choices");
    fill(byId("view"), views);
    fill(byId("status"), statuses);
    fill(byId("country"), countries);
    showPreview();
  } catch (error) {
    showError("form-error", error);
  }
})();
