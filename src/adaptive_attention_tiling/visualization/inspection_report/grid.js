// A grid of heads, layers down: arrows move the focus, Enter opens a head, one cell is in the tab order.

// The cell that a key leads to from (row, column), or null.
function stepTo(key, control, row, column, rows, columns) {
  const steps = {
    ArrowRight: [row, column + 1],
    ArrowLeft: [row, column - 1],
    ArrowDown: [row + 1, column],
    ArrowUp: [row - 1, column],
    Home: [control ? 0 : row, 0],
    End: [control ? rows - 1 : row, columns - 1],
  };
  const step = steps[key];
  if (!step) return null;
  const inside = (place, count) => Math.min(count - 1, Math.max(0, place));
  return [inside(step[0], rows), inside(step[1], columns)];
}

// rows: [{layer, heads: [head, ...]}]; look(layer, head) gives {style, text, name};
// headings: column headings; open(layer, head) and show(layer, head) are called by keys and pointer.
function headGrid({ name, rows, headings, look, open, show, start }) {
  const cells = rows.map((row) =>
    row.heads.map((head) => gridCell(row.layer, head, look(row.layer, head))),
  );
  const place = startPlace(rows, start);
  cells[place[0]][place[1]].tabIndex = 0;
  const body = rows.map((row, at) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("span", { class: "unseen" }, "layer "), row.layer),
      cells[at],
    ),
  );
  const grid = make(
    "table",
    { class: "heads", role: "grid", "aria-label": name },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col" }, "layer"),
        headings.map((text) => make("th", { scope: "col" }, text)),
      ),
    ),
    make("tbody", {}, body),
  );
  listen(grid, cells, { open, show });
  return grid;
}

function gridCell(layer, head, { style, text, name }) {
  return make(
    "td",
    {
      class: style,
      role: "gridcell",
      tabindex: -1,
      "aria-label": name,
      "data-layer": layer,
      "data-head": head,
    },
    text,
  );
}

function startPlace(rows, start) {
  const row = rows.findIndex((one) => one.layer === start.layer);
  return [row, rows[row].heads.indexOf(start.head)];
}

const headOfCell = (cell) => [Number(cell.dataset.layer), Number(cell.dataset.head)];

function listen(grid, cells, { open, show }) {
  const cellOf = (event) => event.target.closest("td");
  grid.addEventListener("keydown", (event) => {
    const cell = cellOf(event);
    if (!cell || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(...headOfCell(cell));
      return;
    }
    const row = cells.findIndex((line) => line.includes(cell));
    const step = stepTo(
      event.key,
      event.ctrlKey,
      row,
      cells[row].indexOf(cell),
      cells.length,
      cells[0].length,
    );
    if (step) {
      event.preventDefault();
      cells[step[0]][step[1]].focus();
    }
  });
  grid.addEventListener("focusin", (event) => {
    const cell = cellOf(event);
    cells.flat().forEach((one) => {
      one.tabIndex = one === cell ? 0 : -1;
    });
    show(...headOfCell(cell));
  });
  grid.addEventListener(
    "pointerover",
    (event) => cellOf(event) && show(...headOfCell(cellOf(event))),
  );
  grid.addEventListener("click", (event) => cellOf(event) && open(...headOfCell(cellOf(event))));
}
