// How good the answers are: the headline, the labels, the matrix of confusion, curves, thresholds, numbers.

// ---- The headline ----

const METRICS = { f1_macro: "F1, mean of labels", f1_micro: "F1, all entries", f1_weighted: "F1, by support", f1: "F1", accuracy: "Accuracy", matthews: "Matthews correlation", loss: "Loss", exact_match: "Exact match", precision: "Precision", recall: "Recall" };
const metricName = (name) => METRICS[name] ?? name.replaceAll("_", " ");

function scoreBars(place, { scores, level, resamples }) {
  const [first, ...rest] = scores;
  if (!first) return;
  // Scores of one span share a track; what has no upper end stands as a number.
  const most = (score) => (score.value <= 1 && score.value >= 0 && score.higher_is_better ? 1 : score.value <= 100 && score.higher_is_better && score.value > 1 ? 100 : undefined);
  const interval = ({ low, high }) => (isSet(low) && isSet(high) ? `${scoreText(low)} to ${scoreText(high)}` : "");
  const line = (score) => h("li", {},
    h("span", { class: "what", title: score.metric }, metricName(score.metric), !score.higher_is_better && h("span", { class: "soft" }, " (less is better)")),
    most(score) ? meter(score.value, score.low, score.high, most(score)) : h("span", {}),
    h("b", { class: "amount" }, scoreText(score.value)),
    h("span", { class: "interval" }, interval(score)));
  place.append(
    h("p", { class: "score" }, scoreText(first.value), h("small", {}, ` ${metricName(first.metric)}`)),
    isSet(first.low) && h("p", { class: "soft" }, `${interval(first)}: the interval of ${share(level, 0)}${resamples ? `, rows drawn anew ${count(resamples)} times` : ""}`),
    h("ul", { class: "scores" }, [first, ...rest].map(line)));
}

/** Share of the rows that are wrong, in a sentence; `undefined` where no row can be. */
function wrongSentence(evaluation, rows) {
  const { confusion, task } = evaluation;
  let [all, wrong] = [0, 0];
  if (confusion.length) {
    confusion.forEach((line, right) => line.forEach((cell, answered) => {
      all += cell;
      if (right !== answered) wrong += cell;
    }));
  } else if (rows) {
    all = rows.length;
    for (const one of rows.wrong) wrong += one;
  } else return undefined;
  if (!all || ["regression", "generation"].includes(task)) return undefined;
  const what = { multi_label: " (a label too many or too few)", token_classification: Object.keys(evaluation.entity_errors).length ? " (an entity is missed, spurious or not exact)" : " (a word has a wrong tag)", question_answering: " (not a right answer word for word)" }[task] ?? "";
  return [h("b", {}, `${count(wrong)} of ${counted(all, "row")} ${wrong === 1 ? "is" : "are"} wrong`), `: ${share(wrong / all)}${what}.`];
}

const KIND_NAMES = { correct: "found", type: "wrong type", boundary: "wrong boundary", both: "wrong type and boundary", missed: "missed", spurious: "spurious" };

/** What a button says that stands for nothing on paper. */
const SHOW = "Show them";

