// Keys, queries and splats of one head in the plane of their two main directions.

function around(values) {
  const known = rising(values);
  const spare = (known[known.length - 1] - known[0]) * 0.05 || 1;
  return [known[0] - spare, known[known.length - 1] + spare];
}

function splatChart({ axes, queries, keys, centres }) {
  const all = [...queries, ...keys, ...centres];
  if (all.length === 0) return null;
  const share = (place) =>
    `axis ${place + 1}${isNumber(axes[place]) ? ` (${perCent(axes[place])} of the variance)` : ""}`;
  const most = Math.max(...centres.map((centre) => Math.abs(centre[4] || 0)), 0) || 1;
  const reach = (side) => [
    ...all.map((point) => point[side]),
    ...centres.flatMap((centre) => [
      centre[side] - centre[side + 2],
      centre[side] + centre[side + 2],
    ]),
  ];
  const x = linearAxis(...around(reach(0)), share(0));
  const y = linearAxis(...around(reach(1)), share(1));
  const drawing = chart({
    name: `Keys, queries and ${plural(centres.length, "splat")} in the plane`,
    x,
    y,
    height: 320,
    body: (across, up) => {
      const dot =
        (style) =>
        ([a, b]) =>
          draw("circle", { class: style, cx: across(a), cy: up(b), r: 1.8 });
      const splat = ([a, b, sa, sb, amplitude]) =>
        draw(
          "ellipse",
          {
            class: "splat",
            cx: across(a),
            cy: up(b),
            rx: Math.abs(across(a + sa) - across(a)),
            ry: Math.abs(up(b + sb) - up(b)),
            "fill-opacity": 0.05 + (0.35 * Math.abs(amplitude)) / most,
          },
          tip(`amplitude ${digits(amplitude)}`),
        );
      return [centres.map(splat), keys.map(dot("key-dot")), queries.map(dot("query-dot"))];
    },
  });
  const legend = make(
    "ul",
    { class: "legend" },
    [
      ["key-dot", "keys"],
      ["query-dot", "queries"],
      ["splat", "splats: one deviation, fuller for more weight"],
    ].map(([style, text]) =>
      make(
        "li",
        {},
        draw(
          "svg",
          { class: "dot-key", viewBox: "0 0 12 12", "aria-hidden": "true" },
          draw("circle", {
            class: style,
            cx: 6,
            cy: 6,
            r: 4,
            "fill-opacity": style === "splat" ? 0.3 : 1,
          }),
        ),
        text,
      ),
    ),
  );
  return figureOf(
    "Splats in the plane of its keys",
    "Keys and queries on the two directions in which they vary most, and the Gaussians that stand for far keys.",
    make("div", {}, legend, drawing),
    ["splat", "place", "deviation", "amplitude"],
    () =>
      centres.map((c, place) => [
        place,
        `${digits(c[0])}, ${digits(c[1])}`,
        `${digits(c[2])}, ${digits(c[3])}`,
        digits(c[4]),
      ]),
  );
}
