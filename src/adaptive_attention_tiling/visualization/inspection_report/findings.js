// What was found, in plain words with links to where it shows.
const CHANCE = 0.01;

function findings() {
  return [
    ...figureFindings(),
    periodFinding(),
    ...report.patterns.map(patternFinding),
    lawFinding(),
  ];
}

function periodFinding() {
  const clear = forEveryHead((layer, head) => [layer, head, headAt(layer, head).period])
    .filter(([, , found]) => found && found.period && found.chance < CHANCE)
    .sort((a, b) => a[2].chance - b[2].chance);
  const expected = `Of heads without any, fewer than ${digits(CHANCE * headCount, 2)} would look so by chance.`;
  if (clear.length === 0) return ["No head attends at a clear fixed stride."];
  const [layer, head, found] = clear[0];
  return [
    make("strong", {}, plural(clear.length, "head")),
    clear.length === 1 ? " attends" : " attend",
    " at a fixed stride; the clearest, ",
    headLink(layer, head),
    `, every ${plural(found.period, "token")}. `,
    expected,
  ];
}

function patternFinding(pattern) {
  const map = mapsById.get(`pattern.${pattern.name}.score`);
  const [best] = pattern.matching.slice().sort((a, b) => a.adjusted - b.adjusted);
  const clearly = best ? [", most surely by ", headLink(best.layer, best.head, map.id)] : "";
  return [
    "The pattern ",
    make("strong", {}, pattern.name),
    ` is matched by ${plural(pattern.matching.length, "head")}`,
    clearly,
    ". ",
    link(mapAddress(map.id), "See the scores"),
    ".",
  ];
}

function lawFinding() {
  const broken = report.violations;
  if (broken.length === 0)
    return ["Every figure of every head lies within the bounds that its law gives."];
  return [
    make("strong", {}, `${plural(broken.length, "figure")} outside the bounds of a law`),
    `: ${listed(broken.slice(0, 10))}`,
    broken.length > 10 ? " and more." : ".",
  ];
}

// One sentence for the first figure of each group; the table below has them all.
function figureFindings() {
  return byGroup(
    numberMaps.filter((map) => report.figures.some((figure) => figure.name === map.id)),
  )
    .map(([, figures]) => figures.find((map) => map.sorted.length > 0))
    .filter(Boolean)
    .map(figureFinding);
}

function figureFinding(map) {
  const order = ranked(map);
  if (map.sorted[0] === map.sorted[map.sorted.length - 1]) {
    return [
      link(mapAddress(map.id), map.title),
      `: ${withUnit(map.sorted[0], map.unit)} in every head.`,
    ];
  }
  const [most, least] = [order[0], order[order.length - 1]];
  const middle = [0.25, 0.75].map((share) => digits(quantile(map.sorted, share)));
  return [
    link(mapAddress(map.id), map.title),
    `: half of the heads lie between ${middle[0]} and ${middle[1]}`,
    map.unit ? ` ${map.unit}` : "",
    "; least in ",
    headLink(least[0], least[1], map.id),
    ` (${digits(least[2])}), most in `,
    headLink(most[0], most[1], map.id),
    ` (${digits(most[2])})`,
    depthText(map),
    ".",
  ];
}

function depthText(map) {
  const layers = forEveryHead((layer) => layer);
  const together = rankCorrelation(layers, map.values.flat());
  if (report.layers < 3 || Math.abs(together) < 0.5) return "";
  return together > 0 ? "; it rises towards later layers" : "; it falls towards later layers";
}
