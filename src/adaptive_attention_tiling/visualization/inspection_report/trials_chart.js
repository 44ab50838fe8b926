// What a head could take instead of exact attention, by cost and error.

// No error and no cost have no place on a logarithm; they stand at its low end.
function trialsChart(head) {
  const chosen = head.recommendation.option;
  const tried = head.trials.filter((trial) => isNumber(trial.cost) && isNumber(trial.error));
  const errors = rising(tried.map((trial) => trial.error)).filter((error) => error > 0);
  const costs = rising(tried.map((trial) => trial.cost)).filter((cost) => cost > 0);
  if (costs.length === 0) return null;
  const low = errors.length ? errors[0] / 2 : 1e-3;
  const drawing = chart({
    name: "Cost against error of each option",
    height: 280,
    x: logarithmicAxis(
      costs[0] / 1.3,
      Math.max(1, costs[costs.length - 1]) * 1.3,
      "cost, of exact attention",
      perCent,
    ),
    y: logarithmicAxis(low / 1.4, Math.max(1, ...errors) * 1.3, "error of the output", perCent),
    body: (across, up) =>
      tried.map(({ option, cost, error }) =>
        draw(
          "g",
          { class: `trial ${optionClass(option)}` },
          option === chosen
            ? draw("circle", {
                class: "chosen",
                cx: across(cost || costs[0]),
                cy: up(error || low),
                r: 14,
              })
            : null,
          draw("circle", { cx: across(cost || costs[0]), cy: up(error || low), r: 10 }),
          draw(
            "text",
            { x: across(cost || costs[0]), y: up(error || low) + 4, "text-anchor": "middle" },
            marks[option],
          ),
          tip(`${report.options[option].name}: cost ${perCent(cost)}, error ${perCent(error)}`),
        ),
      ),
  });
  const row = ({ option, cost, error }) => [
    `${marks[option]} ${report.options[option].name}${option === chosen ? " (recommended)" : ""}`,
    perCent(cost),
    perCent(error),
  ];
  return figureOf(
    "What it could take instead",
    "Each option by its cost and the error that it makes on held-out queries; lower and further left is better. Ringed: recommended.",
    drawing,
    ["option", "cost", "error"],
    () => head.trials.map(row),
  );
}
