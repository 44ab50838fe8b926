// What the page shows. Nothing in it is trusted to be anything but text and numbers.
const report = JSON.parse(document.getElementById("document").textContent);
const headCount = report.layers * report.heads;

const headAt = (layer, head) => report.by_head[layer][head];

// Calls visit(layer, head) for every head, and gives what it returned, in that order.
function forEveryHead(visit) {
  const results = [];
  for (let layer = 0; layer < report.layers; layer += 1) {
    for (let head = 0; head < report.heads; head += 1) results.push(visit(layer, head));
  }
  return results;
}

// A token's text on one line: white space that would be invisible has a sign.
function pieceText(token) {
  const text = report.pieces[token].replace(/\n/g, "⏎").replace(/\t/g, "⇥");
  return text.trim() === "" ? text.replace(/ /g, "␣") || "∅" : text.trim();
}

// The letters that stand for an option in a cell: "W2" is the second option that is a window.
function optionMarks(options) {
  return options.map((option, place) => {
    const alike = options.filter((other) => other.kind === option.kind);
    const letter = (option.kind[0] || "?").toUpperCase();
    const number = options.slice(0, place + 1).filter((one) => one.kind === option.kind).length;
    return alike.length === 1 ? letter : letter + number;
  });
}

const marks = optionMarks(report.options);
const KINDS = ["exact", "window", "tiled", "splat", "fidelity"];

// The class that colours an option; kinds that the page does not know share the last colour.
function optionClass(place) {
  const kind = KINDS.indexOf(report.options[place].kind);
  return `kind kind${kind < 0 ? KINDS.length : kind}`;
}
