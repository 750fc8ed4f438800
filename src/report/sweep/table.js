// The table of trials, which sorts and opens rows, and the comparison of chosen trials.

/** So many rows at first; a button brings the rest. */
const ROWS = 100;

const GLYPHS = { done: "●", pruned: "✕", failed: "▲", running: "◐", pending: "○" };
const stateText = (state) => [h("span", { class: `glyph g-${state}`, "aria-hidden": "true" }, GLYPHS[state] ?? "○"), state];

/** A word for a POSIX shell. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** A value as `--set` reads it, which is TOML, where a word that is no TOML stands for itself. */
function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (value && typeof value === "object") return `{ ${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)} = ${toml(inner)}`).join(", ")} }`;
  // JSON writes all control characters of a TOML string but one.
  if (typeof value === "string") return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
  return json(value);
}

/** The command that runs the pipeline with the settings of one trial. */
function repeat(sweep, trial) {
  const set = Object.entries(trial.parameters).map(([path, value]) => {
    const bare = typeof value === "string" && /^[a-z][\w./@-]*$/i.test(value) && !/^(true|false|inf|nan)$/.test(value);
    return ` --set ${quoted(`${path}=${bare ? value : toml(value)}`)}`;
  });
  const line = sweep.replace(/^(\S+) sweep(?= |$)/, "$1 run");
  return line.length + set.join("").length > 80 ? [line, ...set].join(" \\\n ") : line + set.join("");
}

/** `columns`: { name, title, kind, sort(item), cell(item) }. Gives { redraw, light }. */
function trialTable(place, { columns, empty, shown, details, isBest, chosen, on }) {
  let sorted = { column: columns.find((column) => column.first) ?? columns[0], down: columns.find((column) => column.first)?.down ?? false };
  let most = ROWS;
  const open = new Set();
  const rows = new Map();
  const body = h("tbody");
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => {
    most = Infinity;
    redraw();
  } });

  const heads = new Map(columns.map((column) => {
    const sort = () => {
      const down = sorted.column === column ? !sorted.down : column.down ?? false;
      sorted = { column, down };
      redraw();
    };
    return [column, h("th", { scope: "col", class: column.kind, title: column.title }, h("button", { type: "button", onclick: sort }, column.name))];
  }));
  place.append(
    h("div", { class: "table", role: "region", "aria-label": "Table of the trials", tabindex: 0 },
      h("table", { "aria-rowcount": -1 }, h("caption", { class: "unseen" }, "Trials of the sweep"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "choose" }, h("span", { class: "unseen" }, "Choose for the comparison")), [...heads.values()])), body)),
    more);

  function rowOf(item) {
    const box = h("input", { type: "checkbox", "aria-label": `Compare trial ${item.number}`, onchange: () => on.choose(item) });
    const toggle = h("button", { type: "button", "aria-expanded": "false", "aria-label": `Trial ${item.number}, details` }, `${item.number}`);
    const line = h("tr", { class: isBest(item) ? "best" : undefined, "data-trial": item.number }, h("td", { class: "choose" }, box),
      columns.map((column, index) => (index ? h("td", { class: column.kind }, column.cell(item)) : h("th", { scope: "row" }, toggle))));
    const row = { line, box, detail: undefined };
    const flip = () => {
      if (!open.delete(item)) open.add(item);
      toggle.setAttribute("aria-expanded", String(open.has(item)));
      row.detail ??= h("tr", { class: "detail" }, h("td", { colspan: columns.length + 1 }, h("div", { class: "inner" }, details(item))));
      if (open.has(item)) line.after(row.detail);
      else row.detail.remove();
    };
    line.addEventListener("click", (event) => {
      if (event.target.closest("input") || String(getSelection())) return;
      flip();
    });
    line.addEventListener("pointerenter", () => on.hover(item));
    line.addEventListener("pointerleave", () => on.hover(undefined));
    line.addEventListener("focusin", () => on.hover(item));
    line.addEventListener("focusout", () => on.hover(undefined));
    toggle.addEventListener("keydown", (event) => {
      const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (!way) return;
      event.preventDefault();
      let next = line[way];
      while (next?.classList.contains("detail")) next = next[way];
      next?.querySelector("th button")?.focus();
    });
    return row;
  }

  function compare(a, b) {
    const [x, y] = [sorted.column.sort(a), sorted.column.sort(b)];
    const [noX, noY] = [!isSet(x), !isSet(y)];
    // What is not there stands last in both directions.
    if (noX || noY) return noX - noY || a.number - b.number;
    const order = typeof x === "string" || typeof y === "string" ? String(x).localeCompare(String(y), "en", { numeric: true }) : x < y ? -1 : x > y ? 1 : 0;
    return (sorted.down ? -order : order) || a.number - b.number;
  }

  function redraw() {
    for (const [column, head] of heads) {
      if (column === sorted.column) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const items = [...shown()].sort(compare);
    const lines = items.slice(0, most).flatMap((item) => {
      if (!rows.has(item)) rows.set(item, rowOf(item));
      const row = rows.get(item);
      row.box.checked = chosen().includes(item);
      return open.has(item) ? [row.line, row.detail] : [row.line];
    });
    if (!items.length) lines.push(h("tr", {}, h("td", { colspan: columns.length + 1 }, empty)));
    const focused = body.contains(document.activeElement) ? document.activeElement : undefined;
    body.replaceChildren(...lines);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    more.hidden = items.length <= most;
    more.textContent = `Show all ${items.length} trials`;
  }

  let lit;
  const light = (item) => {
    rows.get(lit)?.line.classList.remove("lit");
    rows.get(item)?.line.classList.add("lit");
    lit = item;
  };
  const all = () => {
    most = Infinity;
    redraw();
  };
  return { redraw, light, all };
}

/** A column for each chosen trial, a row for each setting; rows that differ are marked. */
function comparison(place, { chosen, paths, results, drop }) {
  if (chosen.length < 2) {
    place.replaceChildren(h("p", { class: "empty" }, chosen.length
      ? `Trial ${chosen[0].number} is chosen. Choose another, in a chart or in the table, to see what differs.`
      : "Choose two trials or more, in a chart or in the table, to see what differs."));
    return;
  }
  const row = (name, title, texts, values) => {
    const differs = new Set(values).size > 1;
    return h("tr", { class: differs ? "differs" : undefined }, h("th", { scope: "row", title }, name, differs && h("span", { class: "unseen" }, " (differs)")), texts.map((text) => h("td", {}, text)));
  };
  const settings = paths.map(([path, name]) => {
    const values = chosen.map((trial) => trial.parameters[path]);
    return row(name, path, values.map((value) => (isSet(value) ? h("span", { class: "value" }, words(value)) : h("span", { class: "unset" }, "not set"))), values.map((value) => (isSet(value) ? json(value) : "")));
  });
  // What differs first: that is the question.
  settings.sort((a, b) => b.classList.contains("differs") - a.classList.contains("differs"));
  place.replaceChildren(h("div", { class: "table", role: "region", "aria-label": "Table of chosen trials", tabindex: 0 },
    h("table", {},
      h("thead", {}, h("tr", {}, h("td", {}), chosen.map((trial, index) => h("th", { scope: "col", class: `c${index}` }, h("span", { class: "mark", "aria-hidden": "true" }), `Trial ${trial.number} `, h("button", { type: "button", "aria-label": `Drop trial ${trial.number} from the comparison`, onclick: () => drop(trial) }, "×"))))),
      h("tbody", {}, results.map(([name, text]) => h("tr", {}, h("th", { scope: "row" }, name), chosen.map((trial) => h("td", {}, text(trial))))), settings))));
}
