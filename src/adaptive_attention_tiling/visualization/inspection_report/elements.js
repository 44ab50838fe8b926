// Elements by safe calls only: text becomes text nodes, never markup.
const DRAWING = document.querySelector("svg").namespaceURI;

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// make("p", {class: "soft"}, "text", node, [nodes])
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(DRAWING, tag), attributes, children);
}

function link(target, text, attributes = {}) {
  return make("a", { href: `#${target}`, ...attributes }, text);
}

// columns: texts. rows: lists of cells, the first of which names the row.
function table(caption, columns, rows, style = "measures") {
  const cell = (content, place) =>
    place === 0 ? make("th", { scope: "row" }, content) : make("td", {}, content);
  return make(
    "table",
    { class: style },
    make("caption", { class: "unseen" }, caption),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        columns.map((name) => make("th", { scope: "col" }, name)),
      ),
    ),
    make(
      "tbody",
      {},
      rows.map((row) => make("tr", {}, row.map(cell))),
    ),
  );
}

// A box that scrolls by itself where the page is narrow; the keyboard can scroll it too.
function wide(name, ...children) {
  return make(
    "div",
    { class: "wide", role: "region", "aria-label": name, tabindex: 0 },
    ...children,
  );
}

// Content that is made when it is first opened.
function unfolding(summary, content) {
  const box = make("details", {}, make("summary", {}, summary));
  const fill = () => box.append(content());
  box.addEventListener("toggle", fill, { once: true });
  return box;
}

function asTable(caption, columns, rows) {
  return unfolding("As a table", () => wide(caption, table(caption, columns, rows())));
}

// groups: [[group, [[value, text], ...]], ...]; a group without a name stands alone.
function choice(id, name, groups, chosen, change) {
  const option = ([value, text]) => make("option", { value, selected: value === chosen }, text);
  const entry = ([group, options]) =>
    group === "" ? options.map(option) : make("optgroup", { label: group }, options.map(option));
  const box = make("select", { id, onchange: () => change(box.value) }, groups.map(entry));
  return make("div", { class: "field" }, make("label", { for: id }, name), box);
}

function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}
