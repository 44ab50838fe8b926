// How the numbers of a map spread over the heads.

// The scale as nine shades, and above it a stroke for each head: how the heads spread along it.
function spreadStrip(map, scale) {
  const width = chartWidth();
  const across = (value) => 8 + Math.min(1, Math.max(0, scale.share(value))) * (width - 16);
  const pointer = draw("path", { class: "pointer", d: "" });
  const step = (width - 16) / SHADES;
  const ends = [
    [0, "start"],
    [0.5, "middle"],
    [1, "end"],
  ];
  const middle = quantile(map.sorted, 0.5);
  const label =
    `Spread of ${digits(map.sorted.length)} heads: from ${withUnit(map.sorted[0], map.unit)} over the middle ` +
    `${withUnit(middle, map.unit)} to ${withUnit(map.sorted[map.sorted.length - 1], map.unit)}`;
  const drawing = draw(
    "svg",
    {
      class: "chart spread",
      viewBox: `0 0 ${width} 62`,
      width,
      height: 62,
      role: "img",
      "aria-label": label,
    },
    map.sorted.map((value) =>
      draw("line", { class: "stroke", x1: across(value), x2: across(value), y1: 8, y2: 26 }),
    ),
    Array.from({ length: SHADES }, (_, shade) =>
      draw("rect", {
        class: `k${shade}`,
        x: 8 + step * shade,
        y: 28,
        width: step + 0.5,
        height: 12,
      }),
    ),
    ends.map(([share, anchor]) =>
      draw(
        "text",
        { x: 8 + share * (width - 16), y: 56, "text-anchor": anchor },
        withUnit(scale.value(share), share === 1 ? map.unit : ""),
      ),
    ),
    pointer,
  );
  const point = (value) => {
    const x = isNumber(value) ? across(value).toFixed(1) : null;
    pointer.setAttribute(
      "d",
      x === null ? "" : `M${x} 27L${x} 6M${x - 4} 1L${Number(x) + 4} 1L${x} 8Z`,
    );
  };
  return { drawing, point };
}

function extremes(map) {
  const order = ranked(map);
  const listOf = (title, some) =>
    make(
      "div",
      {},
      make("h3", {}, title),
      make(
        "ol",
        {},
        some.map(([layer, head, value]) =>
          make("li", {}, headLink(layer, head, map.id), `: ${withUnit(value, map.unit)}`),
        ),
      ),
    );
  return make(
    "div",
    { class: "columns" },
    listOf("Most", order.slice(0, 5)),
    listOf("Least", order.slice(-5).reverse()),
  );
}