/** The sentences that matter, each with what it leads to. */
function findings(evaluation, rows, go) {
  const { labels, per_label: per, confused, slices, task, entity_errors: errors } = evaluation;
  const link = (text, act) => h("button", { type: "button", class: text === SHOW ? "link act" : "link", onclick: (event) => act(event.currentTarget) }, text);
  const list = [];
  const wrong = wrongSentence(evaluation, rows);
  if (wrong) list.push([wrong, " ", link(SHOW, (from) => go.rows({ verdict: "wrong" }, from))]);
  const supported = per.filter((one) => one.support > 0 && isSet(one.f1));
  if (supported.length > 1) {
    const worst = supported.reduce((a, b) => (b.f1 < a.f1 ? b : a));
    list.push([task === "token_classification" ? "The worst type is " : "The worst label is ", link(labels[worst.label], (from) => go.label(worst.label, from)), `: F1 ${fixed(worst.f1, 3)}, precision ${fixed(worst.precision, 3)}, recall ${fixed(worst.recall, 3)}, on ${count(worst.support)}.`]);
  }
  if (confused.length) {
    const [pair] = confused;
    list.push([h("span", {}, "Most often ", h("b", {}, labels[pair.right]), " is taken for ", h("b", {}, labels[pair.answered])), `: ${count(pair.count)} times, ${share(pair.share)} of ${labels[pair.right]}. `, link(SHOW, (from) => go.pair(pair.right, pair.answered, from))]);
  }
  if (task === "token_classification" && Object.keys(errors).length) {
    const all = Object.entries(errors).reduce((sum, [kind, number_]) => sum + (kind === "spurious" ? 0 : Number(number_)), 0);
    list.push([`${count(errors.correct ?? 0)} of ${count(all)} entities are found exactly, ${count(errors.missed ?? 0)} are missed altogether, and ${count(errors.spurious ?? 0)} are spurious.`]);
  }
  if (task === "question_answering" && rows) {
    let [none, needless, has, withheld] = [0, 0, 0, 0];
    rows.data.answers.forEach((answers, row) => {
      const gave = rows.data.answer[row] !== "";
      if (answers.length) [has, withheld] = [has + 1, withheld + (gave ? 0 : 1)];
      else [none, needless] = [none + 1, needless + (gave ? 1 : 0)];
    });
    if (none) list.push([`${count(needless)} of ${count(none)} questions without an answer got one (`, link("show", (from) => go.rows({ kind: "needless" }, from)), `); ${count(withheld)} of ${count(has)} that have one got none (`, link("show", (from) => go.rows({ kind: "withheld" }, from)), ")."]);
  }
  if (task === "regression" && rows) {
    const off = Array.from(rows.all, rows.residual).sort((a, b) => a - b);
    if (off.length) list.push([`Half of the answers are off by less than ${number(quantile(off, 0.5), 3)}, nine of ten by less than ${number(quantile(off, 0.9), 3)}, the farthest by ${number(off.at(-1), 3)}.`]);
  }
  if (task === "generation" && rows?.score) {
    const [name, values] = rows.score;
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    if (sorted.length) list.push([`Half of the texts score less than ${number(quantile(sorted, 0.5), 3)} in ${metricName(name)}, one of ten less than ${number(quantile(sorted, 0.1), 3)}.`]);
  }
  // The worst label is told above; a slice that is one says nothing new.
  const slice = slices.find((one) => one.by !== "label" && one.p_value < 0.05 && one.error > one.elsewhere) ?? slices.find((one) => one.by !== "label");
  if (slice && slice.error > slice.elsewhere) {
    list.push(["Most fails where ", link(sliceName(slice), (from) => go.slice(slice, from)), `: ${share(slice.error)} of ${counted(slice.support, "row")} wrong (${share(slice.low)} to ${share(slice.high)}), ${share(slice.elsewhere)} elsewhere${slice.p_value < 0.05 ? "" : "; that may be chance"}.`]);
  }
  return list;
}

function headline(place, evaluation, rows, go) {
  const scores = h("div", { class: "card" });
  scoreBars(scores, evaluation);
  const told = findings(evaluation, rows, go);
  // Of an evaluation that was collected there are no rows to wait for.
  const waits = !rows && evaluation.packed;
  const others = h("div", { class: "card findings" }, h("h3", {}, "What matters"), told.length ? h("ul", {}, told.map((one) => h("li", {}, one))) : h("p", { class: "soft" }, waits ? "Reading the rows …" : "Nothing stands out."));
  place.replaceChildren(scores, told.length || waits || rows ? others : "");
}

// ---- Labels ----

function perLabel(place, { labels, per_label: per, task }, go) {
  const columns = [
    { key: "label", name: task === "token_classification" ? "type" : "label", text: (one) => labels[one.label] },
    { key: "precision", name: "precision" },
    { key: "recall", name: "recall" },
    { key: "f1", name: "F1" },
    { key: "support", name: "support" },
  ];
  let sorted = { key: "f1", down: false };
  const body = h("tbody");
  const heads = columns.map((column) => h("th", { scope: "col", class: column.key === "label" ? undefined : "number" }, h("button", { type: "button", class: "sort", onclick: () => {
    sorted = { key: column.key, down: sorted.key === column.key ? !sorted.down : column.key !== "label" };
    draw();
  } }, column.name)));
  const most = Math.max(1, ...per.map((one) => one.support));
  function draw() {
    columns.forEach((column, index) => (column.key === sorted.key ? heads[index].setAttribute("aria-sort", sorted.down ? "descending" : "ascending") : heads[index].removeAttribute("aria-sort")));
    const value = (one) => (sorted.key === "label" ? labels[one.label] : one[sorted.key]);
    const order = (a, b) => (sorted.key === "label" ? String(value(a)).localeCompare(String(value(b)), "en", { numeric: true }) : value(a) - value(b)) || a.label - b.label;
    body.replaceChildren(...[...per].sort((a, b) => (sorted.down ? -order(a, b) : order(a, b))).map((one) => h("tr", { "data-label": one.label },
      h("th", { scope: "row" }, h("button", { type: "button", class: "link", onclick: (event) => go.label(one.label, event.currentTarget) }, labels[one.label])),
      ["precision", "recall", "f1"].map((key) => h("td", { class: "number" }, fixed(one[key], 3), meter(one[key]))),
      h("td", { class: "number" }, count(one.support), meter(one.support, undefined, undefined, most)))));
  }
  draw();
  const table = framedTable("Scores of each label", h("tr", {}, heads), body, { class: "labels" });
  table.classList.toggle("tall", per.length > 14);
  place.replaceChildren(table);
}

