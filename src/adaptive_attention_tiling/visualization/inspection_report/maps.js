// Everything that has one number, or one option, for each head.
const BOUNDLESS = { low: null, high: null, unit: "" };
const ONE_BY_ONE = "recommendation";

function figureMaps() {
  return report.figures.map((figure) => ({ ...figure, id: figure.name }));
}

function patternMaps() {
  const parts = [
    ["score", "score", "How well the attention matches the pattern. ", BOUNDLESS],
    ["z", "z", "How many standard deviations the score lies above what chance gives. ", BOUNDLESS],
    [
      "p_value",
      "p",
      "How often chance alone scores as high; small numbers speak for a match. ",
      { low: 0, high: 1, unit: "" },
    ],
  ];
  return report.patterns.flatMap((pattern) =>
    parts.map(([part, title, meaning, bounds]) => ({
      ...bounds,
      id: `pattern.${pattern.name}.${part}`,
      group: "patterns",
      title: `${pattern.name}: ${title}`,
      explanation: `${meaning}The pattern: ${pattern.description}`,
      values: pattern[part],
    })),
  );
}

const ofHeads = (pick) => report.by_head.map((heads) => heads.map(pick));

function choiceMaps() {
  const group = "recommendation";
  const each = {
    id: ONE_BY_ONE,
    group,
    title: "options on the heads' pages",
    explanation: isNumber(report.tolerance)
      ? `The cheapest option of each head whose error is at most ${perCent(report.tolerance)} of its output.`
      : "What each head takes when all heads share the middle budget.",
    choice: ofHeads((head) => head.recommendation.option),
  };
  const budgets = report.budgets.map((budget) => ({
    id: `budget.${budget.budget}`,
    group,
    title: `options for ${perCent(budget.budget)} of the cost`,
    explanation:
      `What each head takes when all heads together may cost ${perCent(budget.budget)} of exact attention. ` +
      `Predicted cost ${perCent(budget.cost)}, predicted harm ${withUnit(budget.harm, report.sensitivity_unit)}.`,
    choice: budget.choice,
  }));
  return [each, ...budgets];
}

function trialMaps() {
  const group = "recommendation";
  return [
    {
      ...BOUNDLESS,
      id: "head.sensitivity",
      group,
      title: "sensitivity",
      unit: report.sensitivity_unit,
      low: 0,
      values: ofHeads((head) => head.sensitivity),
      explanation:
        "What an error as large as the whole output of this head does to the model; smaller errors do less by their square.",
    },
    {
      ...BOUNDLESS,
      id: "head.cost",
      group,
      title: "cost of the recommended option",
      unit: "of exact attention",
      low: 0,
      values: ofHeads((head) => head.recommendation.cost),
      explanation: "Multiply-adds for a query as a share of those that exact attention needs.",
    },
    {
      ...BOUNDLESS,
      id: "head.error",
      group,
      title: "error of the recommended option",
      low: 0,
      values: ofHeads((head) => head.recommendation.error),
      explanation: "Relative error of the head's output on held-out queries.",
    },
  ];
}

const maps = [...figureMaps(), ...patternMaps(), ...choiceMaps(), ...trialMaps()];
const numberMaps = maps.filter((map) => map.values);
numberMaps.forEach((map) => {
  map.sorted = rising(map.values.flat());
});
const mapsById = new Map(maps.map((map) => [map.id, map]));
const firstMap = maps[0];

// [[group, maps], ...] in the order in which the groups first appear.
function byGroup(some) {
  const groups = new Map();
  some.forEach((map) => groups.set(map.group, [...(groups.get(map.group) || []), map]));
  return [...groups];
}

function boundsText(map) {
  if (isNumber(map.low) && isNumber(map.high))
    return `By law from ${digits(map.low)} to ${withUnit(map.high, map.unit)}.`;
  if (isNumber(map.low)) return `By law at least ${withUnit(map.low, map.unit)}.`;
  return isNumber(map.high) ? `By law at most ${withUnit(map.high, map.unit)}.` : "";
}

function valueText(map, layer, head) {
  if (map.choice) return report.options[map.choice[layer][head]].name;
  const value = map.values[layer][head];
  return isNumber(value) ? withUnit(value, map.unit) : "no number: it has no meaning here";
}

// "12 window 256, 3 exact": how many heads take each option, the most first.
function optionCounts(choice) {
  const counts = new Map();
  choice.flat().forEach((option) => counts.set(option, (counts.get(option) || 0) + 1));
  return [...counts].sort((a, b) => b[1] - a[1]);
}

// Where a number of all heads is extreme: [layer, head, value], the largest first.
function ranked(map) {
  return forEveryHead((layer, head) => [layer, head, map.values[layer][head]])
    .filter(([, , value]) => isNumber(value))
    .sort((a, b) => b[2] - a[2]);
}
