// Charts as drawings: axes, lines, bars, points. All are drawn for the width that there is.
const EDGE = { left: 50, right: 14, top: 10, bottom: 40 };

// As wide as a column of the page: two columns where both have 20rem and a gap between them.
function chartWidth() {
  const inside = Math.min(document.documentElement.clientWidth, 992) - 32;
  return Math.max(240, inside >= 666 ? Math.floor((inside - 26) / 2) : Math.min(520, inside - 12));
}

function linearTicks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * size >= rough) * size;
  const ticks = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + 1e-9 * step; place += 1)
    ticks.push(place * step);
  return ticks;
}

// Powers of ten, or where there are few of them 1, 2 and 5 times each.
function logarithmicTicks(low, high) {
  const inside = (factors) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1)
      ticks.push(...factors.map((one) => one * 10 ** power));
    return ticks.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
  };
  const powers = inside([1]);
  const every = Math.ceil(powers.length / 5);
  return powers.length > 2 ? powers.filter((_, place) => place % every === 0) : inside([1, 2, 5]);
}

function linearAxis(low, high, label, format = digits) {
  const end = high > low ? high : low + 1;
  return { ...linearScale(low, end), ticks: linearTicks(low, end), label, format };
}

function logarithmicAxis(low, high, label, format = digits) {
  const end = high > low ? high : low * 10;
  return { ...logarithmicScale(low, end), ticks: logarithmicTicks(low, end), label, format };
}

// body(x, y) gets two functions from values to places and gives what is drawn.
function chart({ name, x, y, body, height = 220 }) {
  const width = chartWidth();
  const right = width - EDGE.right;
  const bottom = height - EDGE.bottom;
  const across = (value) => EDGE.left + x.share(value) * (right - EDGE.left);
  const up = (value) => bottom - y.share(value) * (bottom - EDGE.top);
  return draw(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": name,
    },
    x.ticks.map((tick) => [
      draw("line", { class: "grid", x1: across(tick), x2: across(tick), y1: EDGE.top, y2: bottom }),
      draw("text", { x: across(tick), y: bottom + 15, "text-anchor": "middle" }, x.format(tick)),
    ]),
    y.ticks.map((tick) => [
      draw("line", { class: "grid", x1: EDGE.left, x2: right, y1: up(tick), y2: up(tick) }),
      draw("text", { x: EDGE.left - 6, y: up(tick) + 4, "text-anchor": "end" }, y.format(tick)),
    ]),
    draw("text", { x: (EDGE.left + right) / 2, y: height - 6, "text-anchor": "middle" }, x.label),
    draw(
      "text",
      {
        transform: `translate(11 ${(EDGE.top + bottom) / 2}) rotate(-90)`,
        "text-anchor": "middle",
      },
      y.label,
    ),
    body(across, up),
  );
}

function polyline(points, style) {
  const path = points
    .map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`)
    .join("");
  return draw("path", { class: style, d: path });
}

function area(points, floor, style) {
  if (points.length === 0) return null;
  const ends = [
    [points[points.length - 1][0], floor],
    [points[0][0], floor],
  ];
  return polyline([...points, ...ends], style);
}

function tip(text) {
  return draw("title", {}, text);
}

function figureOf(title, note, drawing, columns, rows) {
  return make(
    "figure",
    {},
    make("figcaption", {}, title),
    make("p", { class: "soft small" }, note),
    drawing,
    columns ? asTable(title, columns, rows) : null,
  );
}

// Where one number stands among those of all heads: a dot on a line from the least to the most.
function placeAmong(sorted, value) {
  const scale = linearScale(sorted[0], sorted[sorted.length - 1]);
  const place = (one) => 4 + 92 * scale.share(one);
  return draw(
    "svg",
    { class: "place", viewBox: "0 0 100 14", "aria-hidden": "true" },
    draw("line", { class: "grid", x1: 4, x2: 96, y1: 7, y2: 7 }),
    draw("rect", {
      class: "middle",
      x: place(quantile(sorted, 0.25)),
      y: 4.5,
      height: 5,
      width: Math.max(0.5, place(quantile(sorted, 0.75)) - place(quantile(sorted, 0.25))),
    }),
    isNumber(value) ? draw("circle", { class: "dot", cx: place(value), cy: 7, r: 4 }) : null,
  );
}
