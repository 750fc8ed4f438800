// What was done: the steps of the pipeline as a graph and a table, the spec, and what changed in it.

const shortKey = (key) => key.slice(0, 10);
const OUTCOMES = { fresh: "○", built: "●", failed: "▲", skipped: "–" };
const outcomeText = (outcome) => [h("span", { class: `glyph g-${outcome}`, "aria-hidden": "true" }, OUTCOMES[outcome] ?? "○"), outcome];

/** Each step one layer below the lowest of those that it reads. */
function layered(steps) {
  const known = new Map(steps.map((step) => [step.stage, step]));
  const depth = new Map();
  const depthOf = (step, seen = new Set()) => {
    if (depth.has(step)) return depth.get(step);
    if (seen.has(step)) return 0;
    const reads = step.reads.map((name) => known.get(name)).filter(Boolean);
    const found = reads.length ? 1 + Math.max(...reads.map((one) => depthOf(one, new Set(seen).add(step)))) : 0;
    depth.set(step, found);
    return found;
  };
  const layers = [];
  for (const step of steps) (layers[depthOf(step)] ??= []).push(step);
  return { layers, known };
}

function graph(place, steps) {
  const { layers, known } = layered(steps);
  const [wide, tall, gapX, gapY] = [188, 66, 26, 40];
  const most = Math.max(...layers.map((layer) => layer.length));
  const width = most * wide + (most - 1) * gapX + 4;
  const height = layers.length * (tall + gapY) - gapY + 4;
  const at = new Map(layers.flatMap((layer, level) => layer.map((step, index) => {
    const begin = (width - (layer.length * wide + (layer.length - 1) * gapX)) / 2;
    return [step, [begin + index * (wide + gapX), 2 + level * (tall + gapY)]];
  })));
  const edges = steps.flatMap((step) => step.reads.map((name) => known.get(name)).filter(Boolean).map((read) => {
    const [[x0, y0], [x1, y1]] = [at.get(read), at.get(step)];
    // A long edge goes along the side of what lies between.
    const far = Math.abs(x0 - x1) < 1 && y1 - y0 > tall + gapY + 1;
    const [from, to] = [[x0 + wide / 2, y0 + tall], [x1 + wide / 2, y1]];
    if (far) return `M${p(x0 + wide)} ${p(y0 + tall / 2)}C${p(x0 + wide + 34)} ${p(y0 + tall)} ${p(x1 + wide + 34)} ${p(y1)} ${p(x1 + wide)} ${p(y1 + tall / 2)}`;
    return `M${p(from[0])} ${p(from[1])}C${p(from[0])} ${p(from[1] + gapY / 2)} ${p(to[0])} ${p(to[1] - gapY / 2)} ${p(to[0])} ${p(to[1])}`;
  }));
  const side = 30;
  const root = s("svg", { class: "chart graph", width: width + side, height, viewBox: `0 0 ${width + side} ${height}`, role: "img", "aria-label": `The steps: ${steps.map((step) => `${step.stage}${step.reads.length ? ` reads ${step.reads.join(" and ")}` : ""}`).join("; ")}` },
    s("path", { class: "edge", d: edges.join("") }),
    steps.map((step) => {
      const [x, y] = at.get(step);
      return s("g", { class: `step o-${step.outcome}`, transform: `translate(${p(x)} ${p(y)})` },
        s("title", {}, `${step.kind}.${step.stage}: ${step.outcome}, ${step.reason}`),
        s("rect", { width: wide, height: tall, rx: 8 }),
        label(`${OUTCOMES[step.outcome] ?? "○"} ${step.stage}`, wide - 24, { class: "name", x: 12, y: 22, "font-weight": 600 }, 600),
        label(`${step.kind} · ${step.outcome}${isSet(step.seconds) ? ` · ${duration(step.seconds)}` : ""}`, wide - 24, { x: 12, y: 39 }),
        s("text", { class: "value", x: 12, y: 55 }, shortKey(step.key)));
    }));
  place.append(h("div", { class: "scroll frame", tabindex: 0, role: "region", "aria-label": "Graph of the steps" }, root));
}

function stepsOf(place, steps) {
  graph(place, steps);
  place.append(framedTable("Table of the steps",
    h("tr", {}, ["step", "kind", "outcome", "reason", "time", "key"].map((name) => h("th", { scope: "col", class: name === "time" ? "number" : undefined }, name))),
    h("tbody", {}, steps.map((step) => h("tr", {}, h("th", { scope: "row" }, step.stage), h("td", {}, step.kind), h("td", { class: "outcome" }, outcomeText(step.outcome)), h("td", { class: "wide" }, step.reason), h("td", { class: "number" }, isSet(step.seconds) ? duration(step.seconds) : "–"), h("td", {}, h("code", { title: step.key }, shortKey(step.key))))))));
}

/** So many equal lines stay around what changed. */
const AROUND = 3;

/** The lines that changed and those around them; `undefined` stands for what was left out. */
function hunks(lines) {
  const keep = lines.map(([sign]) => sign !== "=");
  const shown = keep.map((_, index) => keep.slice(Math.max(0, index - AROUND), index + AROUND + 1).some(Boolean));
  return lines.flatMap((line, index) => (shown[index] ? [line] : index === 0 || shown[index - 1] ? [undefined] : []));
}

function specOf(place, { text, previous, spec }) {
  const changes = previous ? previous.lines.filter(([sign]) => sign !== "=").length : 0;
  if (previous) {
    const signs = { "+": ["now", "+"], "-": ["earlier", "−"] };
    place.append(h("h3", {}, `What changed since run ${previous.run} (${previous.when})`),
      changes ? h("pre", { class: "diff", tabindex: 0 }, hunks(previous.lines).map((line) => {
        if (!line) return h("span", { class: "left-out" }, "⋯\n");
        const [sign, content] = line;
        return h("span", { class: { "+": "added", "-": "gone" }[sign] }, signs[sign] && h("span", { class: "unseen" }, `${signs[sign][0]}: `), h("span", { "aria-hidden": "true" }, signs[sign]?.[1] ?? " "), ` ${content}\n`);
      })) : h("p", { class: "soft" }, "Nothing in the spec itself."));
  }
  place.append(h("h3", {}, spec), h("pre", { class: "spec", tabindex: 0 }, text));
}
