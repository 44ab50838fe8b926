// Charts of one head: offsets, the text as tiles and as a law, the plane of splats, trials.

function profileChart({ offsets, mass }) {
  const count = offsets.length;
  const most = Math.max(...mass.filter(isNumber), 0) || 1;
  const every = Math.ceil(count / 8);
  const x = { share: (bin) => bin / count, ticks: offsets.map((_, bin) => bin).filter((bin) => bin % every === 0),
    label: "tokens back from the query, each bar twice as far", format: (bin) => digits(offsets[bin]) };
  const drawing = chart({
    name: `Attention by distance; most at ${digits(offsets[mass.indexOf(most)])} tokens`,
    x, y: linearAxis(0, most, "share of attention", perCent), height: 200,
    body: (across, up) => mass.map((share, bin) => (isNumber(share) ? draw("rect",
      { class: "barrel", x: across(bin) + 1, y: up(share), width: Math.max(1, across(bin + 1) - across(bin) - 2), height: up(0) - up(share) },
      tip(`from ${digits(offsets[bin])}: ${perCent(share)}`)) : null)),
  });
  return figureOf("How far back it reads", "The attention of an average query by the distance of its keys; negative distances lie ahead.",
    drawing, ["from offset", "share of attention"], () => offsets.map((offset, bin) => [digits(offset), perCent(mass[bin])]));
}

const alongText = () => linearAxis(0, report.tokens, "token");

function stationaryChart(law) {
  const size = report.tokens / law.length;
  const middle = 1 / law.length;
  const drawing = chart({
    name: "Stationary law along the text", x: alongText(), y: linearAxis(0, Math.max(...law.filter(isNumber), middle), "share of time", perCent), height: 180,
    body: (across, up) => {
      const points = law.flatMap((share, block) => [[across(block * size), up(share || 0)], [across((block + 1) * size), up(share || 0)]]);
      return [area(points, up(0), "area"), polyline([[across(0), up(middle)], [across(report.tokens), up(middle)]], "even")];
    },
  });
  return figureOf("Where a walk along its attention ends up",
    "Follow the attention from token to token for long: the share of time spent in each stretch of the text. Dashed: everywhere alike.",
    drawing, ["from token", "share of time"], () => law.map((share, block) => [Math.round(block * size), perCent(share)]));
}

function tilesChart({ ends, resolution, query }) {
  const starts = [0, ...ends.slice(0, -1)];
  const drawing = chart({
    name: `Tiles and their resolution for token ${query}`, x: alongText(), y: linearAxis(0, 1, "resolution", perCent), height: 180,
    body: (across, up) => [
      ends.map((end, tile) => draw("rect", { class: "tile", x: across(starts[tile]), y: up(resolution[tile] || 0),
        width: Math.max(0.5, across(end) - across(starts[tile])), height: up(0) - up(resolution[tile] || 0) },
        tip(`tokens ${starts[tile]} to ${end - 1}: ${perCent(resolution[tile])}`))),
      polyline([[across(query + 0.5), up(0)], [across(query + 0.5), up(1)]], "even"),
    ],
  });
  return figureOf("How closely tiled attention reads the text",
    `For token ${query}, “${pieceText(query)}” (dashed): 100 % reads each token, less reads a tile through its summary.`,
    drawing, ["from token", "to token", "resolution"], () => ends.map((end, tile) => [starts[tile], end - 1, perCent(resolution[tile])]));
}

function around(values) {
  const known = rising(values);
  const spare = (known[known.length - 1] - known[0]) * 0.05 || 1;
  return [known[0] - spare, known[known.length - 1] + spare];
}

