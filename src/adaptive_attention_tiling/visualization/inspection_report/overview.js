// The first page: what was read, what was found, what is recommended, every figure.
function overviewPage() {
  return [
    make("h1", { tabindex: -1 }, `What the attention of ${report.model} does`),
    make("p", {}, lead()),
    section("What was found", bulletList(findings())),
    section("What is recommended", budgetsTable()),
    section(
      "Every figure at a glance",
      make(
        "p",
        { class: "soft" },
        "The dot of each line is the middle head, the bar holds the middle half of all heads. Names open the map.",
      ),
      figureTables(),
    ),
    section("How this was measured", facts()),
  ];
}

function lead() {
  const shared =
    report.key_value_heads < report.heads
      ? ` that share ${plural(report.key_value_heads, "set")} of keys and values`
      : "";
  const seen =
    report.kind === "decoder"
      ? "Every token attends to itself and those before it."
      : "Every token attends to all tokens.";
  return (
    `It read ${report.text}: ${plural(report.tokens, "token")} in ${plural(report.layers, "layer")} of ` +
    `${plural(report.heads, "attention head")}${shared}, ${digits(headCount)} in all. ${seen}`
  );
}

const bulletList = (items) =>
  make(
    "ul",
    { class: "findings" },
    items.map((parts) => make("li", {}, parts)),
  );

function budgetSentences() {
  return report.budgets
    .slice()
    .sort((a, b) => a.budget - b.budget)
    .map((budget) => {
      const counts = optionCounts(budget.choice).map(
        ([option, count]) => `${count} ${report.options[option].name}`,
      );
      return [
        make("strong", {}, `At ${perCent(budget.budget)} of the cost of exact attention`),
        ` the heads take: ${listed(counts)}. Predicted cost ${perCent(budget.cost)}, predicted harm ${withUnit(budget.harm, report.sensitivity_unit)}. `,
        link(mapAddress(`budget.${budget.budget}`), "See which"),
        ".",
      ];
    });
}

function budgetsTable() {
  const rows = report.budgets.map((budget) => [
    link(mapAddress(`budget.${budget.budget}`), perCent(budget.budget)),
    perCent(budget.cost),
    digits(budget.harm),
    shareBar(budget.choice),
  ]);
  const name = "Budgets and what they give";
  return [
    make(
      "p",
      {},
      "A budget is the cost that all heads together may have, as a share of exact attention. " +
        `Predicted harm, in ${report.sensitivity_unit}, adds up over all heads the sensitivity times the square of the error of what the head takes, more where errors of its kind add up over heads (windows, splats, fidelity).`,
    ),
    optionLegend(),
    wide(
      name,
      table(
        name,
        ["budget", "predicted cost", "predicted harm", "heads by option"],
        rows,
        "measures budgets",
      ),
    ),
    bulletList(budgetSentences()),
    make("p", {}, link(mapAddress(ONE_BY_ONE), "What the pages of the heads recommend")),
  ];
}

// Widths by the number of heads; the numbers are written, so nothing rests on colour.
function shareBar(choice) {
  const inOrder = optionCounts(choice).sort((a, b) => a[0] - b[0]);
  return make(
    "div",
    { class: "bar" },
    inOrder.map(([option, count]) => {
      const part = make(
        "span",
        {
          class: optionClass(option),
          title: `${report.options[option].name}: ${plural(count, "head")}`,
        },
        marks[option],
        make("span", { class: "count" }, ` ${count}`),
      );
      part.style.flexGrow = count;
      return part;
    }),
  );
}

function optionLegend() {
  return make(
    "ul",
    { class: "legend" },
    report.options.map((option, place) =>
      make(
        "li",
        {},
        make("span", { class: `${optionClass(place)} mark` }, marks[place]),
        ` ${option.name}`,
      ),
    ),
  );
}

function figureTables() {
  return byGroup(numberMaps).map(([group, some]) => [
    make("h3", {}, group),
    wide(
      group,
      table(
        group,
        ["figure", "least", "middle", "most", "spread"],
        some.map(glanceRow),
        "measures glance",
      ),
    ),
  ]);
}

function glanceRow(map) {
  const order = ranked(map);
  const name = link(mapAddress(map.id), map.title);
  if (order.length === 0) return [name, NONE, NONE, NONE, "none"];
  const ends = [order[order.length - 1], order[0]].map(([layer, head, value]) =>
    link(headAddress(layer, head, map.id), digits(value), {
      "aria-label": `${digits(value)}, ${headName(layer, head)}`,
    }),
  );
  const middle = quantile(map.sorted, 0.5);
  return [name, ends[0], digits(middle), ends[1], placeAmong(map.sorted, middle)];
}

function facts() {
  const named = (parts) =>
    Object.entries(parts)
      .map(([name, value]) => `${name} ${value === null ? "none" : value}`)
      .join(", ");
  const rows = [
    ["model", report.model],
    ["text", report.text],
    ["command", report.command],
    ["machine", named(report.machine)],
    ["versions", named(report.versions)],
    ["time", plural(Number(report.seconds.toFixed(1)), "second")],
    [
      "of processors",
      Object.entries(report.processor_seconds)
        .map(([part, seconds]) => `${part} ${digits(seconds)} s`)
        .join(", "),
    ],
  ];
  return make(
    "dl",
    {},
    rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}
