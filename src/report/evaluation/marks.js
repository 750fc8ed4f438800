// Texts with something marked in them: entities, answers, labels found and missed.

/** Places of a text by characters, as the program counts them, which is not how the browser does. */
function characters(text) {
  // Without surrogates both count alike, which spares a long text.
  if (!/[\ud800-\udfff]/.test(text)) return { length: text.length, slice: (from, to) => text.slice(from, to), at: (unit) => unit };
  const letters = Array.from(text);
  return { length: letters.length, slice: (from, to) => letters.slice(from, to).join(""), at: (unit) => Array.from(text.slice(0, unit)).length };
}

/**
 * The text in pieces: `spans` are { from, to, as, tag }, may overlap, and lend a piece their class. What `tag` says stands
 * after the end of the span, so that no colour alone tells it.
 */
function marked(text, spans) {
  const letters = characters(text);
  const inside = spans
    .map((span) => ({ ...span, from: Math.max(0, span.from), to: Math.min(letters.length, span.to) }))
    .filter(({ from, to }) => from < to);
  const cuts = [...new Set([0, letters.length, ...inside.flatMap(({ from, to }) => [from, to])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).flatMap((from, index) => {
    const to = cuts[index + 1];
    const over = inside.filter((span) => span.from <= from && span.to >= to);
    const piece = letters.slice(from, to);
    const tags = inside.filter((span) => span.to === to && span.tag);
    return [
      over.length ? h("mark", { class: [...new Set(over.map(({ as }) => as))].join(" ") }, piece) : piece,
      tags.map(({ as, tag }) => h("span", { class: `tag ${as}` }, tag)),
    ];
  });
}

/** A row with its entities: what is right and what was found, each with its name. */
function entityText(rows, row, labels) {
  const { data } = rows;
  const text = rows.text(row);
  if (!isSet(text)) return [LEFT_OUT];
  const label = (place) => labels[place] ?? `label ${place}`;
  const found = data.found_entities[row];
  const spans = [
    ...data.right_entities[row].filter(([, , , kind]) => kind !== "correct").map(([from, to, place, kind]) => (
      kind === "missed" ? { from, to, as: "e-missed", tag: `missed ${label(place)}` } : { from, to, as: "e-right", tag: `right: ${label(place)}` })),
    ...found.map(([from, to, place, kind]) => ({
      from,
      to,
      as: `e-found e-${kind}`,
      tag: kind === "correct" ? label(place) : kind === "spurious" ? `spurious ${label(place)}` : `found: ${label(place)} (wrong ${kind === "both" ? "type and boundary" : kind})`,
    })),
  ];
  return marked(text, spans);
}

/** Where the right answers stand in the context; each once, near the given answer when it stands there often. */
function rightSpans(context, answers, given) {
  const letters = characters(context);
  const spans = [];
  for (const answer of new Set(answers.filter(Boolean))) {
    let best;
    for (let at = context.indexOf(answer); at >= 0; at = context.indexOf(answer, at + 1)) {
      const from = letters.at(at);
      const far = given ? Math.abs(from - given[0]) : from;
      if (best === undefined || far < best.far) best = { far, from, to: from + characters(answer).length };
    }
    if (best && !spans.some((span) => span.from <= best.from && span.to >= best.to)) spans.push({ from: best.from, to: best.to, as: "a-right" });
  }
  return spans.filter((span) => !spans.some((other) => other !== span && other.from <= span.from && other.to >= span.to));
}

/** The context of a question with what was answered and what would be right. */
function answerText(rows, row) {
  const { data } = rows;
  const context = rows.pair(row);
  if (!isSet(context)) return [LEFT_OUT];
  const given = data.answer_span[row];
  const spans = rightSpans(context, data.answers[row], given).map((span) => ({ ...span, tag: "right" }));
  if (given) spans.push({ from: given[0], to: given[1], as: rows.wrong[row] ? "a-given" : "a-given a-good", tag: "answered" });
  return marked(context, spans);
}

/** Labels of a row as chips: found, missed, spurious. */
function labelChips(right, answered, labels) {
  const all = [...new Set([...right, ...answered])].sort((a, b) => a - b);
  if (!all.length) return [h("span", { class: "soft" }, "no label, and none answered")];
  return all.map((place) => {
    const [has, got] = [right.includes(place), answered.includes(place)];
    const kind = has && got ? "found" : has ? "missed" : "spurious";
    return h("span", { class: `chip k-${kind}` }, kind !== "found" && h("i", {}, `${kind} `), labels[place] ?? `label ${place}`);
  });
}