// ---- Confusion ----

/** The labels that are confused most, in their own order. */
function mostConfused(confusion, most) {
  if (confusion.length <= most) return confusion.map((_, index) => index);
  const pairs = confusion.flatMap((line, right) => line.map((cell, answered) => [right === answered ? 0 : cell, right, answered])).sort((a, b) => b[0] - a[0]);
  const chosen = new Set();
  for (const [, right, answered] of pairs) {
    if (chosen.size >= most) break;
    chosen.add(right);
    if (chosen.size < most) chosen.add(answered);
  }
  return [...chosen].sort((a, b) => a - b);
}

function confusionMatrix(place, { labels, confusion }, go) {
  const rowSums = confusion.map((line) => line.reduce((sum, cell) => sum + cell, 0));
  const columnSums = confusion.map((_, answered) => confusion.reduce((sum, line) => sum + line[answered], 0));
  const sizes = [12, 24, 48].filter((size) => size < labels.length);
  let shown = sizes[0] ?? labels.length;
  let by = "counts";
  const holder = h("div");
  const long = labels.some((label) => label.length > 10);
  const partOf = { counts: () => 1, rows: (right) => rowSums[right], columns: (right, answered) => columnSums[answered] };

  function draw() {
    const chosen = mostConfused(confusion, shown);
    const others = labels.length - chosen.length;
    const rest = labels.map((_, index) => index).filter((index) => !chosen.includes(index));
    const value = (right, answered) => confusion[right][answered] / (partOf[by](right, answered) || 1);
    const off = chosen.flatMap((right) => chosen.filter((answered) => answered !== right).map((answered) => value(right, answered)));
    // Errors and right answers have scales of their own: else the diagonal drowns what one looks for.
    const [worst, best] = [Math.max(...off, 1e-9), Math.max(...chosen.map((one) => value(one, one)), 1e-9)];
    const text = (right, answered) => (by === "counts" ? (confusion[right][answered] ? count(confusion[right][answered]) : "·") : confusion[right][answered] ? fixed(100 * value(right, answered), value(right, answered) < 0.0995 ? 1 : 0) : "·");
    const cell = (right, answered, first) => {
      const part = value(right, answered) / (right === answered ? best : worst);
      const says = `right ${labels[right]}, answered ${labels[answered]}: ${counted(confusion[right][answered], "row")}, ${share(confusion[right][answered] / (rowSums[right] || 1))} of the line, ${share(confusion[right][answered] / (columnSums[answered] || 1))} of the column`;
      const button = h("button", { type: "button", class: `cell ${right === answered ? "hit" : "miss"}`, tabindex: first ? 0 : -1, "data-right": right, "data-answered": answered, "aria-label": says, title: says, onclick: (event) => go.pair(right, answered, event.currentTarget) }, text(right, answered));
      return h("td", {}, styled(button, { "--part": confusion[right][answered] ? (0.1 + 0.9 * Math.min(1, part)).toFixed(2) : "0" }));
    };
    const sum = (list) => list.reduce((all, one) => all + one, 0);
    const soft = (amount) => h("td", { class: "sum" }, count(amount));
    const head = h("tr", {}, h("td", {}), chosen.map((one) => h("th", { scope: "col" }, h("span", { class: "upright", title: labels[one] }, labels[one]))), others > 0 && h("th", { scope: "col", class: "sum" }, h("span", { class: "upright" }, `${others} others`)), h("th", { scope: "col", class: "sum" }, h("span", { class: "upright" }, "all")));
    const lines = chosen.map((right, index) => h("tr", {}, h("th", { scope: "row", title: labels[right] }, labels[right]), chosen.map((answered, at) => cell(right, answered, index + at === 0)), others > 0 && soft(sum(rest.map((answered) => confusion[right][answered]))), soft(rowSums[right])));
    const foot = h("tr", {}, h("th", { scope: "row", class: "sum" }, "all"), chosen.map((answered) => soft(columnSums[answered])), others > 0 && soft(sum(rest.map((answered) => columnSums[answered]))), soft(sum(rowSums)));
    const table = h("table", { class: `confusion${chosen.length > 12 ? " small" : ""}${chosen.length > 12 || (long && chosen.length > 6) ? " standing" : ""}` }, h("caption", { class: "unseen" }, "Rows by right label and answer"), h("thead", {}, head), h("tbody", {}, lines, foot));
    roving(table, "button.cell", () => chosen.length);
    holder.replaceChildren(h("div", { class: "matrix", role: "region", "aria-label": "Matrix of confusion", tabindex: 0 }, table),
      h("p", { class: "note small" }, h("span", { class: "swatch hit", "aria-hidden": "true" }), "right ", h("span", { class: "swatch miss", "aria-hidden": "true" }), `wrong; the stronger the more, each on a scale of its own.${by === "counts" ? "" : " In per cent."}${others > 0 ? ` The ${chosen.length} labels that are confused most.` : ""}`));
  }
  const redraw = (key) => (value) => {
    if (key === "by") by = value;
    else shown = Number(value);
    draw();
  };
  draw();
  place.replaceChildren(h("div", { class: "controls" },
    toggles("What a cell counts", [["counts", "rows"], ["rows", "share of the line"], ["columns", "share of the column"]], by, redraw("by")),
    sizes.length > 0 && labelled("Labels", [...sizes.map((size) => [size, `${size} most confused`]), [labels.length, `all ${labels.length}`]].filter(([size]) => size <= 160), shown, redraw("shown"))), holder);
}

