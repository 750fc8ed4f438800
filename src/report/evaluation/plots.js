// Lines and small marks that the page of an evaluation draws, and the parts that its sections share.

/** An element whose style is set by properties: the policy of the page allows no style in attributes. */
function styled(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

/** Says a sentence to who does not see. */
const say = (text) => (byId("said").textContent = text);

/** So many digits after the point that scores can be told apart. */
const scoreText = (value) => (isSet(value) && Number.isFinite(value) ? fixed(value, Math.abs(value) >= 10 ? 2 : 4) : "–");
const share = (value, places = 1) => (isSet(value) && Number.isFinite(value) ? `${fixed(100 * value, places)}\u00a0%` : "–");
const grouped = new Intl.NumberFormat("en");
const count = (value) => grouped.format(value);
const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** A choice of a few: `options` are [value, text]. */
function choice(name, options, chosen, onchange, attributes = {}) {
  const select = h("select", { "aria-label": name, ...attributes, onchange: () => onchange(select.value) }, options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
  return select;
}

/** The same with its name before it. */
const labelled = (name, options, chosen, onchange) => h("label", { class: "field" }, h("span", {}, name), choice(name, options, chosen, onchange));

/** A switch of two or three ways. */
let switches = 0;
function toggles(name, options, chosen, onchange) {
  switches += 1;
  const group = `switch-${switches}`;
  return h("fieldset", { class: "switch" }, h("legend", { class: "unseen" }, name), options.map(([value, text]) => {
    const input = h("input", { type: "radio", name: group, value, onchange: () => onchange(value) });
    input.checked = value === chosen;
    return h("label", {}, input, h("span", {}, text));
  }));
}

/** Children in parts: the first `most`, and a button that brings the rest. */
function inParts(children, most, name, into) {
  if (children.length <= most + 2) return into(children);
  const rest = children.slice(most);
  const button = h("button", { type: "button", class: "more", onclick: () => {
    whole.firstChild.querySelector("tbody, ol, ul").append(...rest);
    button.remove();
  } }, `Show all ${count(children.length)} ${name}`);
  const whole = h("div", {}, into(children.slice(0, most)), button);
  return whole;
}

/** A place among others in a grid: the arrow keys go, and only one of them is in the order of tabs. */
function roving(root, selector, columns) {
  const cells = () => [...root.querySelectorAll(selector)];
  root.addEventListener("keydown", (event) => {
    const all = cells();
    const at = all.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + step;
    if (at < 0 || !(to >= 0 && to < all.length)) return;
    event.preventDefault();
    all[to].focus();
  });
  root.addEventListener("focusin", (event) => {
    if (!event.target.matches(selector)) return;
    root.querySelectorAll(`${selector}[tabindex="0"]`).forEach((cell) => (cell.tabIndex = -1));
    event.target.tabIndex = 0;
  });
}

/** A share on a track from 0 to `most`, with the interval that it lies in. */
function meter(value, low, high, most = 1) {
  const at = (one) => `${Math.max(0, Math.min(100, (100 * one) / most))}%`;
  return h("span", { class: "meter", "aria-hidden": "true" },
    styled(h("span", { class: "bar" }), { width: at(value) }),
    isSet(low) && isSet(high) && styled(h("span", { class: "whisker" }), { left: at(low), width: `calc(${at(high)} - ${at(low)})` }));
}

/** A table that scrolls in its own frame. */
const framedTable = (name, head, body, attributes) => h("div", { class: "table", role: "region", "aria-label": name, tabindex: 0 },
  h("table", attributes, h("caption", { class: "unseen" }, name), h("thead", {}, head), body));

/**
 * Lines over numbers. `lines()` gives { name, as, points: [[x, y]…], still }: one that is `still` is drawn and not visited.
 * `more(root, scales)` draws beneath them; `tell(line, point)` says a point in words; `choose(point)` is a click.
 */
function plot(place, { height = 240, x, y, xName, yName, lines, more, tell, choose, label: describe, format = number, formatX = number }) {
  const on = {
    hover(item, spot, aloud = false) {
      const text = item && tell(item.line, item.point);
      showTip(item && spot ? [text] : [], item && spot);
      chart.light(item ? [{ item, as: "hovered" }] : []);
      if (aloud && text) say(text);
    },
    choose: (item) => choose?.(item.point),
  };
  const chart = figure(place, {
    height,
    on,
    draw(root, width) {
      const finite = ([px, py]) => Number.isFinite(px) && Number.isFinite(py);
      const shown = lines().map((line) => (line.points.every(finite) ? line : { ...line, points: line.points.filter(finite) }));
      const of = (axis, index) => {
        const [lo, hi] = extent(shown.flatMap((line) => line.points.map((point) => point[index])));
        return { kind: "linear", ...axis, lo: axis?.lo ?? lo, hi: axis?.hi ?? hi };
      };
      const bottom = height - (xName ? 42 : 26);
      const up = scaleOf(of(y, 1), bottom, yName ? 28 : 12, { count: 4, nice: !y || !isSet(y.hi) });
      const left = 14 + Math.max(24, ...up.ticks.map((tick) => widthOf(format(tick))));
      const right = width - 18;
      const along = scaleOf(of(x, 0), left, right, { count: Math.max(2, Math.floor((right - left) / 80)), nice: false });
      root.append(leftSide(up, left, right, format), s("path", { class: "axis", d: `M${left} ${bottom}H${right}` }), foot(along, bottom, formatX));
      if (xName) root.append(s("text", { class: "name", x: right, y: height - 4, "text-anchor": "end" }, xName));
      if (yName) root.append(s("text", { class: "name", x: 2, y: 10 }, yName));
      more?.(root, { along, up, left, right, top: up(up.hi), bottom });
      const placed = shown.map((line) => ({ line, points: thin(line.points, 2 * width).map((point) => ({ line, point, at: [along(point[0]), up(point[1])] })) }));
      for (const { line, points } of placed) {
        if (points.length > 1 && !line.dots) root.append(s("path", { class: `stroke ${line.as}`, d: chain(points.map((item) => item.at)) }));
        if (points.length === 1 || line.dots || line.marks) root.append(s("path", { class: `dot ${line.as}`, d: points.map((item) => ring(...item.at, 3)).join("") }));
      }
      const visited = placed.filter(({ line }) => !line.still).map(({ points }) => points);
      return {
        label: `${describe()}. The arrow keys go from point to point.`,
        order: () => visited.flatMap((points) => thin(points, 60)),
        nearest: (px, py) => near(visited.flat(), (item) => Math.hypot(item.at[0] - px, (item.at[1] - py) / 2), 40),
        light: (item) => ({ anchor: item.at, marks: [s("path", { class: `dot ${item.line.as}`, d: ring(...item.at, 5.5) })] }),
      };
    },
  });
  return chart;
}

/** A figure of a name and a chart. */
function captioned(name, ...children) {
  return h("figure", {}, h("figcaption", {}, name), children);
}

/** Bars that stand: [from, below, rows]. */
function histogram(place, { bars: all, xName, label: describe, mark }) {
  const last = all.at(-1)?.[1] ?? 1;
  const [first] = all[0] ?? [0];
  return plot(place, {
    height: 170,
    x: { lo: first, hi: last },
    y: { lo: 0, hi: Math.max(1, ...all.map(([, , rows]) => rows)) },
    xName,
    lines: () => [{ name: "rows", as: "bar-tops", points: all.map(([from, below, rows]) => [(from + below) / 2, rows]) }],
    more(root, { along, up, bottom, top }) {
      root.append(s("path", { class: "area", d: all.map(([from, below, rows]) => `M${p(along(from) + 0.5)} ${p(bottom)}V${p(up(rows))}H${p(along(below) - 0.5)}V${p(bottom)}Z`).join("") }));
      if (mark && mark.at <= last) {
        const at = p(along(mark.at));
        root.append(s("path", { class: "through", d: `M${at} ${p(top)}V${p(bottom)}` }), s("text", { class: "name", x: at + (at > along((first + last) / 2) ? -4 : 4), y: p(top) + 10, "text-anchor": at > along((first + last) / 2) ? "end" : "start" }, mark.name));
      }
    },
    tell: (line, [middle, rows]) => {
      const [from, below] = all.find((bar) => (bar[0] + bar[1]) / 2 === middle);
      return below - from === 1 ? `${number(from)}: ${counted(rows, "row")}` : `${number(from)} to ${number(below - (Number.isInteger(below) ? 1 : 0))}: ${counted(rows, "row")}`;
    },
    label: () => describe,
  });
}
