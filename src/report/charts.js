// What every page of this program draws with: elements, numbers, scales, and charts of plain SVG.
//
// Text from data enters the page through text nodes and attributes alone, never as markup. A chart is a figure that draws
// `items`; what an item is, the page knows. Deliberately absent: animation, and anything fetched.

// ---- Elements ----

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** An HTML element; strings among the children become text. */
const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
/** An SVG element. */
const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const byId = (id) => document.getElementById(id);

// ---- Values and numbers as text ----

const DIGITS = 4;

/** A number for reading: four digits, an exponent when it is far from 1. */
function number(value, digits = DIGITS) {
  if (typeof value === "bigint") return String(value);
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return minus(String(value));
  const size = Math.abs(value);
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const short = mantissa.replace(/\.?0+$/, "");
  if (size < 1e-3 || size >= 1e6) return minus(`${short}e${Number(exponent)}`);
  return minus(String(Number(value.toPrecision(digits))));
}

/** The same number of decimals for a column of numbers of this span. */
function decimals(values) {
  const [lo, hi] = extent(values);
  const span = hi - lo || Math.abs(hi) || 1;
  return Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(span))));
}

const minus = (text) => text.replace(/^-/, "−");
const fixed = (value, places) => (Number.isFinite(value) ? minus(value.toFixed(places)) : "–");
const percent = (share) => `${number(100 * share, share > 0.1 ? 2 : 1)} %`;
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** 0.8 s, 42 s, 3 min 05 s, 2 h 10 min. */
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${number(seconds, 2)} s`;
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** A value of any JSON type on one line. Strings stand without quotes. */
function words(value) {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint") return number(value, 6);
  return json(value);
}

/** JSON; whole numbers too large for a double keep their digits. */
function json(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${json(inner)}`).join(", ")}}`;
  }
  if (typeof value === "number") return plain(value);
  return JSON.stringify(value);
}

/** All digits of a number, with an exponent where that is shorter to read. */
const plain = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(value));

/** The data of the page, as the program wrote it. */
const embedded = (id) => parsed(byId(id).textContent);

/** JSON whose whole numbers keep their digits. */
function parsed(text) {
  // To look at every value is slow, and few pages hold such a number.
  if (!/[:,[]-?\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (key, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
      ? BigInt(context.source)
      : value);
}

function extent(values) {
  let [lo, hi] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < lo) lo = value;
    if (value > hi) hi = value;
  }
  return [lo, hi];
}

/** The value below which this share of the sorted values lies. */
function quantile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// ---- Fitting text ----

const measure = document.createElement("canvas").getContext("2d");

function widthOf(text, weight = 400) {
  measure.font = `${weight} 12px system-ui, sans-serif`;
  return measure.measureText(text).width;
}

/** The text, its middle left out where it is wider than `room`. */
function fit(text, room, weight) {
  if (widthOf(text, weight) <= room) return text;
  const letters = Array.from(text);
  let [low, high] = [1, letters.length];
  const cut = (keep) => `${letters.slice(0, Math.ceil(keep / 2)).join("")}…${keep > 1 ? letters.slice(-Math.floor(keep / 2)).join("") : ""}`;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (widthOf(cut(middle), weight) <= room) low = middle;
    else high = middle - 1;
  }
  return cut(low);
}

/** The shortest endings of dotted paths that still differ; a word as short as `rate` keeps the one before it. */
function shortNames(paths) {
  const ending = (path, parts) => path.split(".").slice(-parts).join(".");
  return new Map(paths.map((path) => {
    let parts = ending(path, 1).length < 6 ? 2 : 1;
    const taken = (text) => paths.some((other) => other !== path && ending(other, parts) === text);
    while (parts < path.split(".").length && taken(ending(path, parts))) parts += 1;
    return [path, ending(path, parts)];
  }));
}

// ---- Axes and scales ----

/**
 * What can stand along a side of a chart. `value(item)` is a number, any JSON for a choice, or undefined: not set.
 * A range whose values are no numbers is shown as a choice, a logarithm that meets no positive number as linear.
 */
function axisOf({ name, path = name, kind, items, value, unsetName = "not set" }) {
  const given = items.map(value).filter((one) => one !== undefined && one !== null);
  const numbers = given.every((one) => typeof one === "number" || typeof one === "bigint");
  if (kind !== "choice" && !numbers) kind = "choice";
  const [lo, hi] = kind === "choice" ? [0, 0] : extent(given.map(Number));
  if (kind === "log" && !(lo > 0)) kind = "linear";
  const axis = { name, path, kind, lo, hi, value, unsetName, empty: given.length === 0, unset: given.length < items.length };
  if (kind === "choice") {
    const seen = new Map(given.map((one) => [json(one), one]));
    const sorted = [...seen];
    sorted.sort((a, b) => (numbers ? Number(a[1]) - Number(b[1]) : words(a[1]).localeCompare(words(b[1]), "en", { numeric: true })));
    axis.ordered = numbers;
    axis.choices = sorted.map(([key, one]) => ({ key, text: words(one) }));
    axis.index = new Map(sorted.map(([key], index) => [key, index]));
    axis.at = remembered(items, (item) => (isSet(value(item)) ? axis.index.get(json(value(item))) : undefined));
  } else {
    axis.at = remembered(items, (item) => (isSet(value(item)) ? Number(value(item)) : undefined));
    // Many points on few numbers are shown side by side.
    axis.sways = kind === "integer" && given.length > 2 * new Set(given).size;
  }
  return axis;
}

/** A function of items, worked out once for each. */
function remembered(items, of) {
  const known = new Map(items.map((item) => [item, of(item)]));
  return (item) => known.get(item);
}

const isSet = (value) => value !== undefined && value !== null;

/** Maps lo…hi (numbers of the axis' kind) to from…to (pixels). Its domain is widened to round numbers when `nice`. */
function scaleOf({ kind, lo, hi }, from, to, { nice = true, count = 5 } = {}) {
  if (!(lo <= hi)) [lo, hi] = kind === "log" ? [1, 10] : [0, 1];
  if (lo === hi) {
    const room = kind === "log" ? 0 : kind === "integer" ? 1 : Math.abs(lo) * 0.05 || 0.5;
    [lo, hi] = kind === "log" ? [lo / 2, hi * 2] : [lo - room, hi + room];
  }
  const step = kind === "log" ? 0 : stepOf(lo, hi, count, kind === "integer");
  if (nice) [lo, hi] = kind === "log" ? [roundLog(lo, false), roundLog(hi, true)] : [tidy(Math.floor(lo / step + 1e-9) * step), tidy(Math.ceil(hi / step - 1e-9) * step)];
  const inside = kind === "log" ? Math.log : (value) => value;
  const back = kind === "log" ? Math.exp : (value) => value;
  const slope = (to - from) / (inside(hi) - inside(lo));
  const scale = (value) => from + (inside(value) - inside(lo)) * slope;
  scale.invert = (pixel) => Math.min(hi, Math.max(lo, back(inside(lo) + (pixel - from) / slope)));
  scale.lo = lo;
  scale.hi = hi;
  scale.ticks = kind === "log" ? logTicks(lo, hi, count) : linearTicks(lo, hi, step);
  return scale;
}

const tidy = (value) => Number(value.toPrecision(12));

function stepOf(lo, hi, count, whole) {
  const rough = (hi - lo) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = rough / power;
  const step = (size < 1.5 ? 1 : size < 3.5 ? 2 : size < 7.5 ? 5 : 10) * power;
  return whole ? Math.max(1, Math.round(step)) : step;
}

function linearTicks(lo, hi, step) {
  const ticks = [];
  for (let index = Math.ceil(lo / step - 1e-9); index * step <= hi + step * 1e-9 && ticks.length < 50; index += 1) ticks.push(tidy(index * step));
  return ticks;
}

function roundLog(value, up) {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10].map((factor) => tidy(factor * power));
  return up ? steps.find((step) => step >= value * (1 - 1e-9)) ?? steps[3] : steps.findLast((step) => step <= value * (1 + 1e-9)) ?? steps[0];
}

function logTicks(lo, hi, count) {
  const decades = Math.log10(hi / lo);
  const factors = decades > count ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  const every = decades > 2 * count ? Math.ceil(decades / count) : 1;
  const ticks = [];
  for (let power = Math.floor(Math.log10(lo)); power <= Math.log10(hi) + 1; power += every) {
    for (const factor of factors) {
      const tick = tidy(factor * 10 ** power);
      if (tick >= lo * (1 - 1e-9) && tick <= hi * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return ticks.length > 1 ? ticks : [lo, hi];
}

// ---- Marks: pieces of an SVG path ----

const p = (value) => Math.round(value * 10) / 10;
const ring = (x, y, r) => `M${p(x - r)} ${p(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const cross = (x, y, r) => `M${p(x - r)} ${p(y - r)}l${2 * r} ${2 * r}m${-2 * r} 0l${2 * r} ${-2 * r}`;
const chain = (points) => points.map(([x, y], index) => `${index ? "L" : "M"}${p(x)} ${p(y)}`).join("");

const BINS = 9;

/**
 * The class of an item's colour: `b0` (worst) to `b8` (best), `none` without a score. The colour follows the rank, so that a
 * few trials that learned nothing do not paint all others alike; equal scores have one colour. One path for each class
 * keeps a thousand lines as quick as nine.
 */
function coloursOf(values, higherIsBetter) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => (higherIsBetter ? a - b : b - a));
  const ranks = new Map(sorted.map((value, index) => [value, index]));
  const last = Math.max(1, sorted.length - 1);
  const bin = (value) => (ranks.has(value) ? `b${Math.min(BINS - 1, Math.floor((ranks.get(value) / last) * BINS))}` : "none");
  return { bin, worst: sorted[0], middle: quantile(sorted, 0.5), best: sorted.at(-1) };
}

