// What a head reads from a chosen token: the text, shaded by its weights.
const TOLD_KEYS = 8;
let tokens = null; // the elements of the text, made once and shared by all heads

function tokenElements() {
  if (tokens === null) {
    tokens = report.pieces.map((piece, token) => make("i", { "data-token": token }, piece));
  }
  return tokens;
}

function nearestQuery(head, token) {
  let best = 0;
  head.queries.forEach((query, place) => {
    if (Math.abs(query - token) < Math.abs(head.queries[best] - token)) best = place;
  });
  return best;
}

// Queries from the first to the last token, as places in head.queries.
const queryOrder = (head) =>
  head.queries.map((_, place) => place).sort((a, b) => head.queries[a] - head.queries[b]);

// Keys of a query from the heaviest on, and what is left for all others.
function readingOf(head, place) {
  const query = head.queries[place];
  const pairs = head.keys[place]
    .map((key, at) => ({ key, weight: head.weights[place][at] }))
    .sort((a, b) => b.weight - a.weight);
  const told = pairs.reduce((sum, pair) => sum + pair.weight, 0);
  const visible = report.kind === "decoder" ? query + 1 : report.tokens;
  return {
    query,
    pairs,
    told,
    rest: Math.max(0, 1 - told),
    others: Math.max(0, visible - pairs.length),
  };
}

// One scale for all queries of a head, so that their shades compare.
function weightScale(head) {
  const weights = rising(head.weights.flat()).filter((weight) => weight > 0);
  return logarithmicScale(Math.max(1e-4, weights.length ? Math.min(weights[0], 0.5) : 1e-4), 1);
}

// moved(token) is told which query is shown.
function readingPanel(head, token, moved) {
  if (head.queries.length === 0)
    return { node: make("p", {}, "No query was looked at."), step: () => {} };
  const order = queryOrder(head);
  const scale = weightScale(head);
  const parts = readingParts(head, order, scale);
  const show = (place) => {
    parts.at = place;
    showReading(parts, readingOf(head, order[place]), scale);
    moved(head.queries[order[place]]);
  };
  const step = (change) => show(Math.min(order.length - 1, Math.max(0, parts.at + change)));
  parts.slider.addEventListener("input", () => show(Number(parts.slider.value)));
  parts.back.addEventListener("click", () => step(-1));
  parts.on.addEventListener("click", () => step(1));
  parts.text.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-token]");
    if (chosen) show(order.indexOf(nearestQuery(head, Number(chosen.dataset.token))));
  });
  show(order.indexOf(nearestQuery(head, isNumber(token) ? token : report.tokens - 1)));
  return { node: parts.node, step };
}

function readingParts(head, order, scale) {
  const parts = {
    slider: make("input", { type: "range", id: "query", min: 0, max: order.length - 1, value: 0 }),
    back: make(
      "button",
      { type: "button", "aria-label": "Earlier query" },
      "◀ ",
      make("kbd", {}, "k"),
    ),
    on: make("button", { type: "button", "aria-label": "Later query" }, make("kbd", {}, "j"), " ▶"),
    told: make("p", { class: "readout", role: "status" }),
    keys: make("ol", { class: "told" }),
    strip: make("div", {}),
    text: textBox(head),
    table: make("div", {}),
  };
  parts.node = make(
    "div",
    {},
    make(
      "div",
      { class: "fields query" },
      parts.back,
      make(
        "div",
        { class: "field grow" },
        make("label", { for: "query" }, `Query: one of ${order.length} tokens`),
        parts.slider,
      ),
      parts.on,
    ),
    parts.told,
    parts.keys,
    parts.strip,
    weightKey(scale),
    parts.text,
    parts.table,
  );
  return parts;
}

function textBox(head) {
  const all = tokenElements();
  all.forEach((element) => {
    element.className = "";
  });
  head.queries.forEach((query) => all[query].classList.add("askable"));
  return make(
    "div",
    { class: "text", tabindex: 0, role: "group", "aria-label": "The text, shaded by attention" },
    all,
  );
}

