// Answers as their task deserves: bars, numbers, entities and answers in their text.
//
// Deliberately absent: asking.

const share = (value) => `${fixed(100 * value, 1)} %`;

/** Bars of probabilities; those that were given stand out, also without colour. */
function probabilityBars(probabilities, given) {
  const line = ({ label, probability }) => {
    const is = given.includes(label);
    const bar = h("span", { class: "bar" });
    bar.style.width = `${100 * probability}%`;
    return h("li", { class: is && "is-given" },
      h("span", { class: "what" }, is ? `✓ ${label}` : label, is && h("span", { class: "unseen" }, " (given)")),
      h("span", { class: "track", "aria-hidden": "true" }, bar),
      h("span", { class: "amount" }, share(probability)));
  };
  return h("ul", { class: "bars", "aria-label": "Probabilities" }, probabilities.map(line));
}

/** A table; the heads and cells that are amounts stand right. */
function table(caption, heads, rows) {
  const cell = (value, place) => h(place === 0 ? "th" : "td", { class: typeof value === "object" ? "number" : null, scope: place === 0 && "row" }, typeof value === "object" ? value.number : value);
  return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: head.number && "number" }, head.number ?? head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

const amount = (text) => ({ number: text });

/** What is drawn of a prediction, and what a screen reader is told of it. */
const DRAWN = {
  classification: ({ label, probability, probabilities }) => [
    `${label}, ${share(probability)}`,
    h("p", { class: "given" }, label),
    probabilityBars(probabilities, [label]),
  ],
  multi_label: ({ labels, probabilities }) => [
    labels.length ? labels.join(", ") : "no label",
    h("p", { class: "given" }, labels.length ? labels.join(", ") : "no label", " ", h("span", { class: "soft" }, plural(labels.length, "label"))),
    probabilityBars(probabilities, labels),
  ],
  regression: ({ values }) => [
    values.map(({ target, value }) => `${target} ${number(value)}`).join(", "),
    h("dl", { class: "settings values" }, values.map(({ target, value }) => [h("dt", {}, target), h("dd", { class: "value" }, number(value, 6))])),
  ],
  token_classification: ({ entities }, { text }, names) => {
    const colour = (label) => `l${Math.max(0, names.indexOf(label)) % 4}`;
    const spans = entities.map(({ start, end, label }) => ({ from: start, to: end, as: colour(label), tag: label }));
    const row = ({ text: words, label, start, end, score }) => [words, label, amount(`${start}–${end}`), amount(share(score))];
    return [
      entities.length ? plural(entities.length, "entity", "entities") : "nothing was found",
      h("p", { class: "read" }, marked(text, spans)),
      entities.length ? table("Entities", ["Text", "Label", amount("Characters"), amount("Score")], entities.map(row)) : h("p", { class: "empty" }, "Nothing was found."),
    ];
  },
  question_answering: ({ answer, answers }, { context }) => {
    const best = answers[0];
    const spans = answer === null ? [] : [{ from: best.start, to: best.end, as: "l0", tag: "answer" }];
    const row = ({ text, start, end, score }) => [text === "" ? "(no answer)" : text, amount(text === "" ? "–" : `${start}–${end}`), amount(share(score))];
    return [
      answer === null ? "the context has no answer" : answer,
      h("p", { class: "given" }, answer ?? "The context has no answer"),
      h("p", { class: "read" }, marked(context, spans)),
      table("Answers, the best first", ["Answer", amount("Characters"), amount("Score")], answers.map(row)),
    ];
  },
};