// ---- Curves ----

const tellPoint = (xName, yName) => (line, [x, y]) => `${line.name ? `${line.name}: ` : ""}${xName} ${number(x, 3)}, ${yName} ${number(y, 3)}`;

function curvesOf(place, evaluation) {
  const { labels, curves: all, calibration, calibration_error: error } = evaluation;
  const parts = [];
  const redraws = [];
  let chosen = all.length ? all.reduce((a, b) => ((b.average_precision ?? 1) < (a.average_precision ?? 1) ? b : a)) : undefined;
  const unit = { lo: 0, hi: 1 };
  const diagonal = (root, { along, up }) => root.append(s("path", { class: "apart", d: `M${p(along(0))} ${p(up(0))}L${p(along(1))} ${p(up(1))}` }));
  if (chosen) {
    const lines = (key) => () => [
      ...(all.length <= 40 ? all.filter((one) => one !== chosen && one[key].length).map((one) => ({ name: labels[one.label], as: "faded", still: true, points: one[key] })) : []),
      { name: labels[chosen.label], as: "main", points: chosen[key] },
    ];
    const titles = { roc: h("figcaption", {}), pr: h("figcaption", {}) };
    const figures = [h("figure", {}, titles.roc), h("figure", {}, titles.pr)];
    const caption = () => {
      titles.roc.textContent = `ROC of ${labels[chosen.label]}: area ${scoreText(chosen.roc_auc)}`;
      titles.pr.textContent = `Precision and recall of ${labels[chosen.label]}: average precision ${scoreText(chosen.average_precision)}`;
    };
    caption();
    redraws.push(plot(figures[0], { x: unit, y: unit, xName: "share of the others taken for it", yName: "share of its own found", lines: lines("roc"), more: diagonal, tell: tellPoint("others", "its own"), label: () => titles.roc.textContent }));
    redraws.push(plot(figures[1], { x: unit, y: unit, xName: "recall", yName: "precision", lines: lines("precision_recall"), tell: tellPoint("recall", "precision"), label: () => titles.pr.textContent }));
    parts.push(...figures);
    if (all.length > 1) {
      const field = labelled("Label", all.map((one, index) => [index, labels[one.label]]), all.indexOf(chosen), (value) => {
        chosen = all[Number(value)];
        caption();
        redraws.forEach((chart) => chart.redraw());
      });
      place.append(h("div", { class: "controls" }, field, all.length <= 40 && h("span", { class: "soft" }, "The other labels are drawn faintly.")));
    }
  }
  if (calibration.length) {
    const figureOf = captioned(`Calibration${isSet(error) ? `: expected error ${scoreText(error)}` : ""}`);
    const most = Math.max(...calibration.map((bin) => bin.rows));
    plot(figureOf, {
      x: unit,
      y: unit,
      xName: "how sure",
      yName: "how often right",
      lines: () => [{ name: "", as: "main", marks: true, points: calibration.map((bin) => [bin.confidence, bin.accuracy]) }],
      more(root, scales) {
        const { along, up, bottom } = scales;
        root.append(s("path", { class: "area", d: calibration.map((bin) => `M${p(along(bin.low) + 1)} ${p(bottom)}V${p(bottom - (bottom - up(1)) * 0.25 * (bin.rows / most))}H${p(along(bin.high) - 1)}V${p(bottom)}Z`).join("") }));
        diagonal(root, scales);
      },
      tell: (line, [sure, right]) => `${share(sure)} sure, ${share(right)} right, ${counted(calibration.find((bin) => bin.confidence === sure)?.rows ?? 0, "row")}`,
      label: () => `How often answers are right against how sure they are, in ${calibration.length} bins`,
    });
    figureOf.append(h("p", { class: "note small" }, "On the dotted line answers are as often right as they are sure; below it they are too sure. The bars below show how many rows there are."));
    parts.push(figureOf);
  }
  place.append(h("div", { class: "multiples thirds" }, parts));
}