function weightKey(scale) {
  const swatches = Array.from({ length: SHADES }, (_, shade) => make("i", { class: `h${shade}` }));
  const numbers = [0, 0.5, 1].map((share) => make("span", {}, perCent(scale.value(share))));
  const query =
    report.kind === "decoder"
      ? "framed: the query; grey: after it, so not visible"
      : "framed: the query";
  return make(
    "div",
    { class: "keys" },
    make(
      "div",
      { class: "scale" },
      make("div", { class: "swatches", "aria-hidden": "true" }, swatches),
      make("div", { class: "numbers" }, numbers),
    ),
    make("span", {}, `${query}; underlined: can be asked. Click a word to ask the nearest.`),
  );
}

function showReading(parts, reading, scale) {
  const name = `token ${reading.query}, “${pieceText(reading.query)}”`;
  parts.slider.value = parts.at;
  parts.slider.setAttribute("aria-valuetext", name);
  parts.told.textContent =
    `From ${name}: the ${plural(reading.pairs.length, "heaviest key")} told here hold ${perCent(reading.told)}; ` +
    `the ${plural(reading.others, "other")} share ${perCent(reading.rest)}.`;
  parts.keys.replaceChildren(
    ...reading.pairs.slice(0, TOLD_KEYS).map((pair) => keyItem(pair, reading.query)),
  );
  parts.strip.replaceChildren(weightStrip(reading, scale));
  parts.table.replaceChildren(
    asTable(`Keys of ${name}`, ["key", "text", "distance", "weight"], () =>
      reading.pairs.map(({ key, weight }) => [
        key,
        pieceText(key),
        reading.query - key,
        perCent(weight),
      ]),
    ),
  );
  shadeText(parts.text, reading, scale);
}

function distanceText(query, key) {
  if (query === key) return "itself";
  return query > key ? `${digits(query - key)} back` : `${digits(key - query)} ahead`;
}

function keyItem({ key, weight }, query) {
  return make(
    "li",
    {},
    make("q", {}, pieceText(key)),
    ` ${perCent(weight)} `,
    make("span", { class: "soft" }, distanceText(query, key)),
  );
}

function shadeText(box, reading, scale) {
  tokenElements().forEach((element, token) => {
    const hidden = report.kind === "decoder" && token > reading.query;
    const askable = element.classList.contains("askable");
    const name = [
      askable ? "askable" : "",
      hidden ? "later" : "",
      token === reading.query ? "asked" : "",
    ]
      .filter(Boolean)
      .join(" ");
    if (element.className !== name) element.className = name;
    if (element.title) element.removeAttribute("title");
  });
  reading.pairs
    .filter(({ weight }) => weight > 0)
    .forEach(({ key, weight }) => {
      tokens[key].classList.add("shade", `h${shadeOf(scale, weight)}`);
      tokens[key].title = perCent(weight);
    });
  keepInView(box, tokens[reading.query]);
}

// Scrolls the text, never the page.
function keepInView(box, element) {
  requestAnimationFrame(() => {
    const gap = element.getBoundingClientRect().top - box.getBoundingClientRect().top;
    if (gap < 0 || gap > box.clientHeight - 30) box.scrollTop += gap - box.clientHeight * 0.6;
  });
}

// The whole text as a line: a stroke for each key told, the query as a pointer.
function weightStrip(reading, scale) {
  const width = chartWidth();
  const across = (token) => 8 + ((token + 0.5) / report.tokens) * (width - 16);
  const strokes = reading.pairs
    .filter(({ weight }) => weight > 0)
    .map(({ key, weight }) =>
      draw("line", {
        class: "weight",
        x1: across(key),
        x2: across(key),
        y1: 32,
        y2: 32 - 3 - 24 * Math.min(1, scale.share(weight)),
      }),
    );
  const x = across(reading.query);
  return draw(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${width} 52`,
      width,
      height: 52,
      role: "img",
      "aria-label": "Where in the text the keys lie",
    },
    draw("line", { class: "grid", x1: 8, x2: width - 8, y1: 32, y2: 32 }),
    strokes,
    draw("path", { class: "pointer", d: `M${x} 33L${x + 4} 39L${x - 4} 39Z` }),
    draw("text", { x: 8, y: 49 }, "first token"),
    draw("text", { x: width - 8, y: 49, "text-anchor": "end" }, "last token"),
  );
}
