// The page of a pipeline's evaluations: which one is shown, and what leads from one section to another.

const report = embedded("data");

/** Shows a section, or hides what has nothing to show; gives its place, emptied. */
function section(id, has) {
  const whole = byId(id);
  whole.hidden = !has;
  const place = whole.querySelector(":scope > .place");
  place.replaceChildren();
  return has ? place : undefined;
}

const TASKS = { classification: "one label a row", multi_label: "several labels a row", regression: "numbers", token_classification: "entities", question_answering: "answers to questions", generation: "generated text" };

function heading() {
  const { pipeline, spec, made_by: by, evaluations } = report;
  byId("pipeline").textContent = pipeline;
  byId("lead").append(evaluations.length === 1 ? [`${counted(evaluations[0].rows, "row")} of ${evaluations[0].split}`, TASKS[evaluations[0].task] ?? evaluations[0].task].filter(Boolean).join(", ") : counted(evaluations.length, "evaluation"), evaluations.length === 1 && evaluations[0].model ? ` by ${evaluations[0].model}` : "", ` · ${spec} · ${by}`);
}

/** What leads to each section that is shown. */
function contents() {
  const shown = [...document.querySelectorAll("main section")].filter((one) => !one.hidden && one.id !== "headline");
  byId("contents").replaceChildren(h("ul", {}, shown.map((one) => h("li", {}, h("a", { href: `#${one.id}` }, SHORT[one.id] ?? one.querySelector("h2").textContent)))));
}

const SHORT = { classes: "Labels", confusion: "Confusion", numbers: "Numbers", entities: "Entities", slices: "Where it fails", rows: "Rows", doubtful: "Doubtful labels", near: "Near duplicates", attention: "Attention", curves: "Curves", threshold: "Threshold", notes: "Not shown", training: "Training", "data-set": "Data", steps: "Steps", spec: "Spec" };

/** What was asked for before the rows were read; the last of it is done then. */
let waiting;
/** Raised when another evaluation is shown, so that rows read late are dropped. */
let generation = 0;
const read = new Map();

function show(evaluation) {
  generation += 1;
  const own = generation;
  let list;
  let explained;
  waiting = undefined;
  const later = (act) => (list ? act() : (waiting = act));
  const { labels } = evaluation;
  const go = {
    rows: (change, from) => later(() => list.show(change, from)),
    one: (row, from) => later(() => list.one(row, from)),
    held: (name, rows, from) => later(() => list.show({ held: { name, rows } }, from)),
    label(label, from) {
      later(() => list.show(evaluation.confusion.length ? { right: label } : { label }, from));
    },
    pair(right, answered, from) {
      if (evaluation.task === "classification") return go.rows({ right, answered }, from);
      return later(() => list.show({ held: { name: `${labels[right]} taken for ${labels[answered]}`, rows: list.pair(right, answered) } }, from));
    },
    slice(slice, from) {
      const note = slice.rows.length < slice.support ? `${count(slice.rows.length)} of ${count(slice.support)} rows are listed, the wrong ones first` : undefined;
      go.rows({ held: { name: sliceName(slice), rows: slice.rows, note } }, from);
    },
    explain(row) {
      explained.open(row);
      byId("attention").scrollIntoView({ block: "start" });
      byId("attention").focus({ preventScroll: true });
    },
  };
  const place = (id, has, draw) => {
    const to = section(id, has);
    if (to) draw(to);
  };

  headline(section("headline", true), evaluation, undefined, go);
  place("classes", evaluation.per_label.length, (to) => perLabel(to, evaluation, go));
  byId("labels").classList.toggle("few", evaluation.confusion.length > 0 && evaluation.confusion.length <= 8);
  byId("classes-title").textContent = evaluation.task === "token_classification" ? "Types" : "Labels";
  place("confusion", evaluation.confusion.length, (to) => confusionMatrix(to, evaluation, go));
  place("numbers", false);
  place("entities", Object.keys(evaluation.entity_errors).length, (to) => entityErrors(to, evaluation, go));
  place("slices", evaluation.slices.length || evaluation.confused.length, (to) => {
    const note = byId("slices").querySelector(".note");
    note.hidden = !evaluation.slices.length;
    note.textContent = `Parts of the rows, the worst first, with the interval that the share of wrong rows lies in; the stroke is the share elsewhere. Marked: a difference that chance makes in less than one of twenty evaluations, all slices taken together. A slice shows its rows.`;
    const parts = [h("div"), h("div")];
    if (evaluation.slices.length) slicesOf(parts[0], evaluation, go);
    if (evaluation.confused.length) confusedPairs(parts[1], evaluation, go);
    to.append(h("div", { class: "fails" }, parts.filter((part) => part.childNodes.length)));
  });
  place("doubtful", false);
  place("near", false);
  place("attention", evaluation.explanations.length, (to) => (explained = attentionOfExamples(to, evaluation, undefined, go)));
  place("curves", evaluation.curves.length || evaluation.calibration.length, (to) => curvesOf(to, evaluation));
  place("threshold", evaluation.thresholds.length, (to) => thresholdSlider(to, evaluation));
  place("notes", evaluation.notes.length, (to) => to.append(h("ul", { class: "notes" }, evaluation.notes.map((note) => h("li", {}, note)))));
  place("rows", evaluation.packed, (to) => to.append(h("p", { class: "soft", role: "status" }, `Reading ${counted(evaluation.rows, "row")} …`)));
  byId("evaluation").setAttribute("aria-busy", "true");
  contents();

  /** What needs the rows, when they are read. */
  function withRows(rows) {
    const near = new Map(evaluation.near.map((one) => [one.row, one]));
    const doubts = new Map(evaluation.doubtful.map((one) => [one.row, one]));
    const explainedRows = new Set(evaluation.explanations.map((one) => one.row));
    const more = (row) => [
      doubts.has(row) && h("p", { class: "aside" }, h("b", {}, "The label is doubtful: "), `given ${labels[doubts.get(row).given]} (${share(doubts.get(row).given_probability)}), suggested ${labels[doubts.get(row).suggested]} (${share(doubts.get(row).suggested_probability)}).`),
      near.has(row) && h("div", { class: "aside" }, h("h3", { class: "part" }, "Almost the same in training"), nearRow(near.get(row), rows, labels)),
      explainedRows.has(row) && h("button", { type: "button", onclick: () => go.explain(row) }, "What the model looks at"),
    ].filter(Boolean);
    headline(section("headline", true), evaluation, rows, go);
    list = rowList(section("rows", true), { evaluation, rows, more });
    list.pair = (right, answered) => Array.from(rows.all).filter((row) => isPair(rows, row, right, answered));
    place("numbers", rows.data.targets.length, (to) => numbersOf(to, rows, go));
    place("doubtful", evaluation.doubtful.length, (to) => doubtfulLabels(to, evaluation, rows, go));
    place("near", evaluation.near.length, (to) => nearDuplicates(to, evaluation, rows, go));
    place("attention", evaluation.explanations.length, (to) => (explained = attentionOfExamples(to, evaluation, rows, go)));
    contents();
    byId("evaluation").removeAttribute("aria-busy");
    waiting?.();
    waiting = undefined;
  }

  if (!evaluation.packed) return byId("evaluation").removeAttribute("aria-busy");
  // The first paint comes before the rows.
  requestAnimationFrame(() => setTimeout(async () => {
    try {
      if (!read.has(evaluation)) read.set(evaluation, indexed(await unpack(evaluation.packed)));
      if (own === generation) withRows(read.get(evaluation));
    } catch (error) {
      if (own !== generation) return;
      section("rows", true).append(h("p", { class: "notice", role: "alert" }, `The rows of this page cannot be read (${error.message}): this browser may be too old to decompress them, or the file is damaged. All that was counted stands here all the same.`));
      byId("evaluation").removeAttribute("aria-busy");
    }
  }));
  return undefined;
}

