// Where the answers are wrong: slices, confused pairs, kinds of missed entities, doubtful labels, neighbours in training.

const sliceName = ({ by, value }) => (by === value ? by : `${by}: ${value}`);

/** A share with its interval, and where the other rows stand, on a scale that all slices have. */
function sliceMark({ error, low, high, elsewhere }, most) {
  const at = (one) => `${Math.max(0, Math.min(100, (100 * one) / most))}%`;
  return h("span", { class: "dots", "aria-hidden": "true" },
    styled(h("span", { class: "whisker" }), { left: at(low), width: `calc(${at(high)} - ${at(low)})` }),
    styled(h("span", { class: "elsewhere" }), { left: at(elsewhere) }),
    styled(h("span", { class: "point" }), { left: at(error) }));
}

const probability = (value) => (isSet(value) && value < 0.001 ? "< 0.001" : fixed(value, 3));

function slicesOf(place, { slices, level }, go) {
  const most = Math.min(1, Math.max(...slices.map((slice) => slice.high), 0.01));
  const kinds = [...new Set(slices.map((slice) => slice.by))];
  const holder = h("div");
  const row = (slice) => h("tr", { class: slice.p_value < 0.05 && slice.error > slice.elsewhere ? "telling" : undefined, "data-slice": sliceName(slice) },
    h("th", { scope: "row" }, h("span", { class: "soft" }, slice.by), " ", h("button", { type: "button", class: "link", "aria-label": `Show the rows of ${sliceName(slice)}`, onclick: (event) => go.slice(slice, event.currentTarget) }, slice.value)),
    h("td", { class: "number" }, share(slice.error)),
    h("td", { class: "wide" }, sliceMark(slice, most), h("span", { class: "interval" }, `${fixed(100 * slice.low, 1)} to ${share(slice.high)}`)),
    h("td", { class: "number" }, share(slice.elsewhere)),
    h("td", { class: "number" }, count(slice.support)),
    h("td", { class: "number" }, probability(slice.p_value)));
  const draw = (kind) => {
    const shown = slices.filter((slice) => kind === "all" || slice.by === kind);
    holder.replaceChildren(inParts(shown.map(row), 10, "slices", (part) => framedTable("Slices",
      h("tr", {}, ["slice", "wrong", `interval of ${share(level, 0)}`, "elsewhere", "rows", "p"].map((name, index) => h("th", { scope: "col", class: index === 0 || index === 2 ? undefined : "number" }, name))),
      h("tbody", {}, part), { class: "slices" })));
  };
  draw("all");
  place.append(kinds.length > 1 && h("div", { class: "controls" }, labelled("By", [["all", "all"], ...kinds.map((kind) => [kind, kind])], "all", draw)), holder);
}

function confusedPairs(place, { labels, confused }, go) {
  const most = Math.max(1, ...confused.map((pair) => pair.count));
  const items = confused.map((pair) => h("li", {},
    h("button", { type: "button", class: "link", onclick: (event) => go.pair(pair.right, pair.answered, event.currentTarget) }, labels[pair.right], h("span", { class: "soft" }, " taken for "), labels[pair.answered]),
    h("span", { class: "track", "aria-hidden": "true" }, styled(h("span", { class: "bar worse" }), { width: `${(100 * pair.count) / most}%` })),
    h("span", { class: "amount" }, count(pair.count), h("span", { class: "soft" }, ` ${share(pair.share)}`))));
  place.append(h("h3", {}, "Pairs confused most"), inParts(items, 8, "pairs", (part) => h("ul", { class: "bars pairs" }, part)));
}

function entityErrors(place, { entity_errors: errors }, go) {
  const kinds = ENTITY_KINDS.filter((kind) => isSet(errors[kind]));
  const most = Math.max(1, ...kinds.map((kind) => Number(errors[kind])));
  place.append(h("ul", { class: "bars" }, kinds.map((kind) => h("li", {},
    h("button", { type: "button", class: "link what", onclick: (event) => go.rows({ kind }, event.currentTarget) }, KIND_NAMES[kind]),
    h("span", { class: "track", "aria-hidden": "true" }, styled(h("span", { class: kind === "correct" ? "bar" : "bar worse" }), { width: `${(100 * Number(errors[kind])) / most}%` })),
    h("span", { class: "amount" }, count(Number(errors[kind])))))));
}

/** A text of a row, its beginning; the button opens the row. */
function rowText(rows, row, go) {
  return [h("p", { class: "clamp" }, briefly(rows.text(row) ?? LEFT_OUT, 300)), h("button", { type: "button", class: "link", onclick: (event) => go.one(row, event.currentTarget) }, rows.name(row))];
}

function doubtfulLabels(place, { labels, doubtful }, rows, go) {
  const line = (doubt) => h("tr", { "data-doubt": doubt.row },
    h("td", { class: "wide" }, rowText(rows, doubt.row, go)),
    h("td", {}, labels[doubt.given], h("span", { class: "soft" }, ` ${share(doubt.given_probability, 1)}`)),
    h("td", {}, h("b", {}, labels[doubt.suggested]), h("span", { class: "soft" }, ` ${share(doubt.suggested_probability, 1)}`)));
  place.replaceChildren(
    h("div", { class: "controls" }, h("button", { type: "button", onclick: (event) => go.held("rows with a doubtful label", doubtful.map((doubt) => doubt.row), event.currentTarget) }, `Show ${doubtful.length === 1 ? "it" : `all ${count(doubtful.length)}`} among the rows`)),
    inParts(doubtful.map(line), 10, "doubtful rows", (part) => framedTable("Table of rows whose label is doubtful", h("tr", {}, ["row", "label given", "label suggested"].map((name) => h("th", { scope: "col" }, name))), h("tbody", {}, part), { class: "doubts" })));
}

/** What is right in a row, as the training says it. */
function rightText(rows, row, labels) {
  if (rows.right) return labels[rows.right[row]];
  if (rows.data.right_labels.length) return rows.data.right_labels[row].map((label) => labels[label]).join(", ");
  if (rows.data.answers.length) return rows.data.answers[row][0] ?? "no answer";
  return "";
}

function nearRow(one, rows, labels) {
  // A set of labels may have none, which is not the same as not to be known.
  const none = rows.data.right_labels.length ? "none" : "";
  const [there, right] = [one.label || none, rightText(rows, one.row, labels) || none];
  const differs = there && right && there !== right;
  return [
    h("p", { class: "clamp" }, one.text),
    h("p", { class: "soft" }, `${share(one.similarity, 0)} alike, row ${one.id} of the training`, there && [", ", differs ? h("b", { class: "bad" }, `there ${there}, here ${right}`) : `also ${there}`]),
  ];
}

function nearDuplicates(place, { labels, near: all }, rows, go) {
  const line = (one) => h("tr", {}, h("td", {}, rowText(rows, one.row, go)), h("td", {}, nearRow(one, rows, labels)));
  place.replaceChildren(inParts(all.map(line), 8, "rows", (part) => framedTable("Wrong rows and their like in training", h("tr", {}, ["wrong row", "row of the training"].map((name) => h("th", { scope: "col" }, name))), h("tbody", {}, part), { class: "halves" })));
}
