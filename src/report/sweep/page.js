// The page of a sweep: its state (limits, search, chosen trials), and what follows from it.

const sweep = embedded("data");
const { trials } = sweep;
const maximize = sweep.direction !== "minimize";
const metric = sweep.goal.split(".").at(-1) || "score";
const STATES = ["done", "pruned", "failed", "running", "pending"];
const MOST_CHOSEN = 4;

for (const trial of trials) {
  trial.curves = trial.curves.map((curve) => curve.filter(([, score]) => isSet(score))).filter((curve) => curve.length);
}
const scored = trials.filter((trial) => isSet(trial.score));
const ranked = trials.filter((trial) => trial.state === "done" && isSet(trial.score)).sort((a, b) => (maximize ? b.score - a.score : a.score - b.score));
const best = trials.find((trial) => trial.number === sweep.best);
const byNumber = [...trials].sort((a, b) => a.number - b.number);

// Parameters set together are written under several paths, of which the sweep need not name each.
const declared = new Map(sweep.parameters.map((parameter) => [parameter.name, parameter.scale]));
const written = new Set(trials.flatMap((trial) => Object.keys(trial.parameters)));
const paths = [...new Set([...declared.keys(), ...written])].filter((path) => !trials.length || written.has(path));
const names = shortNames(paths);
const parameters = paths.map((path) => axisOf({ name: names.get(path), path, kind: declared.get(path) ?? "choice", items: trials, value: (trial) => trial.parameters[path] }));
const scoreAxis = axisOf({ name: metric, path: sweep.goal, kind: "linear", items: trials, value: (trial) => trial.score, unsetName: "no score" });
const axes = [...parameters, scoreAxis];
const colours = coloursOf(scored.map((trial) => trial.score), maximize);
const bin = (trial) => colours.bin(isSet(trial.score) ? trial.score : NaN);
const places = scored.length ? decimals(scored.map((trial) => trial.score)) : DIGITS;
const scoreText = (value) => (isSet(value) ? fixed(value, places) : "–");
const spreadText = (trial) => (isSet(trial.spread) ? `± ${fixed(trial.spread, places)}` : "");

// ---- State ----

const limits = new Map();
const states = new Set(STATES);
let query = "";
let visible = trials;
let chosen = [...new Set([best, ...ranked])].filter(Boolean).slice(0, 2);
let lit;

const haystacks = new Map(trials.map((trial) => [trial, [
  trial.number, trial.state, trial.message ?? "", ...Object.entries(trial.parameters).flatMap(([path, value]) => [`${path}=${words(value)}`, json(value)]),
].join("\n").toLowerCase()]));

const charts = [];
let table;
let renewForm = () => {};

function filter() {
  const sought = query.toLowerCase().split(/\s+/).filter(Boolean);
  const held = [...limits];
  visible = trials.filter((trial) => states.has(STATES.includes(trial.state) ? trial.state : "pending")
    && held.every(([axis, limit]) => passes(axis, limit, trial))
    && sought.every((word) => haystacks.get(trial).includes(word)));
}

let due = false;
/** Everything follows the filter, once for each frame. */
function changed() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    filter();
    for (const chart of charts) chart.redraw();
    table.redraw();
    tell();
    relight();
  });
}

function tell() {
  byId("shown").textContent = visible.length === trials.length ? `All ${plural(trials.length, "trial")} shown` : `${visible.length} of ${plural(trials.length, "trial")} shown`;
  byId("clear").hidden = !limits.size && !query && states.size === STATES.length;
  byId("limits").replaceChildren(...[...limits].map(([axis, limit]) => {
    const text = limitText(axis, limit);
    return h("button", { type: "button", title: axis.path, "aria-label": `Let go: ${text}`, onclick: () => {
      limits.delete(axis);
      changed();
      byId("query").focus({ preventScroll: true });
    } }, `${text} ×`);
  }));
  renewForm();
}

function relight() {
  const marks = chosen.map((item, index) => ({ item, as: `chosen${index}` }));
  if (lit) marks.push({ item: lit, as: "hovered" });
  for (const chart of charts) chart.light(marks);
  table?.light(lit);
}

const on = {
  hover(item, spot, aloud = false) {
    showTip(item && spot ? summary(item) : [], item && spot);
    if (aloud) byId("said").textContent = `Trial ${item.number}, ${item.state}, ${metric} ${scoreText(item.score)}, ${settingsOf(item).map(([, name, value]) => `${name} ${words(value)}`).join(", ")}`;
    if (item === lit) return;
    lit = item;
    relight();
  },
  choose(item) {
    chosen = chosen.includes(item) ? chosen.filter((one) => one !== item) : [...chosen, item].slice(-MOST_CHOSEN);
    byId("said").textContent = chosen.includes(item) ? `Trial ${item.number} chosen` : `Trial ${item.number} dropped`;
    compare();
    table.redraw();
    relight();
  },
};

