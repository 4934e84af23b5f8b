// Keeps the page up to date: fetches it anew at the poll's beat and changes what has changed in
// place, so that scroll, focus, selection and open details stay as they are. Sorts tables, and
// writes times in the reader's zone. Without it the page reloads itself.
"use strict";

const byId = (id) => document.getElementById(id);
const main = byId("main");
const state = byId("state");
const pause = byId("pause");

// Which column each table is sorted by: key of the table to { column, down }.
const sorted = new Map();
let timer = 0;
let request = null;
let isPaused = false;
let updated = Date.now();
let failure = "";

const beat = () => Math.max(Number(document.body.dataset.beat) || 5000, 1000);

// Times

const inZone = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "long",
});

function writeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      time.textContent = inZone.format(moment);
      time.title = time.dateTime;
    }
  }
}

// Tables

function value(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) {
    return Number(cell.dataset.value);
  }
  return cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") {
    return a - b;
  }
  // What was not measured stands below every number.
  if (typeof a !== typeof b) {
    return typeof a === "number" ? 1 : -1;
  }
  return a.localeCompare(b, undefined, { numeric: true });
}

function sortTable(table) {
  const by = sorted.get(table.dataset.sortKey);
  const heads = table.tHead.rows[0].cells;
  for (const [column, head] of [...heads].entries()) {
    const isIt = by !== undefined && by.column === column;
    if (isIt) {
      head.setAttribute("aria-sort", by.down ? "descending" : "ascending");
    } else {
      head.removeAttribute("aria-sort");
    }
  }
  if (by === undefined || by.column >= heads.length) {
    return;
  }
  const rows = [...table.tBodies[0].rows];
  const sign = by.down ? -1 : 1;
  rows.sort((a, b) => sign * compare(value(a, by.column), value(b, by.column)));
  table.tBodies[0].append(...rows);
}

function makeSortable(root) {
  for (const table of root.querySelectorAll("table[data-sort-key]")) {
    for (const head of table.tHead.rows[0].cells) {
      if (head.firstElementChild === null) {
        const button = head.ownerDocument.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.textContent = head.textContent;
        head.replaceChildren(button);
      }
    }
    sortTable(table);
  }
}

function onSort(button) {
  const head = button.parentElement;
  const table = head.closest("table");
  const known = sorted.get(table.dataset.sortKey);
  const column = head.cellIndex;
  // Figures are looked at from the worst on, names from A on.
  const down =
    known !== undefined && known.column === column ? !known.down : head.classList.contains("number");
  sorted.set(table.dataset.sortKey, { column, down });
  sortTable(table);
}

// Changes in place

const isText = (node) => node.nodeType === Node.TEXT_NODE;
const isAlike = (a, b) => a.nodeName === b.nodeName && (isText(a) || a.id === b.id);

function copyAttributes(from, to) {
  for (const { name } of [...to.attributes]) {
    // Whether details are open is up to the reader.
    if (!from.hasAttribute(name) && !(name === "open" && to.nodeName === "DETAILS")) {
      to.removeAttribute(name);
    }
  }
  for (const { name, value: text } of from.attributes) {
    if (to.getAttribute(name) !== text && !(name === "open" && to.nodeName === "DETAILS")) {
      to.setAttribute(name, text);
    }
  }
}

// Makes `old` like `wanted`, with as many of its own nodes as can be.
function change(old, wanted) {
  const ids = new Set([...wanted.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !ids.has(child.id)) {
      child.remove();
    }
  }
  old.normalize();
  let at = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    let kept = at;
    if (!isText(child) && child.id) {
      kept = [...old.childNodes].find((node) => node.id === child.id && isAlike(node, child));
    }
    if (kept === null || kept === undefined || !isAlike(kept, child)) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    // One that has moved up.
    if (kept !== at) {
      old.insertBefore(kept, at);
    }
    at = kept.nextSibling;
    if (isText(child)) {
      if (kept.data !== child.data) {
        kept.data = child.data;
      }
    } else {
      copyAttributes(child, kept);
      change(kept, child);
    }
  }
  while (at !== null) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// News

const findings = (root) =>
  [...root.querySelectorAll(".finding h3")].map((head) => head.textContent.trim());

// Says what is wrong now, if that is not what was wrong before: their names, not their figures.
function tellNews(before, now) {
  if (before.join("\n") === now.join("\n")) {
    return;
  }
  const many = now.length === 1 ? "1 finding" : `${now.length} findings`;
  byId("news").textContent = now.length === 0 ? "Nothing is wrong any more." : `${many}: ${now.join("; ")}`;
}

// The beat

function writeState() {
  const seconds = Math.round((Date.now() - updated) / 1000);
  let text = "";
  if (failure !== "") {
    text = `Cannot be updated (${failure}). Last updated ${seconds} s ago.`;
  } else if (isPaused) {
    text = "Paused.";
  }
  document.body.classList.toggle("old", failure !== "");
  if (state.textContent !== text) {
    state.textContent = text;
  }
}

function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const wanted = page.getElementById("main");
  if (wanted === null) {
    throw new Error("not the exporter's page");
  }
  writeTimes(wanted);
  makeSortable(wanted);
  const before = findings(main);
  change(main, wanted);
  tellNews(before, findings(main));
  document.title = page.title;
  document.body.dataset.beat = page.body.dataset.beat;
  const picker = page.getElementById("picker");
  const isInUse = byId("picker").contains(document.activeElement);
  if (!isInUse && picker.innerHTML !== byId("picker").innerHTML) {
    change(byId("picker"), picker);
  }
}

async function refresh() {
  clearTimeout(timer);
  request?.abort();
  const mine = new AbortController();
  request = mine;
  const limit = setTimeout(() => mine.abort(), Math.max(beat(), 5000));
  try {
    const answer = await fetch(location.pathname + location.search, {
      cache: "no-store",
      signal: mine.signal,
    });
    show(await answer.text());
    updated = Date.now();
    failure = "";
  } catch (error) {
    if (request !== mine) {
      return;
    }
    failure = mine.signal.aborted ? "no answer" : "no connection";
  } finally {
    clearTimeout(limit);
  }
  writeState();
  plan();
}

const mayRun = () => !isPaused && !document.hidden;

function plan() {
  clearTimeout(timer);
  if (mayRun()) {
    timer = setTimeout(refresh, beat());
  }
}

function resume() {
  if (mayRun()) {
    refresh();
  } else {
    clearTimeout(timer);
    const left = request;
    request = null;
    left?.abort();
    writeState();
  }
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  resume();
});
document.addEventListener("visibilitychange", resume);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.sort");
  if (button) {
    onSort(button);
  }
});
byId("picker").addEventListener("change", (event) => event.target.form?.requestSubmit());

// Paper shows what is folded up on the screen.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  unfolded.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => {
  unfolded.forEach((details) => (details.open = false));
});

byId("control").hidden = false;
writeTimes(main);
makeSortable(main);
setInterval(() => failure !== "" && writeState(), 1000);
plan();
