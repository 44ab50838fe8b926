// The map: one figure, or one choice of options, for all heads.
const LAYERS = "as in the model";
const HEADS = "heads of a layer by value";
const MEANS = "layers by their mean";
const view = {
  order: LAYERS,
  scale: "seen",
  numbers: report.heads <= 16,
  head: { layer: 0, head: 0 },
};

const SCALES = {
  seen: [
    "even, over the values seen",
    (map) => linearScale(map.sorted[0], map.sorted[map.sorted.length - 1]),
  ],
  bounds: ["even, between the bounds", (map) => linearScale(map.low, map.high)],
  ratio: ["by ratio", (map) => logarithmicScale(map.sorted[0], map.sorted[map.sorted.length - 1])],
  rank: ["by rank", (map) => rankScale(map.sorted)],
};

function scalesFor(map) {
  const bounded = isNumber(map.low) && isNumber(map.high);
  return ["seen", ...(bounded ? ["bounds"] : []), ...(map.sorted[0] > 0 ? ["ratio"] : []), "rank"];
}

function mapPage(place) {
  const map = mapsById.get(place.figure);
  const readout = make(
    "p",
    { class: "readout" },
    "Point at a head, or move to it with the arrow keys; Enter opens it.",
  );
  const parts = map.choice ? choiceParts(map, readout) : numberParts(map, readout);
  return [
    make("h1", { tabindex: -1 }, "Map: ", map.title),
    make(
      "div",
      { class: "fields" },
      figureChoice("figure", place.figure, (id) => go(mapAddress(id))),
      parts.fields,
    ),
    make("p", {}, explanationText(map)),
    make(
      "div",
      { class: report.heads <= 16 ? "atlas beside" : "atlas" },
      make("div", { class: "side" }, parts.legend, readout),
      make(
        "div",
        { class: "plan" },
        make("div", { class: "wide" }, parts.grid),
        asTable(`${map.title}, by layer and head`, tableColumns(), () => tableRows(map)),
      ),
      make("div", { class: "ends" }, parts.ends),
    ),
  ];
}

function figureChoice(id, chosen, change) {
  const groups = byGroup(maps).map(([group, some]) => [
    group,
    some.map((map) => [map.id, map.title]),
  ]);
  return choice(id, "Figure", groups, chosen, change);
}

const explanationText = (map) =>
  [map.explanation, map.unit ? `Unit: ${map.unit}.` : "", boundsText(map)]
    .filter(Boolean)
    .join(" ");

const tableColumns = () => ["layer", ...report.by_head[0].map((_, head) => `head ${head}`)];

const tableRows = (map) =>
  report.by_head.map((heads, layer) => [
    layer,
    ...heads.map((_, head) => valueText({ ...map, unit: "" }, layer, head)),
  ]);

function plainRows() {
  return report.by_head.map((heads, layer) => ({ layer, heads: heads.map((_, head) => head) }));
}

function openHead(map) {
  return (layer, head) => go(headAddress(layer, head, map.id));
}

function choiceParts(map, readout) {
  const look = (layer, head) => {
    const option = map.choice[layer][head];
    const name = report.options[option].name;
    return {
      style: optionClass(option),
      text: marks[option],
      name: `${headName(layer, head)}: ${name}`,
    };
  };
  const show = (layer, head) => {
    const { option, reason } = headAt(layer, head).recommendation;
    const own = option === map.choice[layer][head] ? ` ${reason}` : "";
    view.head = { layer, head };
    readout.textContent = `${headName(layer, head)}: ${valueText(map, layer, head)}.${own}`;
  };
  const counts = optionCounts(map.choice).map(
    ([option, count]) => `${count} ${report.options[option].name}`,
  );
  const grid = headGrid({
    name: map.title,
    rows: plainRows(),
    headings: headings(LAYERS),
    look,
    show,
    open: openHead(map),
    start: view.head,
  });
  return {
    fields: [],
    legend: [optionLegend(), make("p", { class: "soft" }, `Heads: ${listed(counts)}.`)],
    grid,
    ends: null,
  };
}

const headings = (order) =>
  report.by_head[0].map((_, place) => (order === HEADS ? `${place + 1}.` : place));

function numberParts(map, readout) {
  if (map.sorted.length === 0) return emptyParts(map);
  const scales = scalesFor(map);
  const kind = scales.includes(view.scale) ? view.scale : "seen";
  const scale = SCALES[kind][1](map);
  const strip = spreadStrip(map, scale);
  const show = (layer, head) => {
    view.head = { layer, head };
    readout.textContent = `${headName(layer, head)}: ${valueText(map, layer, head)}${rankText(map, layer, head)}`;
    strip.point(map.values[layer][head]);
  };
  const grid = headGrid({
    name: `${map.title}, a head in each cell`,
    rows: orderedRows(map),
    headings: headings(view.order),
    look: (layer, head) => numberLook(map, scale, layer, head),
    show,
    open: openHead(map),
    start: view.head,
  });
  return { fields: numberFields(scales, kind), legend: strip.drawing, grid, ends: extremes(map) };
}

function emptyParts(map) {
  const look = (layer, head) => numberLook(map, null, layer, head);
  const grid = headGrid({
    name: map.title,
    rows: plainRows(),
    headings: headings(LAYERS),
    look,
    show: () => {},
    open: openHead(map),
    start: view.head,
  });
  return {
    fields: [],
    legend: make("p", { class: "soft" }, "No head has a number here."),
    grid,
    ends: null,
  };
}

function numberFields(scales, kind) {
  const redraw = (name) => (value) => {
    view[name] = value;
    redrawKeepingFocus();
  };
  const box = make("input", {
    type: "checkbox",
    id: "numbers",
    checked: view.numbers,
    onchange: () => redraw("numbers")(box.checked),
  });
  return [
    choice(
      "order",
      "Order",
      [["", [LAYERS, HEADS, MEANS].map((one) => [one, one])]],
      view.order,
      redraw("order"),
    ),
    choice(
      "scale",
      "Colours",
      [["", scales.map((one) => [one, SCALES[one][0]])]],
      kind,
      redraw("scale"),
    ),
    make("div", { class: "field tick" }, box, make("label", { for: "numbers" }, "Numbers")),
  ];
}

function rankText(map, layer, head) {
  const value = map.values[layer][head];
  return isNumber(value)
    ? ` (rank ${rankOf(map.sorted, value)} of ${map.sorted.length}; 1 is the most)`
    : "";
}

function numberLook(map, scale, layer, head) {
  const value = map.values[layer][head];
  const known = isNumber(value) && scale;
  return {
    style: known ? `h${shadeOf(scale, value)}` : "unknown",
    text: view.numbers ? short(value) : "",
    name: `${headName(layer, head)}: ${valueText(map, layer, head)}`,
  };
}

// A number that is missing sorts last.
const valueOr = (value, otherwise) => (isNumber(value) ? value : otherwise);

function orderedRows(map) {
  const rows = plainRows();
  if (view.order === HEADS) {
    rows.forEach(({ layer, heads }) =>
      heads.sort(
        (a, b) =>
          valueOr(map.values[layer][b], -Infinity) - valueOr(map.values[layer][a], -Infinity) ||
          a - b,
      ),
    );
  }
  if (view.order === MEANS)
    rows.sort((a, b) => layerMean(map, b.layer) - layerMean(map, a.layer) || a.layer - b.layer);
  return rows;
}

function layerMean(map, layer) {
  const known = map.values[layer].filter(isNumber);
  return known.length
    ? known.reduce((sum, value) => sum + value, 0) / known.length
    : -Number.MAX_VALUE;
}