const settingsOf = (trial) => paths.filter((path) => isSet(trial.parameters[path])).map((path) => [path, names.get(path), trial.parameters[path]]);
const settingsList = (trial, most = Infinity, full = false) => h("dl", { class: "settings" }, settingsOf(trial).slice(0, most).map(([path, name, value]) => [
  h("dt", { title: path }, full ? path : name), h("dd", {}, h("span", { class: "value" }, full && typeof value !== "string" ? json(value) : words(value))),
]));

function summary(trial) {
  return [
    h("div", {}, h("b", {}, `Trial ${trial.number}`), ` · ${trial.state}`),
    h("div", {}, `${metric} ${scoreText(trial.score)} ${spreadText(trial)} · ${duration(trial.seconds)}`),
    settingsList(trial, 10),
    trial.message && h("div", { class: "said" }, trial.message.length > 140 ? `${trial.message.slice(0, 140)}…` : trial.message),
  ].filter(Boolean);
}

// ---- Headline ----

function stack(parts) {
  return [
    h("div", { class: "stack", "aria-hidden": "true" }, parts.filter(([, count]) => count).map(([name, count]) => {
      const part = h("span", { class: `s-${name}` });
      part.style.flexGrow = count;
      return part;
    })),
    h("ul", { class: "legend" }, parts.map(([name, count]) => h("li", {}, h("span", { class: `swatch s-${name}`, "aria-hidden": "true" }), h("b", {}, `${count}`), ` ${name}`))),
  ];
}

function headline() {
  const searches = { grid: "Grid search", random: "Random search", tpe: "Search by TPE" };
  byId("pipeline").textContent = sweep.pipeline;
  byId("lead").append(`${searches[sweep.search] ?? sweep.search} over ${plural(sweep.parameters.length, "parameter")}, to ${maximize ? "maximize" : "minimize"} `, h("b", {}, sweep.goal));
  const unfinished = sweep.trials.length ? "No trial has finished with a score yet." : "No trial has begun yet.";
  byId("best").append(...(best
    ? [
      h("p", { class: "score" }, scoreText(best.score), " ", h("small", {}, [spreadText(best), metric, `trial ${best.number}`].filter(Boolean).join(" · "))),
      settingsList(best),
      command(repeat(sweep.command, best)),
    ]
    : [h("p", {}, unfinished)]));
  const { needed, ran, saved } = sweep.executions;
  const seconds = trials.reduce((sum, trial) => sum + (trial.seconds ?? 0), 0);
  const tally = STATES.map((state) => [state, trials.filter((trial) => trial.state === state).length]);
  byId("counts").append(
    ...stack(tally.filter(([state, count]) => count || state === "done" || state === "pruned" || state === "failed" || state === "pending")),
    ...(needed
      ? [...stack([["ran", ran], ["saved", saved]]), h("p", {}, "Of ", h("b", {}, plural(needed, "step")), " that the trials asked for, ", h("b", {}, `${ran}`), " ran and ", h("b", {}, `${saved}`), ` (${percent(saved / needed)}) were saved: another trial or an earlier run had done them. `, "All trials together took ", h("b", {}, duration(seconds)), ".")]
      : []),
    command(sweep.command));
}

// ---- Sections ----

const section = (name) => byId(name).querySelector(".place, .multiples");
const empty = (name, text) => {
  byId(name).querySelectorAll(".note").forEach((note) => note.remove());
  section(name).replaceChildren(h("p", { class: "empty" }, text));
};
const shown = () => visible;
const framed = (place) => place.appendChild(h("div", { class: "frame" }));
const captioned = (place, text, title) => place.appendChild(h("figure", {}, h("figcaption", { title }, text)));
const unfinished = (trial) => trial.state !== "done";
const spread = (trial) => trial.spread ?? undefined;
const y = { ...scoreAxis };

function legend() {
  if (!scored.length) return;
  const ramp = h("span", { class: "ramp", "aria-hidden": "true" }, CLASSES.slice(1).map((name) => h("span", { class: name })));
  byId("legend").append(h("span", {}, `${metric}: ${scoreText(colours.worst)}`), ramp, h("span", {}, `${scoreText(colours.best)}, by rank; the median is ${scoreText(colours.middle)}`));
  if (scored.length >= 4 && scoreAxis.lo < scoreAxis.hi) {
    const half = () => {
      limits.set(scoreAxis, { lo: maximize ? colours.middle : -Infinity, hi: maximize ? Infinity : colours.middle, unset: false });
      changed();
    };
    byId("legend").append(h("button", { type: "button", onclick: half }, "Only the better half"));
  }
  if (scored.length < trials.length) byId("legend").append(h("span", {}, h("span", { class: "key", "aria-hidden": "true" }), "no score"));
}

