// Single keys, a table of them, and the choice of colours.
const SHORTCUTS = [
  ["← → ↑ ↓", "in the map: move between heads (Home, End: ends of a layer)"],
  ["Enter", "in the map: open the head"],
  ["Escape", "from a head to the map, from the map to the overview"],
  ["/", "choose a figure"],
  ["j, k", "on a head: later and earlier query"],
  ["n, p", "on a head: next head, head before"],
  ["o, m", "overview, map"],
  ["?", "show these keys"],
];
let shortcutsOn = true;

function fillDialog(dialog) {
  const box = make("input", {
    type: "checkbox",
    id: "shortcuts",
    checked: true,
    onchange: () => {
      shortcutsOn = box.checked;
    },
  });
  dialog.replaceChildren(
    make("h2", { id: "keys-title" }, "Keys"),
    make(
      "dl",
      {},
      SHORTCUTS.map(([key, meaning]) => [
        make("dt", {}, make("kbd", {}, key)),
        make("dd", {}, meaning),
      ]),
    ),
    make(
      "p",
      {},
      box,
      " ",
      make("label", { for: "shortcuts" }, "single letters and signs work as keys"),
    ),
    make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  );
}

function actionOf(key) {
  const head = here.view === "head";
  const at = head ? here.layer * report.heads + here.head : null;
  const openAt = (to) =>
    to >= 0 &&
    to < headCount &&
    go(headAddress(Math.floor(to / report.heads), to % report.heads, here.figure));
  const actions = {
    "/": () =>
      document.getElementById("figure")
        ? document.getElementById("figure").focus()
        : go(mapAddress(figureNow()), "figure"),
    "?": () => document.getElementById("keys").showModal(),
    o: () => go("overview"),
    m: () => go(mapAddress(figureNow())),
    j: head ? () => stepQuery(1) : null,
    k: head ? () => stepQuery(-1) : null,
    n: head ? () => openAt(at + 1) : null,
    p: head ? () => openAt(at - 1) : null,
  };
  return actions[key] || null;
}

function leave() {
  if (here.view === "head") go(mapAddress(here.figure), "cell");
  else if (here.view === "map") go("overview");
}

function onKey(event) {
  if (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.altKey ||
    event.metaKey ||
    document.querySelector("dialog[open]")
  )
    return;
  if (event.target.closest("select")) return; // it takes letters and Escape itself
  if (event.key === "Escape") leave();
  if (!shortcutsOn) return;
  const action = actionOf(event.key);
  if (action) {
    event.preventDefault();
    action();
  }
}

function listenToKeys() {
  const dialog = document.getElementById("keys");
  fillDialog(dialog);
  document.getElementById("show-keys").addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", onKey);
  const colours = document.getElementById("colours");
  colours.addEventListener("change", () => {
    document.documentElement.dataset.colours = colours.value;
  });
}