function splatChart({ axes, queries, keys, centres }) {
  const all = [...queries, ...keys, ...centres];
  if (all.length === 0) return null;
  const share = (place) => `axis ${place + 1}${isNumber(axes[place]) ? ` (${perCent(axes[place])} of the variance)` : ""}`;
  const most = Math.max(...centres.map((centre) => Math.abs(centre[4] || 0)), 0) || 1;
  const reach = (side) => [
    ...all.map((point) => point[side]),
    ...centres.flatMap((centre) => [centre[side] - centre[side + 2], centre[side] + centre[side + 2]]),
  ];
  const x = linearAxis(...around(reach(0)), share(0));
  const y = linearAxis(...around(reach(1)), share(1));
  const drawing = chart({
    name: `Keys, queries and ${plural(centres.length, "splat")} in the plane`, x, y, height: 320,
    body: (across, up) => {
      const dot = (style) => ([a, b]) => draw("circle", { class: style, cx: across(a), cy: up(b), r: 1.8 });
      const splat = ([a, b, sa, sb, amplitude]) => draw("ellipse", { class: "splat", cx: across(a), cy: up(b),
        rx: Math.abs(across(a + sa) - across(a)), ry: Math.abs(up(b + sb) - up(b)), "fill-opacity": 0.05 + 0.35 * Math.abs(amplitude) / most },
        tip(`amplitude ${digits(amplitude)}`));
      return [centres.map(splat), keys.map(dot("key-dot")), queries.map(dot("query-dot"))];
    },
  });
  const legend = make("ul", { class: "legend" }, [["key-dot", "keys"], ["query-dot", "queries"], ["splat", "splats: one deviation, fuller for more weight"]]
    .map(([style, text]) => make("li", {}, draw("svg", { class: "dot-key", viewBox: "0 0 12 12", "aria-hidden": "true" },
      draw("circle", { class: style, cx: 6, cy: 6, r: 4, "fill-opacity": style === "splat" ? 0.3 : 1 })), text)));
  return figureOf("Splats in the plane of its keys", "Keys and queries on the two directions in which they vary most, and the Gaussians that stand for far keys.",
    make("div", {}, legend, drawing), ["splat", "place", "deviation", "amplitude"],
    () => centres.map((c, place) => [place, `${digits(c[0])}, ${digits(c[1])}`, `${digits(c[2])}, ${digits(c[3])}`, digits(c[4])]));
}

// No error and no cost have no place on a logarithm; they stand at its low end.
function trialsChart(head) {
  const chosen = head.recommendation.option;
  const errors = rising(head.trials.map((trial) => trial.error)).filter((error) => error > 0);
  const costs = rising(head.trials.map((trial) => trial.cost)).filter((cost) => cost > 0);
  if (costs.length === 0) return null;
  const low = errors.length ? errors[0] / 2 : 1e-3;
  const drawing = chart({
    name: "Cost against error of each option", height: 280,
    x: logarithmicAxis(costs[0] / 1.3, Math.max(1, costs[costs.length - 1]) * 1.3, "cost, of exact attention", perCent),
    y: logarithmicAxis(low / 1.4, Math.max(1, ...errors) * 1.3, "error of the output", perCent),
    body: (across, up) => head.trials.map(({ option, cost, error }) => draw("g", { class: `trial ${optionClass(option)}` },
      option === chosen ? draw("circle", { class: "chosen", cx: across(cost || costs[0]), cy: up(error || low), r: 14 }) : null,
      draw("circle", { cx: across(cost || costs[0]), cy: up(error || low), r: 10 }),
      draw("text", { x: across(cost || costs[0]), y: up(error || low) + 4, "text-anchor": "middle" }, marks[option]),
      tip(`${report.options[option].name}: cost ${perCent(cost)}, error ${perCent(error)}`))),
  });
  const row = ({ option, cost, error }) => [`${marks[option]} ${report.options[option].name}${option === chosen ? " (recommended)" : ""}`, perCent(cost), perCent(error)];
  return figureOf("What it could take instead", "Each option by its cost and the error that it makes on held-out queries; lower and further left is better. Ringed: recommended.",
    drawing, ["option", "cost", "error"], () => head.trials.map(row));
}
