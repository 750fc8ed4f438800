// How the training went, and what it was fed: curves over steps, rows and their lengths, tokens.

/** The scores of a line of validation, whether they stand apart or among the rest. */
function validationOf(line) {
  if (line.validation) return line.validation;
  const { step, epoch, loss, learning_rate, gradient_norm, loss_scale, skipped, ...rest } = line;
  return isSet(learning_rate) ? undefined : { ...rest, ...(isSet(loss) ? { loss } : {}) };
}

function trainingOf(place, training) {
  const { stage, log, seconds, rows_per_second: speed, steps, parameters } = training;
  const facts = [
    ["steps", count(steps)],
    isSet(parameters) && ["parameters", count(parameters)],
    isSet(seconds) && ["time", duration(seconds)],
    isSet(speed) && ["throughput", `${number(speed, 3)} rows a second`],
  ].filter(Boolean);
  place.append(h("h3", {}, stage), h("dl", { class: "figures" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
  const lines = log.filter((line) => isSet(line.step));
  const stepped = (key) => lines.filter((line) => isSet(line[key]) && !line.validation && isSet(line.learning_rate)).map((line) => [line.step, line[key]]).filter(([, value]) => Number.isFinite(value));
  const validations = lines.map((line) => [line.step, validationOf(line)]).filter(([, scores]) => scores && Object.values(scores).some((one) => typeof one === "number"));
  const scored = (key) => validations.map(([step, scores]) => [step, scores[key]]).filter(([, value]) => typeof value === "number" && Number.isFinite(value));
  const charts = h("div", { class: "multiples" });
  place.append(charts);
  const chart = (name, series, axis) => {
    const some = series.filter((one) => one.points.length);
    if (!some.length) return;
    const figureOf = captioned(name);
    charts.append(figureOf);
    const ends = some.map((one) => `${one.name} from ${number(one.points[0][1], 3)} to ${number(one.points.at(-1)[1], 3)}`).join(", ");
    plot(figureOf, { height: 200, y: axis, x: { lo: 0, kind: "integer" }, xName: "step", lines: () => some, tell: tellPoint("step", "value"), label: () => `${name} over ${counted(steps, "step")}: ${ends}` });
    if (some.length > 1) figureOf.append(h("ul", { class: "legend" }, some.map((one) => h("li", {}, h("span", { class: `mark-line ${one.as}`, "aria-hidden": "true" }), one.name))));
  };
  const raw = stepped("loss");
  chart("Loss", [{ name: "training", as: "faint", points: raw, still: raw.length > 60 }, raw.length > 60 && { name: "training, smoothed", as: "c1", points: smoothed(raw) }, { name: "validation", as: "c2", marks: true, points: scored("loss") }].filter(Boolean));
  const names = [...new Set(validations.flatMap(([, scores]) => Object.entries(scores).filter(([key, value]) => key !== "loss" && typeof value === "number" && value >= 0 && value <= 1).map(([key]) => key)))];
  const first = ["f1_macro", "f1", "f1_micro", "accuracy", "exact_match"].filter((name) => names.includes(name));
  chart("Validation scores", [...first, ...names.filter((name) => !first.includes(name))].slice(0, 4).map((name, index) => ({ name: metricName(name), as: `c${(index + 1) % 4}`, marks: true, points: scored(name) })));
  chart("Learning rate", [{ name: "learning rate", as: "c1", points: stepped("learning_rate") }], { lo: 0 });
  const norms = stepped("gradient_norm");
  chart("Gradient norm", [{ name: "gradient norm", as: norms.length > 60 ? "faint" : "c1", points: norms, still: norms.length > 60 }, norms.length > 60 && { name: "smoothed", as: "c1", points: smoothed(norms) }].filter(Boolean), { lo: 0 });
}

/** A running mean that forgets: over about a fiftieth of the steps. */
function smoothed(points) {
  const keep = 1 - 1 / Math.max(2, points.length / 50);
  let [sum, weight] = [0, 0];
  return points.map(([step, value]) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return [step, sum / weight];
  });
}

const MOST_LABELS = 12;

/** Lengths without the longest: those above which two rows in a thousand lie, and the last bin where it is wider than the others. */
function tail(lengths) {
  const all = lengths.reduce((sum, [, , rows]) => sum + rows, 0);
  let rest = all;
  const kept = [];
  for (const bin of lengths) {
    if (kept.length >= 6 && rest < 0.002 * all) break;
    if (kept.length && bin[1] - bin[0] > kept[0][1] - kept[0][0]) break;
    kept.push(bin);
    rest -= bin[2];
  }
  return { kept, rest };
}

function dataOf(place, page) {
  for (const { stage, splits } of page.data) {
    place.append(h("h3", {}, stage), h("p", { class: "soft" }, splits.map((split) => `${split.name} ${counted(split.rows, "row")}`).join(", ")));
    const [labels, words] = [h("div", { class: "multiples fitted" }), h("div", { class: "multiples fitted" })];
    place.append(labels, words);
    for (const split of splits) {
      const most = Math.max(0, ...split.labels.map(([, rows]) => rows));
      if (most) {
        const figureOf = captioned(`Labels of ${split.name}`);
        labels.append(figureOf);
        const sorted = split.labels.length > MOST_LABELS ? [...split.labels].sort((a, b) => b[1] - a[1]) : split.labels;
        const items = sorted.map(([name, rows]) => h("li", {}, h("span", { class: "what" }, name), h("span", { class: "track", "aria-hidden": "true" }, styled(h("span", { class: "bar" }), { width: `${(100 * rows) / most}%` })), h("span", { class: "amount" }, count(rows))));
        figureOf.append(inParts(items, MOST_LABELS, "labels", (part) => h("ul", { class: "bars tight" }, part)));
      }
      if (split.words.some(([, , rows]) => rows)) {
        const figureOf = captioned(`Words of ${split.name}`);
        words.append(figureOf);
        const { kept, rest } = tail(split.words);
        histogram(figureOf, { bars: kept, xName: "words", label: `How many words the texts of ${split.name} have` });
        if (rest) figureOf.append(h("p", { class: "note small" }, `${counted(rest, "row")} more beyond.`));
      }
    }
  }
  for (const { stage, max_length: longest, vocab_size: vocabulary, splits } of page.tokens) {
    place.append(h("h3", {}, stage), h("p", { class: "soft" }, `${count(vocabulary)} words and pieces; rows are cut at ${counted(longest, "token")}.`));
    place.append(framedTable(`Tokens of ${stage}`,
      h("tr", {}, ["split", "rows", "tokens, mean", "longest", "cut", "unknown tokens"].map((name, index) => h("th", { scope: "col", class: index ? "number" : undefined }, name))),
      h("tbody", {}, splits.map((split) => h("tr", {}, h("th", { scope: "row" }, split.name), [count(split.rows), number(split.mean, 3), count(split.longest), `${count(split.cut)} (${share(split.cut / (split.rows || 1))})`, share(split.unknown, 2)].map((text) => h("td", { class: "number" }, text)))))));
    const charts = h("div", { class: "multiples fitted" });
    place.append(charts);
    for (const split of splits.filter((one) => one.lengths.some(([, , rows]) => rows))) {
      const figureOf = captioned(`Tokens of ${split.name}`);
      charts.append(figureOf);
      const { kept, rest } = tail(split.lengths);
      histogram(figureOf, { bars: kept, xName: "tokens", label: `How many tokens the rows of ${split.name} have`, mark: { at: longest, name: "cut here" } });
      if (rest) figureOf.append(h("p", { class: "note small" }, `${counted(rest, "row")} more beyond.`));
    }
  }
}