const CLASSES = ["none", ...Array.from({ length: BINS }, (_, index) => `b${index}`)];

/** One path for each colour, the best on top. `piece(item)` is its part of the path, or "". */
function coloured(items, bin, piece, kind) {
  const parts = new Map(CLASSES.map((name) => [name, []]));
  for (const item of items) parts.get(bin(item)).push(piece(item));
  return CLASSES.filter((name) => parts.get(name).some(Boolean))
    .map((name) => s("path", { class: `${kind} ${name}`, d: parts.get(name).join("") }));
}

// ---- Figures ----

/**
 * A chart that is as wide as its place, drawn again when that changes.
 *
 * `draw(svg, width)` fills the SVG and tells what the pointer and the keyboard need: `nearest(x, y)`, the item there or
 * undefined; `order()`, the items as the arrow keys visit them; `light(item, index)`, the elements that lift an item out
 * (the index-th at once) and the `anchor` of its tip; what is of class `above` stays above them. `on` is told of `hover(item, spot)` and `choose(item)`.
 */
function figure(place, { height, least = 0, on, draw }) {
  const root = s("svg", { class: "chart", role: "application", tabindex: 0, "aria-roledescription": "chart", width: "100%", height });
  const holder = h("div", { class: "scroll" }, root);
  place.append(holder);
  let drawn = {};
  let walked;
  let marked = [];
  let width = 0;

  const spotOf = (x, y) => {
    const box = root.getBoundingClientRect();
    return { x: box.left + (x * box.width) / width, y: box.top + (y * box.height) / height };
  };
  const pointer = (event) => {
    const box = root.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  };
  const light = (marks) => {
    marked = marks;
    root.querySelector(":scope > .lit")?.remove();
    if (!marks.length || !drawn.light) return;
    const lifted = s("g", { class: "lit", "aria-hidden": "true" }, marks.map(({ item, as }, index) => s("g", { class: as }, drawn.light(item, index)?.marks ?? [])));
    root.insertBefore(lifted, root.querySelector(":scope > .above"));
  };
  const redraw = () => {
    if (!width) return;
    root.replaceChildren();
    root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    root.setAttribute("width", width);
    drawn = draw(root, width, { pointer }) ?? {};
    root.setAttribute("aria-label", drawn.label);
    light(marked);
  };
  const visit = (item) => {
    walked = item;
    const anchor = drawn.light?.(item)?.anchor;
    on.hover(item, anchor && spotOf(...anchor), true);
  };

  root.addEventListener("pointermove", (event) => {
    if (event.buttons && event.pointerType === "mouse") return;
    on.hover(drawn.nearest?.(...pointer(event)), { x: event.clientX, y: event.clientY });
  });
  root.addEventListener("pointerleave", () => on.hover(undefined));
  root.addEventListener("blur", () => on.hover(undefined));
  root.addEventListener("click", (event) => {
    if (event.target.closest(".brushable")) return;
    const item = drawn.nearest?.(...pointer(event));
    if (item) on.choose(item);
  });
  root.addEventListener("keydown", (event) => {
    if (event.target !== root || !drawn.order) return;
    const order = drawn.order();
    const at = order.indexOf(walked);
    const last = order.length - 1;
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (to !== undefined && order.length) {
      event.preventDefault();
      visit(order[at < 0 && to < 0 ? 0 : Math.min(last, Math.max(0, to))]);
    } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
      event.preventDefault();
      on.choose(walked);
    } else if (event.key === "Escape") {
      on.hover(undefined);
    }
  });
  // The observer knows the width without laying the page out anew, and calls before the first paint.
  new ResizeObserver(([{ contentRect }]) => {
    const next = contentRect.width && Math.max(Math.floor(contentRect.width), least);
    if (!next || next === width) return;
    width = next;
    redraw();
  }).observe(holder);
  return { redraw, light, root };
}