function sections() {
  if (!trials.length) empty("parallel", "Nothing to show before the first trial.");
  else {
    legend();
    charts.push(parallel(framed(section("parallel")), { axes, all: trials, shown, bin, limits, changed, on, describe: `Parallel coordinates of ${plural(parameters.length, "parameter")} and ${metric}` }));
    renewForm = limitForm(byId("limit").querySelector("form"), { axes, limits, changed });
  }
  byId("limit").hidden = !trials.length;

  if (!scored.length) empty("scores", "No trial has a score yet.");
  else if (!parameters.length) empty("scores", "The trials differ in no parameter.");
  else {
    byId("scores").querySelector(".note").append([
      scored.some(unfinished) ? "A hollow point is a trial that did not finish." : "",
      scored.some(spread) ? "A bar reaches one standard deviation over repeats up and down." : "",
      parameters.some((axis) => axis.kind === "choice") ? "A box holds the middle half of the trials of a choice, a line their median." : "",
    ].filter(Boolean).join(" ") || "Each point is a trial.");
    for (const axis of parameters) {
      const kind = { log: "logarithmic", choice: "choice" }[axis.kind];
      charts.push(scatter(captioned(section("scores"), axis.name, axis.path), { x: axis, y, items: shown, bin, open: unfinished, spread, on, label: `${metric} against ${axis.name}${kind ? ` (${kind})` : ""}` }));
    }
  }

  if (!sweep.importance.length) empty("importance", "Too few scores to tell which parameter matters.");
  else {
    const rows = sweep.importance.filter(([, value]) => isSet(value));
    bars(section("importance"), rows.map(([path, value]) => ({ name: names.get(path) ?? path, title: path, value, text: fixed(value, 2) })), Math.max(1, ...rows.map(([, value]) => value)));
  }

  if (!scored.length) empty("history", "No trial has a score yet.");
  else {
    const x = axisOf({ name: "trial", kind: "integer", items: trials, value: (trial) => trial.number });
    const through = () => {
      const steps = [];
      let record;
      for (const trial of byNumber) {
        if (!isSet(trial.score) || trial.state !== "done") continue;
        const better = record === undefined || (maximize ? trial.score > record : trial.score < record);
        if (record !== undefined) steps.push([trial.number, record]);
        if (better) record = trial.score;
        steps.push([trial.number, record]);
      }
      return visible.length === trials.length ? steps : [];
    };
    charts.push(scatter(framed(section("history")), { x, y, items: shown, bin, open: unfinished, through, on, xName: "trial", yName: metric, label: `${metric} against the number of the trial, with the best so far` }));
  }

  const curved = trials.filter((trial) => trial.curves.length);
  if (!curved.length) empty("learning", "No trial has reported a score during training.");
  else charts.push(curves(framed(section("learning")), { items: shown, curves: (trial) => trial.curves, bin, ended: (trial) => trial.state === "pruned", on, xName: "step", yName: `validation ${metric}`, label: `Learning curves: validation ${metric} against step` }));

  cost();
}

function cost() {
  const timed = trials.filter((trial) => trial.seconds > 0);
  if (!timed.length) return empty("cost", "No trial has taken any time yet.");
  const all = timed.map((trial) => trial.seconds);
  const [least, most] = extent(all);
  const total = all.reduce((sum, value) => sum + value, 0);
  const middle = quantile([...all].sort((a, b) => a - b), 0.5);
  const { needed, saved } = sweep.executions;
  byId("cost").querySelector(".note").textContent = `${duration(total)} in all; half of the trials took less than ${duration(middle)}, the longest ${duration(most)}. ${needed ? `${saved} of ${needed} step executions were shared with another trial or an earlier run, and cost nothing.` : ""}`;
  const [unit, size] = most > 7200 ? ["hours", 3600] : most > 180 ? ["minutes", 60] : ["seconds", 1];
  const time = { name: unit, items: timed, value: (trial) => (trial.seconds > 0 ? trial.seconds / size : undefined) };
  const number = axisOf({ name: "trial", kind: "integer", items: trials, value: (trial) => trial.number });
  const items = () => visible.filter((trial) => trial.seconds > 0);
  charts.push(scatter(captioned(section("cost"), `Time of each trial, in ${unit}`), { x: number, y: { ...axisOf({ ...time, kind: "linear" }), floor: 0 }, items, bin, open: unfinished, on, xName: "trial", label: `Time of each trial in ${unit}` }));
  if (!scored.length) return undefined;
  const x = axisOf({ ...time, kind: least > 0 && most / least > 30 ? "log" : "linear" });
  // The trials that no other beats in both score and time.
  const through = (shown) => {
    const front = [];
    for (const trial of shown.filter((one) => one.state === "done").sort((a, b) => a.seconds - b.seconds)) {
      const record = front.at(-1)?.[1];
      if (record !== undefined && (maximize ? trial.score <= record : trial.score >= record)) continue;
      if (record !== undefined) front.push([trial.seconds / size, record]);
      front.push([trial.seconds / size, trial.score]);
    }
    return front;
  };
  charts.push(scatter(captioned(section("cost"), `Score against time; the line is the best score for that time`), { x, y, items, bin, open: unfinished, spread, through, on, xName: unit, yName: metric, label: `${metric} against time in ${unit}, with the best score for each time` }));
  return undefined;
}

