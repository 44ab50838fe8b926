// Charts of one head: attention by offset, and the text as tiles and as a law.

function profileChart({ offsets, mass }) {
  const count = offsets.length;
  const most = Math.max(...mass.filter(isNumber), 0) || 1;
  const every = Math.ceil(count / 8);
  const x = {
    share: (bin) => bin / count,
    ticks: offsets.map((_, bin) => bin).filter((bin) => bin % every === 0),
    label: "tokens back from the query, each bar twice as far",
    format: (bin) => digits(offsets[bin]),
  };
  const drawing = chart({
    name: `Attention by distance; most at ${digits(offsets[mass.indexOf(most)])} tokens`,
    x,
    y: linearAxis(0, most, "share of attention", perCent),
    height: 200,
    body: (across, up) =>
      mass.map((share, bin) =>
        isNumber(share)
          ? draw(
              "rect",
              {
                class: "barrel",
                x: across(bin) + 1,
                y: up(share),
                width: Math.max(1, across(bin + 1) - across(bin) - 2),
                height: up(0) - up(share),
              },
              tip(`from ${digits(offsets[bin])}: ${perCent(share)}`),
            )
          : null,
      ),
  });
  return figureOf(
    "How far back it reads",
    "The attention of an average query by the distance of its keys; negative distances lie ahead.",
    drawing,
    ["from offset", "share of attention"],
    () => offsets.map((offset, bin) => [digits(offset), perCent(mass[bin])]),
  );
}

const alongText = () => linearAxis(0, report.tokens, "token");

function stationaryChart(law) {
  const size = report.tokens / law.length;
  const middle = 1 / law.length;
  const drawing = chart({
    name: "Stationary law along the text",
    x: alongText(),
    y: linearAxis(0, Math.max(...law.filter(isNumber), middle), "share of time", perCent),
    height: 180,
    body: (across, up) => {
      const points = law.flatMap((share, block) => [
        [across(block * size), up(share || 0)],
        [across((block + 1) * size), up(share || 0)],
      ]);
      return [
        area(points, up(0), "area"),
        polyline(
          [
            [across(0), up(middle)],
            [across(report.tokens), up(middle)],
          ],
          "even",
        ),
      ];
    },
  });
  return figureOf(
    "Where a walk along its attention ends up",
    "Follow the attention from token to token for long: the share of time spent in each stretch of the text. Dashed: everywhere alike.",
    drawing,
    ["from token", "share of time"],
    () => law.map((share, block) => [Math.round(block * size), perCent(share)]),
  );
}

function tilesChart({ ends, resolution, query }) {
  const starts = [0, ...ends.slice(0, -1)];
  const drawing = chart({
    name: `Tiles and their resolution for token ${query}`,
    x: alongText(),
    y: linearAxis(0, 1, "resolution", perCent),
    height: 180,
    body: (across, up) => [
      ends.map((end, tile) =>
        draw(
          "rect",
          {
            class: "tile",
            x: across(starts[tile]),
            y: up(resolution[tile] || 0),
            width: Math.max(0.5, across(end) - across(starts[tile])),
            height: up(0) - up(resolution[tile] || 0),
          },
          tip(`tokens ${starts[tile]} to ${end - 1}: ${perCent(resolution[tile])}`),
        ),
      ),
      polyline(
        [
          [across(query + 0.5), up(0)],
          [across(query + 0.5), up(1)],
        ],
        "even",
      ),
    ],
  });
  return figureOf(
    "How closely tiled attention reads the text",
    `For token ${query}, “${pieceText(query)}” (dashed): 100 % reads each token, less reads a tile through its summary.`,
    drawing,
    ["from token", "to token", "resolution"],
    () => ends.map((end, tile) => [starts[tile], end - 1, perCent(resolution[tile])]),
  );
}