/** Text with a title when it was shortened. */
function label(text, room, attributes, weight) {
  const shown = fit(text, room, weight);
  return s("text", attributes, shown, shown !== text && s("title", {}, text));
}

/** The left side: ticks, grid lines. */
function leftSide(scale, x0, x1, format = number) {
  return s("g", { class: "side" }, scale.ticks.map((tick) => [
    s("path", { class: "grid", d: `M${x0} ${p(scale(tick))}H${x1}` }),
    s("text", { x: x0 - 6, y: p(scale(tick)), dy: "0.32em", "text-anchor": "end" }, format(tick)),
  ]));
}

/** The foot: ticks of a range; labels that would touch are left out. */
function foot(scale, y, format = number) {
  let end = -Infinity;
  return s("g", { class: "side" }, scale.ticks.map((tick) => {
    const [text, x] = [format(tick), scale(tick)];
    const half = widthOf(text) / 2;
    const fits = x - half > end + 6;
    if (fits) end = x + half;
    return [s("path", { class: "tick", d: `M${p(x)} ${y}v4` }), fits && s("text", { x: p(x), y: y + 17, "text-anchor": "middle" }, text)];
  }));
}

/** A repeatable offset of −1…1 that keeps points of one choice apart. */
const jitter = (index) => 2 * ((index * 0.618034) % 1) - 1;