// ---- Thresholds ----

const measures = ([tp, fp, fn]) => {
  const [precision, recall] = [tp / (tp + fp), tp / (tp + fn)];
  return { precision: tp + fp ? precision : 1, recall: tp + fn ? recall : 0, f1: tp ? (2 * tp) / (2 * tp + fp + fn) : 0 };
};

function thresholdSlider(place, { labels, thresholds }) {
  let chosen = thresholds[0];
  // What is in force may lie between the hundredths that the slider goes by.
  const inForce = () => ({ value: chosen.chosen, counts: chosen.in_force });
  let at = inForce();
  const atText = () => (Math.abs(100 * at.value - Math.round(100 * at.value)) < 1e-9 ? fixed(at.value, 2) : number(at.value, 3));
  const slider = h("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Threshold", class: "slider" });
  const output = h("output", { class: "amount" });
  const numbers = h("div", { class: "numbers" });
  const figureOf = h("figure", {}, h("figcaption", {}, "Precision, recall and F1 against the threshold"));
  const names = [["precision", "c1"], ["recall", "c2"], ["f1", "c3"]];
  const chart = plot(figureOf, {
    height: 220,
    x: { lo: 0, hi: 1 },
    y: { lo: 0, hi: 1 },
    xName: "threshold",
    lines: () => names.map(([key, as]) => ({ name: key === "f1" ? "F1" : key, as, points: chosen.counts.map((counts, index) => [index / 100, measures(counts)[key]]) })),
    more(root, { along, top, bottom }) {
      root.append(s("path", { class: "through", d: `M${p(along(at.value))} ${p(top)}V${p(bottom)}` }));
    },
    tell: tellPoint("threshold", "value"),
    choose: ([x]) => move(Math.round(100 * x)),
    label: () => `Precision, recall and F1 of ${labels[chosen.label]} against the threshold; now ${atText()}`,
  });
  figureOf.append(h("ul", { class: "legend" }, names.map(([key, as]) => h("li", {}, h("span", { class: `mark-line ${as}`, "aria-hidden": "true" }), key === "f1" ? "F1" : key))));

  function take(to) {
    at = to;
    slider.value = String(Math.round(100 * at.value));
    update();
  }
  const move = (to) => take({ value: to / 100, counts: chosen.counts[to] });
  function update() {
    const now = measures(at.counts);
    const then = measures(chosen.in_force);
    const [tp, fp, fn, tn] = at.counts;
    output.textContent = atText();
    slider.setAttribute("aria-valuetext", `${atText()}: precision ${fixed(now.precision, 3)}, recall ${fixed(now.recall, 3)}, F1 ${fixed(now.f1, 3)}`);
    const change = (key) => {
      const difference = now[key] - then[key];
      return Math.abs(difference) < 5e-4 ? "" : `${difference > 0 ? "+" : ""}${fixed(difference, 3)}`;
    };
    numbers.replaceChildren(
      h("dl", { class: "figures" }, names.map(([key]) => h("div", {}, h("dt", {}, key === "f1" ? "F1" : key), h("dd", {}, h("b", { "data-measure": key }, fixed(now[key], 3)), h("span", { class: "soft" }, ` ${change(key)}`))))),
      h("table", { class: "four" }, h("caption", { class: "unseen" }, "Rows at this threshold"),
        h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "has it"), h("th", { scope: "col" }, "has it not"))),
        h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, "answered"), h("td", { class: "number" }, count(tp)), h("td", { class: "number bad" }, count(fp))), h("tr", {}, h("th", { scope: "row" }, "not answered"), h("td", { class: "number bad" }, count(fn)), h("td", { class: "number" }, count(tn))))));
    chart.redraw();
  }
  slider.addEventListener("input", () => move(Number(slider.value)));
  const best = () => {
    const f1 = chosen.counts.map((counts) => measures(counts).f1);
    return f1.indexOf(Math.max(...f1));
  };
  place.append(
    h("div", { class: "controls" },
      thresholds.length > 1 && labelled("Label", thresholds.map((one, index) => [index, labels[one.label]]), 0, (value) => {
        chosen = thresholds[Number(value)];
        take(inForce());
      }),
      thresholds.length === 1 && h("span", {}, "Of ", h("b", {}, labels[chosen.label])),
      h("label", { class: "field wide" }, h("span", {}, "Threshold"), slider, output),
      h("button", { type: "button", onclick: () => take(inForce()) }, "In force"),
      h("button", { type: "button", onclick: () => move(best()) }, "Best F1 here")),
    h("div", { class: "pair" }, figureOf, numbers));
  take(at);
}