/** Whether a row with several labels, or entities, takes the one for the other. */
function isPair(rows, row, right, answered) {
  const { data } = rows;
  if (data.right_labels.length) {
    const [has, got] = [data.right_labels[row], data.answered_labels[row]];
    return has.includes(right) && !got.includes(right) && got.includes(answered) && !has.includes(answered);
  }
  if (data.right_entities.length) return data.right_entities[row].some(([from, to, label]) => label === right && data.found_entities[row].some(([start, end, other]) => other === answered && start < to && from < end));
  return false;
}

/** A tab for each evaluation, where there are several. */
function tabs() {
  const { evaluations } = report;
  const bar = byId("evaluations");
  const panel = byId("evaluation");
  if (!evaluations.length) {
    for (const one of panel.querySelectorAll("section")) one.hidden = true;
    panel.append(h("p", { class: "notice" }, "No evaluation has run: `refit run` builds what this page shows."));
    return;
  }
  if (evaluations.length > 1) {
    bar.hidden = false;
    panel.setAttribute("role", "tabpanel");
    const buttons = evaluations.map((one, index) => h("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": "evaluation", onclick: () => choose(index) }, one.stage, h("span", { class: "soft" }, ` ${one.split}, ${counted(one.rows, "row")}`)));
    bar.append(...buttons);
    const choose = (index) => {
      buttons.forEach((button, at) => {
        button.setAttribute("aria-selected", String(at === index));
        button.tabIndex = at === index ? 0 : -1;
      });
      panel.setAttribute("aria-labelledby", `tab-${index}`);
      show(evaluations[index]);
    };
    bar.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (at < 0 || !buttons[to]) return;
      event.preventDefault();
      buttons[to].focus();
      choose(to);
    });
    choose(0);
  } else show(evaluations[0]);
}

function common() {
  const { trainings, data, tokens, steps, text } = report;
  const place = (id, has, draw) => {
    const to = section(id, has);
    if (to) draw(to);
  };
  place("training", trainings.length, (to) => trainings.forEach((training) => trainingOf(to, training)));
  place("data-set", data.length || tokens.length, (to) => dataOf(to, report));
  place("steps", steps.length, (to) => stepsOf(to, steps));
  place("spec", text, (to) => specOf(to, report));
}

heading();
common();
tabs();
contents();
addEventListener("keydown", (event) => event.key === "Escape" && showTip([]));
