// The list of rows: what filters it, a page of it at a time, and a row that opens.

const ON_A_PAGE = 20;

/** A few words of a text, for a button or a choice. */
const briefly = (text, most = 90) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

/**
 * The list of one evaluation. `more(row)` gives further parts of an open row. Gives `show(change, from)`, which filters as
 * asked and brings the reader here, and `one(row, from)`, which opens a row.
 */
function rowList(place, { evaluation, rows, more }) {
  const { labels, task } = evaluation;
  const { data } = rows;
  const hasWrong = rows.wrong.includes(1);
  const orders = Object.entries(ORDERS).filter(([, order]) => order.here(rows));
  let filter = openFilter();
  // Where answers are more or less wrong, how much says more than whether.
  let order = data.targets.length ? "residual" : rows.score && !rows.confidence ? "score" : orders[0][0];
  let page = 0;
  let kept = rows.all;
  let origin;
  const open = new Set();

  // ---- What filters ----

  const anyLabel = [[-1, "any"], ...labels.map((label, index) => [index, label])];
  const kinds = {
    multi_label: [["any", "right or answered"], ["found", "right and answered"], ["missed", "right, not answered"], ["spurious", "answered, not right"]],
    token_classification: [["any", "any"], ...ENTITY_KINDS.map((kind) => [kind, KIND_NAMES[kind]])],
    question_answering: [["any", "any"], ["has answer", "has an answer"], ["has none", "has none"], ["needless", "answered, but has none"], ["withheld", "not answered, but has one"], ["other", "answered otherwise"]],
  }[task];
  const query = h("input", { type: "search", placeholder: "words, \"a phrase\" or a name", autocomplete: "off", spellcheck: "false", class: "query" });
  const single = rows.right && rows.answered;
  const fields = {};
  const select = (key, name, options, read) => {
    const change = (value) => set({ [key]: read ? Number(value) : value });
    const field = labelled(name, options, filter[key], change);
    fields[key] = field.querySelector("select");
    return field;
  };
  const bounds = (key, name, unit) => {
    const inputs = ["from", "to"].map((side, index) => h("input", { type: "number", min: 0, "aria-label": `${name} ${side}`, placeholder: side, onchange: (event) => {
      const value = event.target.value === "" ? undefined : Number(event.target.value);
      set({ [key]: filter[key].map((one, at) => (at === index ? value : one)) });
    } }));
    fields[key] = inputs;
    return h("div", { class: "field", role: "group", "aria-label": name }, h("span", {}, name), inputs[0], "–", inputs[1], unit && h("span", { class: "soft" }, unit));
  };
  const orderField = labelled("Order", orders.map(([value, { text }]) => [value, text]), order, (value) => {
    order = value;
    page = 0;
    update();
  });
  const status = h("p", { class: "shown", role: "status" });
  const held = h("span", { class: "held" });
  const clear = h("button", { type: "button", onclick: () => {
    set({ ...openFilter() });
    query.focus();
  } }, "Show all rows");
  const back = h("button", { type: "button", hidden: true, onclick: () => {
    origin?.scrollIntoView({ block: "center" });
    origin?.focus({ preventScroll: true });
    back.hidden = true;
  } }, "Back to where you were");
  const bar = h("div", { class: "filter", role: "search", "aria-label": "Which rows are shown" },
    h("label", { class: "field wide" }, h("span", {}, "Find"), query),
    hasWrong && select("verdict", "Answers", [["all", "all"], ["wrong", "wrong"], ["right", "right"]]),
    single && labels.length > 0 && [select("right", "Right", anyLabel, true), select("answered", "Answered", anyLabel, true)],
    !single && labels.length > 0 && select("label", task === "token_classification" ? "Type" : "Label", anyLabel, true),
    kinds && select("kind", task === "multi_label" ? "It is" : task === "token_classification" ? "Entities" : "Questions", kinds),
    rows.words && bounds("words", "Words"),
    rows.confidence && bounds("sure", "Sure", "%"),
    orderField);
  const pages = h("nav", { class: "pages", "aria-label": "Pages of rows" });
  const list = h("ol", { class: "rows" });
  place.replaceChildren(bar, h("div", { class: "told" }, status, held, clear, back), list, pages);

  let typing;
  query.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ query: query.value.trim() }), 80);
  });

  // ---- What is shown ----

  function said() {
    const parts = [];
    if (filter.verdict !== "all") parts.push(`${filter.verdict} answers`);
    if (filter.right >= 0) parts.push(`right ${labels[filter.right]}`);
    if (filter.answered >= 0) parts.push(`answered ${labels[filter.answered]}`);
    if (filter.label >= 0) parts.push(`${task === "token_classification" ? "type" : "label"} ${labels[filter.label]}`);
    if (filter.kind !== "any") parts.push(kinds.find(([kind]) => kind === filter.kind)?.[1] ?? filter.kind);
    for (const [key, unit] of [["words", "words"], ["sure", "% sure"]]) {
      const [from, to] = filter[key];
      if (isSet(from) || isSet(to)) parts.push(`${isSet(from) ? from : 0} to ${isSet(to) ? to : "any"} ${unit}`);
    }
    if (filter.query) parts.push(`with “${filter.query}”`);
    return parts;
  }

  function set(change) {
    filter = { ...filter, ...change };
    page = 0;
    update();
  }

  function update() {
    const begun = performance.now();
    kept = passing(rows, filter, order);
    // A test and a curious reader find here how long the last filter took.
    list.dataset.milliseconds = (performance.now() - begun).toFixed(1);
    list.dataset.rows = kept.length;
    draw();
    const parts = said();
    let wrong = 0;
    for (const row of kept) wrong += rows.wrong[row];
    const of = kept.length === rows.length ? `All ${counted(rows.length, "row")}` : `${count(kept.length)} of ${counted(rows.length, "row")}`;
    status.textContent = `${of}${hasWrong && filter.verdict === "all" ? `, ${count(wrong)} wrong` : ""}${parts.length ? `: ${parts.join(", ")}` : ""}`;
    clear.hidden = !parts.length && !filter.held;
    held.replaceChildren(...(filter.held ? [h("button", { type: "button", class: "chosen", "aria-label": `Let go: ${filter.held.name}`, onclick: () => set({ held: undefined }) }, `${filter.held.name} ×`), filter.held.note && h("span", { class: "soft" }, filter.held.note)].filter(Boolean) : []));
    for (const key of ["verdict", "right", "answered", "label", "kind"]) if (fields[key]) fields[key].value = String(filter[key]);
    for (const key of ["words", "sure"]) fields[key]?.forEach((input, index) => (input.value = filter[key][index] ?? ""));
    if (query.value.trim() !== filter.query) query.value = filter.query;
  }

  function draw() {
    const last = Math.max(0, Math.ceil(kept.length / ON_A_PAGE) - 1);
    page = Math.min(last, Math.max(0, page));
    const from = page * ON_A_PAGE;
    const visible = kept.subarray(from, from + ON_A_PAGE);
    list.start = from + 1;
    list.replaceChildren(...Array.from(visible, item));
    if (!visible.length) list.replaceChildren(h("li", { class: "none" }, "No row passes the filter."));
    const go = (to, text, off, name) => h("button", { type: "button", disabled: off, "aria-label": name, onclick: () => {
      page = to;
      draw();
      place.closest("section").scrollIntoView({ block: "start" });
      pages.querySelector(`[aria-label="${name}"]:not([disabled])`)?.focus({ preventScroll: true });
      say(`Rows ${page * ON_A_PAGE + 1} to ${Math.min(kept.length, (page + 1) * ON_A_PAGE)}`);
    } }, text);
    pages.hidden = last === 0;
    pages.replaceChildren(
      go(0, "First", page === 0, "First page"), go(page - 1, "Previous", page === 0, "Previous page"),
      h("span", {}, `${count(from + 1)}–${count(Math.min(kept.length, from + ON_A_PAGE))} of ${count(kept.length)}`),
      go(page + 1, "Next", page === last, "Next page"), go(last, "Last", page === last, "Last page"));
  }

  // ---- A row ----

  function answerOf(row) {
    if (single) {
      const wrong = rows.wrong[row] === 1;
      return [
        h("span", { class: wrong ? "answer bad" : "answer good" }, h("span", { "aria-hidden": "true" }, wrong ? "✕ " : "✓ "), labels[rows.answered[row]] ?? "–"),
        wrong && h("span", { class: "soft" }, "right: ", h("b", {}, labels[rows.right[row]] ?? "–")),
      ];
    }
    if (data.right_labels.length) return labelChips(data.right_labels[row], data.answered_labels[row], labels);
    if (data.answers.length) {
      const rights = [...new Set(data.answers[row])];
      const wrong = rows.wrong[row] === 1;
      return [
        h("span", { class: wrong ? "answer bad" : "answer good" }, h("span", { "aria-hidden": "true" }, wrong ? "✕ " : "✓ "), data.answer[row] || "no answer"),
        wrong && h("span", { class: "soft" }, "right: ", h("b", {}, rights.length ? briefly(rights.join(" | "), 120) : "no answer")),
      ];
    }
    if (data.targets.length) return data.targets.map(([name, right, answered]) => h("span", {}, data.targets.length > 1 && h("span", { class: "soft" }, `${name}: `), h("b", {}, number(answered[row] ?? NaN)), h("span", { class: "soft" }, ` right: ${number(right[row] ?? NaN)}`)));
    if (data.right_entities.length) {
      // A wrong type or boundary is one error, though it marks both what is right and what was found.
      const wrong = data.right_entities[row].filter(([, , , kind]) => kind !== "correct").length + data.found_entities[row].filter(([, , , kind]) => kind === "spurious").length;
      return [rows.wrong[row] ? h("span", { class: "answer bad" }, h("span", { "aria-hidden": "true" }, "✕ "), counted(wrong, "error")) : h("span", { class: "answer good" }, h("span", { "aria-hidden": "true" }, "✓ "), data.right_entities[row].length || !Object.keys(evaluation.entity_errors).length ? "all right" : "none")];
    }
    return data.row_scores.slice(0, 2).map(([name, values]) => h("span", {}, h("span", { class: "soft" }, `${name} `), h("b", {}, number(values[row], 3))));
  }

  /** The prediction and the reference of a generated text; what is not there is left out. */
  const besides = (row) => [[data.answer.length ? "Input" : task === "generation" ? "Generated" : "Text", rows.text(row) ?? LEFT_OUT], data.answer[row] && ["Generated", data.answer[row]], isSet(data.pair[row]) && [task === "generation" ? "Reference" : "Second text", rows.pair(row)]].filter(Boolean);

  function wholeText(row) {
    // The line itself shows it whole.
    if (data.right_entities.length) return [];
    if (data.answers.length) return [h("h3", { class: "part" }, "Question"), h("p", { class: "whole" }, rows.text(row) ?? LEFT_OUT), h("h3", { class: "part" }, "Context"), h("p", { class: "whole" }, answerText(rows, row))];
    const parts = besides(row);
    if (parts.length === 1) return [h("p", { class: "whole" }, parts[0][1])];
    return [h("div", { class: "beside" }, parts.map(([name, text]) => h("div", {}, h("h3", { class: "part" }, name), h("p", { class: "whole" }, text))))];
  }

  function details(row) {
    const facts = [
      data.name.length && ["name", rows.name(row)],
      isSet(data.id[row]) && ["row", String(data.id[row])],
      rows.words && ["words", count(rows.words[row])],
      rows.confidence && ["sure", share(rows.confidence[row] / 1000)],
      ...data.row_scores.map(([name, values]) => [name, number(values[row] ?? NaN)]),
    ].filter(Boolean);
    return h("div", { class: "inner" }, wholeText(row), h("dl", { class: "settings" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])), more(row));
  }

  function item(row) {
    const text = rows.text(row);
    const toggle = h("button", { type: "button", class: "toggle", "aria-expanded": String(open.has(row)), "aria-label": `${rows.name(row)}, details` });
    const shownText = data.right_entities.length ? entityText(rows, row, labels) : briefly(text ?? LEFT_OUT, 420);
    const line = h("div", { class: "line" }, toggle,
      h("p", { class: data.right_entities.length ? "text" : "text clamp" }, shownText),
      h("div", { class: "answers" }, answerOf(row)),
      rows.confidence && h("span", { class: "sure", title: "how sure the answer is" }, share(rows.confidence[row] / 1000, 0)));
    const whole = h("li", { "data-row": row, class: rows.wrong[row] ? "wrong" : undefined }, line);
    const flip = () => {
      if (!open.delete(row)) open.add(row);
      shape();
    };
    const shape = () => {
      const is = open.has(row);
      toggle.setAttribute("aria-expanded", String(is));
      whole.querySelector(".inner")?.remove();
      whole.classList.toggle("open", is);
      if (is) whole.append(details(row));
    };
    line.addEventListener("click", (event) => {
      if (event.target.closest("a, select") || String(getSelection())) return;
      flip();
    });
    if (open.has(row)) shape();
    return whole;
  }

  update();
  const arrive = (from) => {
    origin = from ?? document.activeElement;
    back.hidden = !origin || origin === document.body;
    const section = place.closest("section");
    section.scrollIntoView({ block: "start" });
    section.focus({ preventScroll: true });
    say(status.textContent);
  };
  return {
    /** Filters anew, by this alone, and goes there. */
    show(change, from) {
      set({ ...openFilter(), ...change });
      arrive(from);
    },
    /** Opens one row. */
    one(row, from) {
      open.add(row);
      set({ ...openFilter(), held: { name: rows.name(row), rows: [row] } });
      arrive(from);
    },
  };
}
