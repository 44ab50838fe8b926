// Which page is shown, and how one leads to another.
const content = document.getElementById("content");
let here = placeOf(window.location.hash.slice(1));
let focusNext = null; // what the next page focuses: "cell", an id, or nothing for its heading

const figureNow = () => here.figure || firstMap.id;
const addressNow = () => window.location.hash.slice(1);

function pageOf(where) {
  if (where.view === "map") return mapPage(where);
  return where.view === "head" ? headPage(where) : overviewPage();
}

function show() {
  if (here.view === "head") view.head = { layer: here.layer, head: here.head };
  content.replaceChildren(...pageOf(here).flat(Infinity).filter(Boolean));
  const name = here.view === "head" ? headName(here.layer, here.head) : here.view;
  document.title = `${name} · attention of ${report.model}`;
  document.getElementById("to-map").href = `#${mapAddress(figureNow())}`;
  document.getElementById("to-head").href =
    `#${headAddress(view.head.layer, view.head.head, figureNow())}`;
  for (const one of ["overview", "map", "head"]) {
    const entry = document.getElementById(`to-${one}`);
    if (one === here.view) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
}

function focusShown() {
  const cell = focusNext === "cell" ? content.querySelector("td[tabindex='0']") : null;
  const wanted =
    cell || (focusNext && document.getElementById(focusNext)) || content.querySelector("h1");
  focusNext = null;
  wanted.focus();
}

function go(address, focus = null) {
  focusNext = focus;
  if (addressNow() !== address) window.location.hash = address;
}

// The address follows what is shown without a step in the history.
function keepAddress(address) {
  if (addressNow() !== address) window.history.replaceState(null, "", `#${address}`);
}

function redrawKeepingFocus() {
  const id = document.activeElement && document.activeElement.id;
  show();
  const same = id && document.getElementById(id);
  if (same) same.focus();
}

function follow() {
  const before = here;
  here = placeOf(addressNow(), figureNow());
  if (here.view === "head" && here.query === null && before.view === "head")
    here.query = before.query;
  const sameHead =
    before.view === "head" &&
    here.view === "head" &&
    before.layer === here.layer &&
    before.head === here.head;
  if (sameHead || (before.view === "map" && here.view === "map")) {
    redrawKeepingFocus();
    return;
  }
  show();
  window.scrollTo(0, 0);
  focusShown();
}

function redrawWhenWidthChanges() {
  let width = chartWidth();
  window.addEventListener("resize", () => {
    if (chartWidth() === width) return;
    width = chartWidth();
    redrawKeepingFocus();
  });
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
listenToKeys();
redrawWhenWidthChanges();
window.addEventListener("hashchange", follow);
show();