function compare() {
  comparison(section("difference"), {
    chosen,
    paths: paths.map((path) => [path, names.get(path)]),
    results: [
      [metric, (trial) => `${scoreText(trial.score)} ${spreadText(trial)}`],
      ["state", (trial) => trial.state],
      ["time", (trial) => duration(trial.seconds)],
      ["steps run, saved", (trial) => `${trial.built}, ${trial.fresh}`],
    ],
    drop: on.choose,
  });
}

function details(trial) {
  return [
    settingsOf(trial).length > 0 && [h("h3", {}, "Settings"), settingsList(trial, Infinity, true)],
    trial.message && [h("h3", {}, "Message"), h("pre", { tabindex: 0 }, trial.message)],
    h("h3", {}, "Repeat this trial"), command(repeat(sweep.command, trial)),
  ];
}

function tables() {
  const results = [
    { name: "trial", sort: (trial) => trial.number },
    { name: "state", kind: "state", sort: (trial) => STATES.indexOf(trial.state), cell: (trial) => stateText(trial.state) },
    { name: metric, title: sweep.goal, kind: "number", first: true, down: maximize, sort: (trial) => trial.score, cell: (trial) => scoreText(trial.score) },
    trials.some((trial) => isSet(trial.spread)) && { name: "spread", title: "Standard deviation over repeats", kind: "number", sort: (trial) => trial.spread, cell: (trial) => (isSet(trial.spread) ? fixed(trial.spread, places) : "–") },
    { name: "time", kind: "number", sort: (trial) => trial.seconds, cell: (trial) => duration(trial.seconds) },
    { name: "run", title: "Steps that ran", kind: "number", sort: (trial) => trial.built, cell: (trial) => `${trial.built}` },
    { name: "saved", title: "Steps that another trial or an earlier run had done", kind: "number", sort: (trial) => trial.fresh, cell: (trial) => `${trial.fresh}` },
  ].filter(Boolean);
  const settings = parameters.map((axis) => ({
    name: axis.name,
    title: axis.path,
    kind: axis.kind === "choice" ? "choice" : "number",
    sort: (trial) => (axis.kind === "choice" && isSet(axis.value(trial)) && typeof axis.value(trial) !== "number" ? words(axis.value(trial)) : axis.value(trial)),
    cell: (trial) => (isSet(axis.value(trial)) ? h("span", { title: json(axis.value(trial)) }, words(axis.value(trial))) : h("span", { class: "unset" }, "–")),
  }));
  table = trialTable(section("trials"), { columns: [...results, ...settings], empty: trials.length ? "No trial passes the filter." : "No trial yet.", shown, details, isBest: (trial) => trial === best, chosen: () => chosen, on });
  table.redraw();
}

function controls() {
  const boxes = STATES.filter((state) => trials.some((trial) => trial.state === state)).map((state) => {
    const input = h("input", { type: "checkbox", value: state, onchange: () => {
      if (input.checked) states.add(state);
      else states.delete(state);
      changed();
    } });
    input.checked = true;
    return h("label", {}, input, " ", state);
  });
  byId("states").append(...boxes);
  byId("states").hidden = boxes.length < 2;
  byId("query").addEventListener("input", (event) => {
    query = event.target.value.trim();
    changed();
  });
  byId("clear").addEventListener("click", () => {
    limits.clear();
    STATES.forEach((state) => states.add(state));
    byId("states").querySelectorAll("input").forEach((input) => (input.checked = true));
    byId("limit").querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
    query = byId("query").value = "";
    changed();
    byId("query").focus();
  });
  byId("filter").hidden = trials.length < 2;
  addEventListener("keydown", (event) => event.key === "Escape" && on.hover(undefined));
  // Paper shows what the filter shows, but all of it.
  addEventListener("beforeprint", () => table.all());
}

headline();
sections();
compare();
tables();
controls();
tell();
relight();