/**
 * Points of `items()` against two axes; a choice as x gets a strip of points with a box of quartiles. `spread(item)` is
 * half the height of an error bar, `open(item)` says that a point is hollow, `through(items)` is a line of [x, y] points.
 */
function scatter(place, { x, y, height = 220, items, bin, open = () => false, spread = () => undefined, through, yName, xName, label: describe, on }) {
  const seats = new Map();
  const top = yName ? 28 : 14;
  return figure(place, {
    height,
    on,
    draw(root, width) {
      const shown = items().filter((item) => y.at(item) !== undefined);
      for (const item of shown) if (!seats.has(item)) seats.set(item, seats.size);
      const inside = new Set(shown);
      const reach = extent(shown.flatMap((item) => [y.at(item) - (spread(item) ?? 0), y.at(item) + (spread(item) ?? 0)]));
      const apart = x.unset ? Math.max(52, widthOf(x.unsetName) + 14) : 0;
      const narrow = x.kind === "choice" && x.choices.length ? (width - 60 - apart) / x.choices.length : Infinity;
      const longest = x.kind === "choice" ? Math.max(0, ...x.choices.map((choice) => widthOf(choice.text))) : 0;
      const tilted = longest > narrow - 6;
      const bottom = height - (tilted ? Math.min(92, 22 + 0.64 * Math.min(longest, 96)) : 26) - (xName ? 16 : 0);
      const up = scaleOf({ kind: y.kind, lo: Math.min(y.floor ?? Infinity, reach[0]), hi: reach[1] }, bottom, top, { count: 4 });
      const left = 14 + Math.max(24, ...up.ticks.map((tick) => widthOf(number(tick))));
      const begin = left + apart + 8;
      const right = width - 20;
      const along = x.kind === "choice"
        ? Object.assign((index) => begin + ((index + 0.5) * (right - begin)) / x.choices.length, { ticks: [] })
        : scaleOf(x, begin, right, { count: Math.max(2, Math.floor((right - begin) / 60)) });
      const band = x.kind === "choice" ? (right - begin) / Math.max(1, x.choices.length) : 0;
      const place = remembered(shown, (item) => {
        const at = x.at(item);
        const sway = jitter(seats.get(item) ?? 0);
        if (at === undefined) return [left + apart / 2 + sway * 12, up(y.at(item))];
        return [along(at) + sway * (x.kind === "choice" ? Math.min(16, band / 4) : x.sways ? 5 : 0), up(y.at(item))];
      });
      root.append(leftSide(up, left, right), s("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
      if (x.kind === "choice") {
        const every = Math.ceil(15 / Math.max(band, 0.1));
        root.append(s("g", { class: "side" }, x.choices.map((choice, index) => {
          if (index % every) return undefined;
          const at = p(along(index));
          return tilted
            ? label(choice.text, 96, { transform: `translate(${at} ${bottom + 14}) rotate(-40)`, "text-anchor": "end" })
            : s("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, choice.text);
        })));
      } else root.append(foot(along, bottom));
      if (x.unset) root.append(s("path", { class: "apart", d: `M${p(left + apart)} ${top}V${bottom}` }), s("text", { class: "unset", x: p(left + apart / 2), y: bottom + 17, "text-anchor": "middle" }, x.unsetName));
      if (xName) root.append(s("text", { class: "name", x: right, y: height - 4, "text-anchor": "end" }, xName));
      if (yName) root.append(s("text", { class: "name", x: 2, y: 10 }, yName));
      if (x.kind === "choice") root.append(...x.choices.map((_, index) => box(shown.filter((item) => x.at(item) === index).map((item) => up(y.at(item))), along(index), Math.min(24, band / 2.5))));
      const bars = shown.filter((item) => spread(item) > 0).map((item) => {
        const [at] = place(item);
        return `M${p(at)} ${p(up(y.at(item) - spread(item)))}V${p(up(y.at(item) + spread(item)))}`;
      });
      if (bars.length) root.append(s("path", { class: "spread", d: bars.join("") }));
      const line = through?.(shown) ?? [];
      if (line.length > 1) root.append(s("path", { class: "through", d: chain(line.map(([at, value]) => [along(at), up(value)])) }));
      const size = shown.length > 400 ? 2.5 : shown.length > 80 ? 3.2 : 4;
      root.append(...coloured(shown.filter((item) => !open(item)), bin, (item) => ring(...place(item), size), "dot"));
      root.append(...coloured(shown.filter(open), bin, (item) => ring(...place(item), size), "hollow"));
      if (!shown.length) root.append(s("text", { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" }, "no trial to show"));
      return {
        label: `${describe}; ${plural(shown.length, "point")}. The arrow keys go from point to point, Enter chooses one. The table of trials has the numbers.`,
        order: () => [...shown].sort((a, b) => place(a)[0] - place(b)[0]),
        nearest: (atX, atY) => near(shown, (item) => Math.hypot(place(item)[0] - atX, place(item)[1] - atY), 22),
        light(item) {
          if (!inside.has(item)) return undefined;
          const at = place(item);
          const bar = spread(item) > 0 ? `M${p(at[0])} ${p(up(y.at(item) - spread(item)))}V${p(up(y.at(item) + spread(item)))}` : "";
          return { anchor: at, marks: [s("path", { class: "halo", d: bar }), s("path", { class: `stroke ${bin(item)}`, d: bar }), s("path", { class: "halo", d: ring(...at, 5.5) }), s("path", { class: `dot ${bin(item)}`, d: ring(...at, 5.5) })] };
        },
      };
    },
  });
}

/** Quartiles and median of pixel positions; a median alone where there are few. */
function box(positions, x, half) {
  if (positions.length < 3) return "";
  const sorted = positions.sort((a, b) => a - b);
  const [first, middle, third] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  return s("g", { class: "box" },
    sorted.length >= 5 && s("rect", { x: p(x - half), y: p(first), width: p(2 * half), height: p(Math.max(1, third - first)), rx: 2 }),
    s("path", { d: `M${p(x - half)} ${p(middle)}h${p(2 * half)}` }));
}

/** The item of least distance, where that is at most `reach` pixels. */
function near(items, distance, reach) {
  let found;
  let least = reach;
  for (const item of items) {
    const far = distance(item);
    if (far < least) [found, least] = [item, far];
  }
  return found;
}

/** Lines of [step, score] points: `curves(item)` gives one line or several; `ended(item)` asks for a mark at the end. */
function curves(place, { items, curves: of, bin, ended, height = 320, yName, xName, label: describe, on }) {
  return figure(place, {
    height,
    on,
    draw(root, width) {
      const shown = items().filter((item) => of(item).length);
      const all = shown.flatMap((item) => of(item).flat());
      const bottom = height - 42;
      const reach = (index) => extent(all.map((point) => point[index]));
      const [lo, hi] = reach(1);
      const up = scaleOf({ kind: "linear", lo, hi }, bottom, 28);
      const left = 14 + Math.max(24, ...up.ticks.map((tick) => widthOf(number(tick))));
      const right = width - 16;
      const [first, final] = reach(0);
      const along = scaleOf({ kind: "integer", lo: Math.min(first, 0), hi: final }, left, right, { count: Math.max(2, Math.floor((right - left) / 90)), nice: false });
      const placed = new Map(shown.map((item) => [item, of(item).map((curve) => thin(curve, width).map(([step, value]) => [along(step), up(value)]))]));
      const line = (item) => placed.get(item).map((curve) => (curve.length > 1 ? chain(curve) : "")).join("");
      const dots = (item) => placed.get(item).map((curve) => (curve.length === 1 ? ring(...curve[0], 2.5) : "")).join("");
      const ends = (item) => placed.get(item).map((curve) => cross(...curve.at(-1), 3.5)).join("");
      root.append(leftSide(up, left, right), s("path", { class: "axis", d: `M${left} ${bottom}H${right}` }), foot(along, bottom));
      root.append(s("text", { class: "name", x: right, y: height - 6, "text-anchor": "end" }, xName), s("text", { class: "name", x: 2, y: 10 }, yName));
      root.append(s("g", { class: crowd(shown.length) }, coloured(shown, bin, line, "stroke"), coloured(shown, bin, dots, "dot")));
      root.append(...coloured(shown.filter(ended), bin, ends, "ended"));
      if (!shown.length) root.append(s("text", { class: "nothing", x: width / 2, y: height / 2, "text-anchor": "middle" }, "no trial to show"));
      return {
        label: `${describe}; ${plural(shown.length, "trial")}. The arrow keys go from trial to trial, Enter chooses one. The table of trials has the final scores.`,
        order: () => [...shown].sort((a, b) => placed.get(a)[0].at(-1)[1] - placed.get(b)[0].at(-1)[1]),
        nearest: (x, y) => near(shown, (item) => Math.min(...placed.get(item).map((curve) => away(curve, x, y))), 14),
        light(item) {
          if (!placed.has(item)) return undefined;
          const d = line(item) + (ended(item) ? ends(item) : "");
          return { anchor: placed.get(item)[0].at(-1), marks: [s("path", { class: "halo", d }), s("path", { class: `stroke ${bin(item)}`, d }), s("path", { class: `dot ${bin(item)}`, d: dots(item) })] };
        },
      };
    },
  });
}

/** At most as many points as can be told apart; the first and the last stay. */
function thin(curve, most) {
  if (curve.length <= most) return curve;
  const every = Math.ceil(curve.length / most);
  return curve.filter((_, index) => index % every === 0 || index === curve.length - 1);
}

/** The distance of a point from a chain of segments. */
function away(points, x, y) {
  let least = Math.hypot(points[0][0] - x, points[0][1] - y);
  for (let index = 1; index < points.length; index += 1) {
    const [[ax, ay], [bx, by]] = [points[index - 1], points[index]];
    const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
    const share = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length));
    least = Math.min(least, Math.hypot(ax + share * (bx - ax) - x, ay + share * (by - ay) - y));
  }
  return least;
}

/** How strongly lines are drawn when there are this many. */
const crowd = (count) => (count > 250 ? "crowd dense" : count > 60 ? "crowd" : "");

/** A row of bars with names and numbers, in HTML. `rows`: { name, title, value, text }. */
function bars(place, rows, most) {
  place.append(h("ul", { class: "bars" }, rows.map(({ name, title, value, text }) => {
    const bar = h("span", { class: "bar" });
    bar.style.width = `${Math.max(0, Math.min(100, (100 * value) / most))}%`;
    return h("li", {}, h("span", { class: "what", title }, name), h("span", { class: "track", "aria-hidden": "true" }, bar), h("span", { class: "amount" }, text));
  })));
}

// ---- A tip beside the pointer ----

const tip = h("div", { class: "tip", role: "tooltip", hidden: true });

/** Shows children beside a spot of the window; hides without a spot. */
function showTip(children, spot) {
  tip.hidden = !spot;
  if (!spot) return;
  if (!tip.isConnected) document.body.append(tip);
  tip.replaceChildren(...children);
  const { offsetWidth: width, offsetHeight: height } = tip;
  const x = spot.x + 16 + width > innerWidth ? spot.x - width - 12 : spot.x + 16;
  const y = spot.y + 16 + height > innerHeight ? spot.y - height - 12 : spot.y + 16;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
}

/** A command that can be copied; where the browser forbids that, it is selected. */
function command(text) {
  const code = h("code", { tabindex: 0, "aria-label": "Command" }, text);
  const copy = async (event) => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  return h("div", { class: "command" }, code, h("button", { type: "button", onclick: copy }, "Copy"));
}
