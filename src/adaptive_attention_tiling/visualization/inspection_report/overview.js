// The first page: what was read, what was found, what is recommended.
const CHANCE = 0.01;

function overviewPage() {
  return [
    make("h1", { tabindex: -1 }, `What the attention of ${report.model} does`),
    make("p", {}, lead()),
    section("What was found", bulletList(findings())),
    section("What is recommended", budgetsTable()),
    section("Every figure at a glance", make("p", { class: "soft" },
      "The dot of each line is the middle head, the bar holds the middle half of all heads. Names open the map."), figureTables()),
    section("How this was measured", facts()),
  ];
}

function lead() {
  const shared = report.key_value_heads < report.heads ? ` that share ${report.key_value_heads} sets of keys and values` : "";
  const seen = report.kind === "decoder" ? "Every token attends to itself and those before it." : "Every token attends to all tokens.";
  return `It read ${report.text}: ${plural(report.tokens, "token")} in ${plural(report.layers, "layer")} of ` +
    `${plural(report.heads, "attention head")}${shared}, ${digits(headCount)} in all. ${seen}`;
}

function findings() {
  return [...figureFindings(), ...periodFinding(), ...report.patterns.map(patternFinding)];
}

const bulletList = (items) => make("ul", { class: "findings" }, items.map((parts) => make("li", {}, parts)));

function budgetSentences() {
  return report.budgets.slice().sort((a, b) => a.budget - b.budget).map((budget) => {
    const counts = optionCounts(budget.choice).map(([option, count]) => `${count} ${report.options[option].name}`);
    return [
      make("strong", {}, `At ${perCent(budget.budget)} of the cost of exact attention`),
      ` the heads take: ${listed(counts)}. Predicted cost ${perCent(budget.cost)}, predicted harm ${digits(budget.harm)}. `,
      link(mapAddress(`budget.${budget.budget}`), "See which"),
      ".",
    ];
  });
}

function periodFinding() {
  const clear = forEveryHead((layer, head) => [layer, head, headAt(layer, head).period])
    .filter(([, , found]) => found && found.period && found.chance < CHANCE)
    .sort((a, b) => a[2].chance - b[2].chance);
  if (forEveryHead((layer, head) => headAt(layer, head).period).every((one) => !one)) return [];
  const expected = `Of heads without any, fewer than ${digits(CHANCE * headCount, 2)} would look so by chance.`;
  if (clear.length === 0) return [["No head attends at a fixed stride. ", expected]];
  const [layer, head, found] = clear[0];
  return [[
    make("strong", {}, plural(clear.length, "head")), clear.length === 1 ? " attends" : " attend",
    " at a fixed stride; the clearest, ", headLink(layer, head), `, every ${plural(found.period, "token")}. `, expected,
  ]];
}

function patternFinding(pattern) {
  const map = mapsById.get(`pattern.${pattern.name}.score`);
  const matching = pattern.p_value.flat().filter((p) => isNumber(p) && p < CHANCE).length;
  const best = ranked(map)[0];
  return [
    "The pattern ", make("strong", {}, pattern.name), ` is matched by ${plural(matching, "head")} `,
    `(p < ${CHANCE}; chance alone would give about ${digits(CHANCE * headCount, 2)})`,
    best ? [", best by ", headLink(best[0], best[1], map.id)] : "", ". ",
    link(mapAddress(map.id), "See which"), ".",
  ];
}

// One sentence for the first figure of each group; the table below has them all.
function figureFindings() {
  return byGroup(numberMaps.filter((map) => report.figures.some((figure) => figure.name === map.id)))
    .map(([, figures]) => figures.find((map) => map.sorted.length > 0))
    .filter(Boolean)
    .map(figureFinding);
}

function figureFinding(map) {
  const order = ranked(map);
  const [most, least] = [order[0], order[order.length - 1]];
  const middle = [0.25, 0.75].map((share) => digits(quantile(map.sorted, share)));
  return [
    link(mapAddress(map.id), map.title), `: half of the heads lie between ${middle[0]} and ${middle[1]}`, map.unit ? ` ${map.unit}` : "",
    "; least in ", headLink(least[0], least[1], map.id), ` (${digits(least[2])}), most in `,
    headLink(most[0], most[1], map.id), ` (${digits(most[2])})`, depthText(map), ".",
  ];
}

function depthText(map) {
  const layers = forEveryHead((layer) => layer);
  const together = rankCorrelation(layers, map.values.flat());
  if (report.layers < 3 || Math.abs(together) < 0.5) return "";
  return together > 0 ? "; it rises towards later layers" : "; it falls towards later layers";
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
    make("p", {}, "A budget is the cost that all heads together may have, as a share of exact attention. " +
      "Predicted harm adds up, over all heads, how much the model suffers by the error of what the head takes."),
    optionLegend(),
    wide(name, table(name, ["budget", "predicted cost", "predicted harm", "heads by option"], rows, "measures budgets")),
    bulletList(budgetSentences()),
    make("p", {}, link(mapAddress(ONE_BY_ONE), "What each head should take by itself")),
  ];
}

// Widths by the number of heads; the numbers are written, so nothing rests on colour.
function shareBar(choice) {
  const inOrder = optionCounts(choice).sort((a, b) => a[0] - b[0]);
  return make("div", { class: "bar" }, inOrder.map(([option, count]) => {
    const part = make("span", { class: optionClass(option), title: `${report.options[option].name}: ${plural(count, "head")}` },
      `${marks[option]} ${count}`);
    part.style.flexGrow = count;
    return part;
  }));
}

function optionLegend() {
  return make("ul", { class: "legend" }, report.options.map((option, place) =>
    make("li", {}, make("span", { class: `${optionClass(place)} mark` }, marks[place]), ` ${option.name}`)));
}

function figureTables() {
  return byGroup(numberMaps).map(([group, some]) => [
    make("h3", {}, group),
    wide(group, table(group, ["figure", "least", "middle", "most", "spread"], some.map(glanceRow), "measures glance")),
  ]);
}

function glanceRow(map) {
  const order = ranked(map);
  const name = link(mapAddress(map.id), map.title);
  if (order.length === 0) return [name, NONE, NONE, NONE, "no head has a number"];
  const ends = [order[order.length - 1], order[0]].map(([layer, head, value]) =>
    link(headAddress(layer, head, map.id), digits(value), { "aria-label": `${digits(value)}, ${headName(layer, head)}` }));
  const middle = quantile(map.sorted, 0.5);
  return [name, ends[0], digits(middle), ends[1], placeAmong(map.sorted, middle)];
}

function facts() {
  const named = (parts) => Object.entries(parts).map(([name, value]) => `${name} ${value}`).join(", ");
  const rows = [
    ["model", report.model],
    ["text", report.text],
    ["command", report.command],
    ["machine", named(report.machine)],
    ["versions", named(report.versions)],
    ["time", plural(Number(report.seconds.toFixed(1)), "second")],
  ];
  return make("dl", {}, rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}
