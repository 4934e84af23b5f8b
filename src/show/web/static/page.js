// Keeps the page up to date: fetches it anew at the poll's beat and changes what has changed in
// place, so that scroll, focus, selection and open details stay as they are. Writes times in the
// reader's zone. Without it the page reloads itself.

import { change } from "./change.js";
import { makeSortable, onSort } from "./sort.js";

const byId = (id) => document.getElementById(id);
const main = byId("main");
const state = byId("state");
const ago = byId("ago");
const pause = byId("pause");

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

// Where the reader looks, unless that is the top: what comes and goes above does not move it.
function lookedAt() {
  if (scrollY === 0) {
    return null;
  }
  const focused = document.activeElement;
  const top = focused.getBoundingClientRect().top;
  if (main.contains(focused) && focused !== main && top >= 0 && top < innerHeight) {
    return focused;
  }
  const places = [0.1, 0.3, 0.5, 0.7].map((part) => document.elementFromPoint(innerWidth / 2, innerHeight * part));
  return places.find((place) => place !== null && place !== main && main.contains(place)) ?? null;
}

function changeInPlace(wanted) {
  const place = lookedAt();
  const before = place?.getBoundingClientRect().top;
  change(main, wanted);
  if (place?.isConnected) {
    scrollBy({ top: place.getBoundingClientRect().top - before, behavior: "instant" });
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

// How long ago is not read out each second: it stands beside what is.
function writeState() {
  let text = isPaused ? "Paused." : "";
  let since = "";
  if (failure !== "") {
    text = `Cannot be updated: ${failure}.`;
    since = `Last updated ${Math.round((Date.now() - updated) / 1000)} s ago.`;
  }
  document.body.classList.toggle("old", failure !== "");
  ago.textContent = since;
  if (state.textContent !== text) {
    state.textContent = text;
  }
}

class NotThePage extends Error {}

function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const wanted = page.getElementById("main");
  if (wanted === null) {
    throw new NotThePage();
  }
  writeTimes(wanted);
  makeSortable(wanted);
  const before = findings(main);
  changeInPlace(wanted);
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
    failure = error instanceof NotThePage ? "the answer is not the exporter's page" : "no answer";
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
