// Numbers as a person reads them, ranks, and nine shades.
const NONE = "–";
const SHADES = 9;
const isNumber = (value) => typeof value === "number";

function digits(value, significant = 3) {
  if (!isNumber(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return power(value);
  const places = Math.max(0, significant - 1 - Math.floor(Math.log10(size)));
  const rounded = Number(value.toFixed(Math.min(places, 8)));
  return rounded.toLocaleString("en-GB", { maximumFractionDigits: 8 }).replace("-", "−");
}

function power(value) {
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const raised = [...String(Number(exponent))].map(
    (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)],
  );
  return `${mantissa.replace("-", "−")} × 10${raised.join("")}`;
}

// More places where little is left to 0 or to 100 %.
function perCent(share) {
  if (!isNumber(share)) return NONE;
  const size = Math.abs(100 * share);
  if (size === 0) return "0 %";
  if (size < 0.01) return "< 0.01 %";
  const places = size < 0.995 ? 2 : size < 9.95 || (size > 99 && size < 99.95) ? 1 : 0;
  return `${(100 * share).toFixed(places).replace("-", "−")} %`;
}

const withUnit = (value, unit) =>
  unit && isNumber(value) ? `${digits(value)} ${unit}` : digits(value);

const plural = (count, noun) => `${digits(count)} ${noun}${count === 1 ? "" : "s"}`;

// "a, b and c"
const listed = (parts) =>
  parts.length < 2
    ? parts.join("")
    : `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;

const rising = (values) => values.filter(isNumber).sort((a, b) => a - b);

// Between the sorted values, as the share of the way from the first to the last.
function quantile(sorted, share) {
  if (sorted.length === 0) return null;
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)];
  return below + (sorted[Math.ceil(place)] - below) * (place - Math.floor(place));
}

// How many of the sorted values are smaller, or with `equal` no larger.
function countBelow(sorted, value, equal = false) {
  let first = 0;
  let last = sorted.length;
  while (first < last) {
    const middle = (first + last) >> 1;
    if (sorted[middle] < value || (equal && sorted[middle] === value)) first = middle + 1;
    else last = middle;
  }
  return first;
}

// 1 for the largest; equal values share the better place.
const rankOf = (sorted, value) => 1 + sorted.length - countBelow(sorted, value, true);

// A scale says where along it a value lies (0 to 1) and which value lies at a share of it.
function linearScale(low, high) {
  const span = high - low || 1;
  return {
    share: (value) => (value - low) / span,
    value: (share) => low + share * (high - low),
    low,
    high,
  };
}

function logarithmicScale(low, high) {
  const span = Math.log(high / low) || 1;
  return {
    share: (value) => (value <= low ? 0 : Math.log(value / low) / span),
    value: (share) => low * Math.exp(share * Math.log(high / low)),
    low,
    high,
  };
}

function rankScale(sorted) {
  const last = Math.max(1, sorted.length - 1);
  return {
    share: (value) => countBelow(sorted, value) / last,
    value: (share) => quantile(sorted, share),
    low: sorted[0],
    high: sorted[sorted.length - 1],
  };
}

// 0 (pale) to 8 (strong).
function shadeOf(scale, value) {
  const share = Math.min(1, Math.max(0, scale.share(value)));
  return Math.min(SHADES - 1, Math.floor(share * SHADES));
}

// How far two lists rise together, by ranks: -1 to 1.
function rankCorrelation(first, second) {
  const pairs = first
    .map((one, place) => [one, second[place]])
    .filter(([a, b]) => isNumber(a) && isNumber(b));
  if (pairs.length < 3) return 0;
  const [a, b] = [0, 1].map((side) => middleRanks(pairs.map((pair) => pair[side])));
  const centre = (pairs.length - 1) / 2;
  const product = (x, y) =>
    x.reduce((sum, one, place) => sum + (one - centre) * (y[place] - centre), 0);
  const scale = Math.sqrt(product(a, a) * product(b, b));
  return scale > 0 ? product(a, b) / scale : 0;
}

// Equal values share the mean of their ranks.
function middleRanks(values) {
  const sorted = rising(values);
  return values.map(
    (value) => (countBelow(sorted, value) + countBelow(sorted, value, true) - 1) / 2,
  );
}

// At most four letters, for a cell.
function short(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 1e6) return `${sign}${(size / 1e6).toFixed(0)}M`;
  if (size >= 1000) return `${sign}${(size / 1000).toFixed(size < 9950 ? 1 : 0)}k`;
  if (size >= 9.95) return sign + size.toFixed(0);
  if (size >= 0.995) return sign + size.toFixed(1);
  if (size >= 0.00995 || size === 0) return sign + size.toFixed(2).replace("0.00", "0");
  return value > 0 ? "<.01" : "≈0";
}
