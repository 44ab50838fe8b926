// Places in the page as the part of an address after #:
// "overview", "map-FIGURE", and "LAYER-HEAD-FIGURE@QUERY", of which the last two parts may be left out.
const OVERVIEW = { view: "overview" };

const mapAddress = (figure) => `map-${encodeURIComponent(figure)}`;

function headAddress(layer, head, figure, query) {
  const named = figure ? `-${encodeURIComponent(figure)}` : "";
  return `${layer}-${head}${named}${isNumber(query) ? `@${query}` : ""}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text; // a stray % that someone typed
    throw error;
  }
}

const knownFigure = (text, otherwise) =>
  mapsById.has(decoded(text || "")) ? decoded(text) : otherwise;

// An address that names nothing leads to the overview.
function placeOf(address, figure = firstMap.id) {
  const map = /^map(?:-(.*))?$/.exec(address);
  if (map) return { view: "map", figure: knownFigure(map[1], figure) };
  const head = /^(\d+)-(\d+)(?:-([^@]*))?(?:@(\d+))?$/.exec(address);
  if (!head || Number(head[1]) >= report.layers || Number(head[2]) >= report.heads) return OVERVIEW;
  return {
    view: "head",
    layer: Number(head[1]),
    head: Number(head[2]),
    figure: knownFigure(head[3], figure),
    query: head[4] === undefined ? null : Number(head[4]),
  };
}

const headName = (layer, head) => `layer ${layer}, head ${head}`;

const headLink = (layer, head, figure) =>
  link(headAddress(layer, head, figure), headName(layer, head));