// ---- Numbers ----

/** So many points are told apart; of more, every so-and-so-many-th is drawn. */
const MOST_POINTS = 3000;

function numbersOf(place, rows, go) {
  for (const [name, right, answered] of rows.data.targets) {
    const whole = Array.from(rows.all).filter((row) => isSet(right[row]) && isSet(answered[row]));
    const some = whole.length > MOST_POINTS ? whole.filter((_, index) => index % Math.ceil(whole.length / MOST_POINTS) === 0) : whole;
    if (!some.length) continue;
    const points = some.map((row) => [right[row], answered[row], row]);
    const [lo, hi] = extent(points.flatMap(([x, y]) => [x, y]));
    const both = { lo, hi: hi > lo ? hi : lo + 1 };
    const against = captioned(`${name}: answered against right${some.length < whole.length ? `, ${count(some.length)} of ${count(whole.length)} rows` : ""}`);
    plot(against, {
      height: 320,
      x: both,
      y: both,
      xName: "right",
      yName: "answered",
      lines: () => [{ name, as: "main", dots: true, points }],
      more: (root, { along, up }) => root.append(s("path", { class: "apart", d: `M${p(along(both.lo))} ${p(up(both.lo))}L${p(along(both.hi))} ${p(up(both.hi))}` })),
      tell: (line, [x, y, row]) => `${rows.name(row)}: right ${number(x)}, answered ${number(y)}. ${briefly(rows.text(row) ?? "", 120)}`,
      choose: ([, , row]) => go.one(row, against.querySelector("svg")),
      label: () => `${name}: answered against right, ${counted(some.length, "row")}; a point opens its row`,
    });
    const off = whole.map((row) => answered[row] - right[row]);
    const [least, most] = extent(off);
    const bins = 30;
    const width = (most - least) / bins || 1;
    const heights = new Array(bins).fill(0);
    for (const one of off) heights[Math.min(bins - 1, Math.floor((one - least) / width))] += 1;
    const residuals = captioned(`${name}: answered minus right`);
    histogram(residuals, { bars: heights.map((height, index) => [least + index * width, least + (index + 1) * width, height]), xName: "answered minus right", label: `How far answers of ${name} are off, from ${number(least)} to ${number(most)}`, mark: { at: 0, name: "exact" } });
    const mean = off.reduce((sum, one) => sum + one, 0) / off.length;
    residuals.append(h("p", { class: "note small" }, `On average ${number(Math.abs(mean), 3)} too ${mean < 0 ? "low" : "high"}.`));
    place.append(h("div", { class: "multiples wide" }, against, residuals));
  }
}
