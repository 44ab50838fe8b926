// A head's page: what it should take, what it reads, its figures.
const CONTEXT = 8;
let stepQuery = () => {};

function headPage(place) {
  const { layer, head, figure } = place;
  const data = headAt(layer, head);
  const reading = readingPanel(data, place.query, (query) => {
    place.query = query;
    keepAddress(headAddress(layer, head, figure, query));
  });
  stepQuery = reading.step;
  return [
    make("h1", { tabindex: -1 }, `Layer ${layer}, head ${head}`),
    headSteps(place),
    section(
      "What it should take",
      recommended(layer, head),
      make("div", { class: "charts" }, trialsChart(data), budgetChoices(layer, head)),
    ),
    section("What it reads", reading.node),
    section(
      "How it reads",
      periodText(data.period),
      make("div", { class: "charts" }, headCharts(data)),
    ),
    section("Bridges in the text", bridges(data.bottlenecks)),
    section("Its figures among all heads", headFigures(layer, head, figure)),
  ];
}

function headSteps({ layer, head, figure }) {
  const at = layer * report.heads + head;
  const step = (to, text, name) => {
    const inside = to >= 0 && to < headCount;
    return inside
      ? link(headAddress(Math.floor(to / report.heads), to % report.heads, figure), text, {
          "aria-label": name,
          class: "button",
        })
      : null;
  };
  return make(
    "div",
    { class: "fields" },
    link(mapAddress(figure), "◂ Map", { class: "button" }),
    step(at - 1, "← head before", "Head before"),
    step(at + 1, "next head →", "Next head"),
    figureChoice("figure", figure, (id) => go(headAddress(layer, head, id))),
    make("p", { class: "readout" }, figureText(mapsById.get(figure), layer, head)),
  );
}

function figureText(map, layer, head) {
  const value = valueText(map, layer, head);
  return map.choice ? value : value + rankText(map, layer, head);
}

function recommended(layer, head) {
  const data = headAt(layer, head);
  const { option, cost, error, reason } = data.recommendation;
  return make(
    "p",
    { class: "card" },
    make("span", { class: `${optionClass(option)} mark` }, marks[option]),
    " ",
    make("strong", {}, report.options[option].name),
    `: cost ${perCent(cost)} of exact attention, error ${perCent(error)}, sensitivity ${withUnit(data.sensitivity, report.sensitivity_unit)}. ${reason}`,
  );
}

function budgetChoices(layer, head) {
  if (report.budgets.length === 0) return null;
  const rows = report.budgets.map((budget) => {
    const option = budget.choice[layer][head];
    return [
      perCent(budget.budget),
      [
        make("span", { class: `${optionClass(option)} mark` }, marks[option]),
        ` ${report.options[option].name}`,
      ],
    ];
  });
  const title = "What it takes when all heads share a budget";
  return make(
    "figure",
    {},
    make("figcaption", {}, title),
    make("p", { class: "soft small" }, "Budgets are shares of the cost of exact attention."),
    wide(title, table(title, ["budget", "option"], rows, "measures left")),
  );
}

function periodText(period) {
  if (!period || !period.period) return make("p", {}, "Its attention repeats at no fixed stride.");
  const what = period.kind === "position" ? "positions in the text" : "distances from the query";
  const stride = `every ${plural(period.period, "token")} in ${what}`;
  const chance = `of heads without a stride, at most ${perCent(period.chance)} look so`;
  if (period.chance >= CHANCE) {
    return make(
      "p",
      {},
      `Its attention repeats at no clear stride. The best guess, ${stride}, may be chance: ${chance}.`,
    );
  }
  const phases = listed(period.phases.map(String)) || "none";
  return make(
    "p",
    {},
    `Its attention repeats ${stride}; ${chance}. Remainders that stand out: ${phases}.`,
  );
}

function headCharts(data) {
  return [
    data.profile.offsets.length ? profileChart(data.profile) : null,
    data.tiles ? tilesChart(data.tiles) : null,
    data.stationary.length ? stationaryChart(data.stationary) : null,
    data.splats ? splatChart(data.splats) : null,
  ];
}

function passage(token) {
  const first = Math.max(0, token - CONTEXT);
  const last = Math.min(report.tokens, token + CONTEXT + 1);
  return make(
    "blockquote",
    {},
    make("span", { class: "soft" }, `token ${token}: `),
    `${first > 0 ? "…" : ""}${report.pieces.slice(first, token).join("")}`,
    make("mark", {}, report.pieces[token]),
    `${report.pieces.slice(token + 1, last).join("")}${last < report.tokens ? "…" : ""}`,
  );
}

function bridges(pairs) {
  if (pairs.length === 0)
    return make(
      "p",
      {},
      "None was found: no pair of tokens holds two parts of its attention together.",
    );
  return [
    make(
      "p",
      {},
      "Pairs of tokens whose tie holds two parts of the text together: without it they would hardly read each other.",
    ),
    make(
      "ol",
      { class: "bridges" },
      pairs.map(([from, to]) => make("li", {}, passage(from), passage(to))),
    ),
  ];
}

function headFigures(layer, head, chosen) {
  return byGroup(numberMaps).map(([group, some]) => [
    make("h3", {}, group),
    wide(
      group,
      table(
        group,
        ["figure", "value", "rank", "among all"],
        some.map((map) => figureRow(map, layer, head, chosen)),
        "measures glance",
      ),
    ),
  ]);
}

function figureRow(map, layer, head, chosen) {
  const value = map.values[layer][head];
  const name = link(mapAddress(map.id), map.title, {
    title: map.explanation,
    class: map.id === chosen ? "chosen" : null,
  });
  if (!isNumber(value)) return [name, NONE, NONE, "no number here"];
  return [
    name,
    withUnit(value, map.unit),
    `${rankOf(map.sorted, value)} of ${map.sorted.length}`,
    placeAmong(map.sorted, value),
  ];
}
