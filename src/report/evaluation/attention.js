// What the model looks at in a chosen row: the attention of each head in three views.
//
// After BertViz (Vig 2019): lines between two columns of tokens for one head, for their mean, or for several in a colour
// each; small pictures of all heads; and a matrix of tokens. All are drawn from the shares that the program stored; the mean of the heads of a layer is made here.

const WHERE = { named: "named in the spec", wrong: "wrong", right: "right" };
/** Numbers are not right or wrong. */
const WHERE_OF_NUMBERS = { ...WHERE, wrong: "far off", right: "near" };
/** Fainter lines than this are not drawn: no one sees them, and there are very many. */
const FAINTEST = 0.02;
/** What may be chosen in place of a head. */
const MEAN = -1;
const SEVERAL = -2;

/** The colour of one of so many heads: hues at equal distances, told apart on light and on dark ground. */
const headColour = (head, heads) => `oklch(0.66 0.17 ${Math.round((360 * head) / heads + 25) % 360})`;

/** The shares of attention of an example: `of(layer, head)` is a matrix of `size` × `size` shares of 255; head −1 is the mean. */
function attentionOf(example) {
  if (!example.attention) return undefined;
  const bytes = Uint8Array.fromBase64?.(example.attention) ?? Uint8Array.from(atob(example.attention), (letter) => letter.charCodeAt(0));
  const size = example.attended ?? example.tokens.length;
  const { layers, heads } = example;
  const one = (layer, head) => bytes.subarray((layer * heads + head) * size * size, (layer * heads + head + 1) * size * size);
  const means = new Map();
  const of = (layer, head) => {
    if (head >= 0) return one(layer, head);
    if (!means.has(layer)) {
      const mean = new Float32Array(size * size);
      for (let index = 0; index < heads; index += 1) one(layer, index).forEach((value, at) => (mean[at] += value / heads));
      means.set(layer, mean);
    }
    return means.get(layer);
  };
  return { size, layers, heads, of };
}

/** A token for reading: without the sign by which a tokenizer marks a space before it, or that there is none. */
function tokenText(token) {
  const text = token.replace(/^(##(?=.)|[Ġ▁\s])/u, "");
  return text.trim() ? text : "␣";
}

const lineOf = (matrix, size, query) => matrix.slice(query * size, (query + 1) * size);
const columnOf = (matrix, size, key) => Array.from({ length: size }, (_, query) => matrix[query * size + key]);

/** The strongest shares of a row or a column, in words; of several heads, each with its head. */
function strongest(drawn, values, tokens, most = 3) {
  const all = drawn.flatMap(({ matrix, head }) => Array.from(values(matrix), (value, index) => [value, index, head]));
  const several = drawn.length > 1;
  return all.sort((a, b) => b[0] - a[0]).slice(0, most).filter(([value]) => value > 0)
    .map(([value, index, head]) => `${tokenText(tokens[index])} ${fixed(value / 255, 2)}${several ? ` (head ${head + 1})` : ""}`).join(", ");
}

/** Two columns of tokens with lines between: from the one that reads to the one that is read, for each of the matrices. */
function headView(place, example, drawn, size, told) {
  const tokens = example.tokens.slice(0, size);
  const step = 19;
  const height = size * step + 12;
  const width = Math.max(260, Math.min(520, place.clientWidth - 40));
  const edge = Math.round(width * 0.31);
  const y = (index) => 16 + index * step;
  const lines = s("g", { class: "links" });
  /** The lines of several heads lie beside each other. */
  const beside = (at) => (at - (drawn.length - 1) / 2) * Math.min(2, 14 / drawn.length);
  const left = [];
  const right = [];
  const column = (list, anchor, x, side) => tokens.map((token, index) => {
    const from = side === "left" ? 2 : width - edge + 6;
    const part = (edge - 8) / drawn.length;
    const parts = drawn.map(({ colour }, at) => s("rect", { class: "part", fill: colour, x: from + at * part, y: y(index) - 10, width: part, height: step - 1, rx: drawn.length > 1 ? 0 : 3 }));
    const box = s("rect", { class: "seat", x: from, y: y(index) - 10, width: edge - 8, height: step - 1, rx: 3 });
    const [said, shown] = [tokenText(token), fit(tokenText(token), edge - 16)];
    const name = said === shown ? said : `${shown}, ${said}`;
    const group = s("g", { class: "token", role: "button", tabindex: list === left && index === 0 ? 0 : -1, "aria-label": `${name}, ${side === "left" ? "reads" : "is read"}` }, parts, box, label(tokenText(token), edge - 16, { x, y: y(index) + 4, "text-anchor": anchor }));
    const show = () => draw(side, index);
    group.addEventListener("pointerenter", show);
    group.addEventListener("focus", show);
    list.push(group);
    return group;
  });
  const root = s("svg", { class: "heads", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `Attention from each token on the left to those on the right; ${told()}. The arrow keys go from token to token.` });
  root.append(lines, s("g", { class: "left" }, column(left, "end", edge - 12, "left")), s("g", { class: "right" }, column(right, "start", width - edge + 12, "right")));

  function draw(side, at) {
    lines.replaceChildren();
    const marks = [];
    for (let query = 0; query < size; query += 1) {
      if (side === "left" && query !== at) continue;
      for (let key = 0; key < size; key += 1) {
        if (side === "right" && key !== at) continue;
        for (const [at, { matrix, colour }] of drawn.entries()) {
          const share = matrix[query * size + key] / 255;
          if (share < FAINTEST) continue;
          marks.push(s("path", { d: `M${edge} ${y(query) + beside(at)}L${width - edge} ${y(key) + beside(at)}`, stroke: colour, "stroke-opacity": Math.min(1, share).toFixed(2) }));
        }
      }
    }
    lines.append(...marks);
    const shade = (tokens, own, share) => tokens.forEach((token, index) => drawn.forEach(({ matrix }, part) =>
      token.children[part].setAttribute("fill-opacity", side && side !== own ? (share(matrix, index) / 255).toFixed(2) : index === at && side ? 0.25 : 0)));
    shade(left, "left", (matrix, index) => matrix[index * size + at]);
    shade(right, "right", (matrix, index) => matrix[at * size + index]);
    if (!side) return;
    const [reads, values] = side === "left" ? ["reads", (matrix) => lineOf(matrix, size, at)] : ["is read by", (matrix) => columnOf(matrix, size, at)];
    place.querySelector(".told").textContent = `${tokenText(tokens[at])} ${reads} ${strongest(drawn, values, tokens) || "nothing"}`;
  }
  root.addEventListener("pointerleave", () => draw());
  root.addEventListener("keydown", (event) => {
    const [own, other] = left.includes(event.target) ? [left, right] : [right, left];
    const at = own.indexOf(event.target);
    const to = { ArrowDown: own[at + 1], ArrowUp: own[at - 1], ArrowRight: other === right ? right[at] : undefined, ArrowLeft: other === left ? left[at] : undefined, Home: own[0], End: own.at(-1) }[event.key];
    if (at < 0 || !to) return;
    event.preventDefault();
    [event.target.tabIndex, to.tabIndex] = [-1, 0];
    to.focus();
  });
  place.append(h("p", { class: "told", role: "status" }, "Point at a token to see its own lines."), h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Head view" }, root));
  draw();
}

/** The colour of the theme as [r, g, b]. */
function themeColour(name) {
  measure.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = measure.fillStyle.slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

/** Shares as a picture: a pixel for each pair of tokens, as opaque as the share is large. */
function picture(canvas, matrix, size) {
  const [r, g, b] = themeColour("--accent");
  canvas.width = size;
  canvas.height = size;
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(size, size);
  for (let at = 0; at < size * size; at += 1) {
    // The root lifts small shares, which are most.
    image.data.set([r, g, b, 255 * Math.sqrt(matrix[at] / 255)], 4 * at);
  }
  paint.putImageData(image, 0, 0);
  return canvas;
}

/** All heads of all layers, small. One opens. */
function modelView(place, shares, chosen, open) {
  const { layers, heads, size } = shares;
  const grid = styled(h("div", { class: "model", role: "group", "aria-label": `Attention of ${layers} layers of ${heads} heads; the arrow keys go, Enter opens a head` }), { "--heads": heads });
  grid.append(h("span", {}), ...Array.from({ length: heads }, (_, head) => h("span", { class: "axis-name" }, `${head + 1}`)));
  for (let layer = 0; layer < layers; layer += 1) {
    grid.append(h("span", { class: "axis-name" }, `${layer + 1}`));
    for (let head = 0; head < heads; head += 1) {
      const is = layer === chosen.layer && head === chosen.head;
      grid.append(h("button", { type: "button", class: is ? "thumb now" : "thumb", tabindex: is || (chosen.head < 0 && layer === chosen.layer && head === 0) ? 0 : -1, "aria-label": `Layer ${layer + 1}, head ${head + 1}`, onclick: () => open(layer, head) }, picture(h("canvas", { "aria-hidden": "true" }), shares.of(layer, head), size)));
    }
  }
  roving(grid, "button.thumb", () => heads);
  place.append(h("p", { class: "note small" }, "A line for each layer, a column for each head; in a picture, the tokens that read go down and those that are read go across."), h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Model view" }, grid));
}

/** Token against token: what reads goes down, what is read goes across. */
function matrixView(place, example, matrix, size, told) {
  const tokens = example.tokens.slice(0, size);
  const cell = size > 64 ? 10 : size > 36 ? 14 : 18;
  const margin = Math.min(110, 14 + Math.max(...tokens.map((token) => widthOf(tokenText(token)))));
  const side = size * cell;
  const [r, g, b] = themeColour("--accent");
  const ratio = Math.min(2, devicePixelRatio || 1);
  const canvas = h("canvas", { width: side * ratio, height: side * ratio, "aria-hidden": "true" });
  const paint = canvas.getContext("2d");
  paint.scale(ratio, ratio);
  for (let query = 0; query < size; query += 1) {
    for (let key = 0; key < size; key += 1) {
      paint.fillStyle = `rgb(${r} ${g} ${b} / ${Math.sqrt(matrix[query * size + key] / 255)})`;
      paint.fillRect(key * cell, query * cell, cell - 0.5, cell - 0.5);
    }
  }
  const names = s("svg", { class: "chart names", width: margin + side, height: margin + side, viewBox: `0 0 ${margin + side} ${margin + side}`, "aria-hidden": "true" },
    tokens.map((token, index) => [
      label(tokenText(token), margin - 8, { x: margin - 6, y: margin + (index + 0.5) * cell, dy: "0.32em", "text-anchor": "end" }),
      label(tokenText(token), margin - 8, { transform: `translate(${margin + (index + 0.5) * cell} ${margin - 6}) rotate(-90)`, dy: "0.32em" }),
    ]));
  const cross = s("path", { class: "crosshair" });
  names.append(cross);
  const board = h("div", { class: "board", tabindex: 0, role: "application", "aria-roledescription": "matrix", "aria-label": `Attention from token to token; ${told()}. The arrow keys go from cell to cell.` }, canvas, names);
  styled(canvas, { left: `${margin}px`, top: `${margin}px`, width: `${side}px`, height: `${side}px` });
  styled(board, { width: `${margin + side}px`, height: `${margin + side}px` });
  const line = h("p", { class: "told", role: "status" }, "Point at a cell to read its share.");
  let [atQuery, atKey] = [0, 0];
  const show = (query, key) => {
    if (!(query >= 0 && query < size && key >= 0 && key < size)) return;
    [atQuery, atKey] = [query, key];
    line.textContent = `${tokenText(tokens[query])} reads ${tokenText(tokens[key])}: ${fixed(matrix[query * size + key] / 255, 3)}`;
    cross.setAttribute("d", `M${margin + key * cell} ${margin + query * cell}h${cell}v${cell}h${-cell}z`);
  };
  board.addEventListener("pointermove", (event) => {
    const box = board.getBoundingClientRect();
    show(Math.floor((event.clientY - box.top - margin) / cell), Math.floor((event.clientX - box.left - margin) / cell));
  });
  board.addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    show(atQuery + step[0], atKey + step[1]);
  });
  place.append(line, h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Matrix view" }, board));
}

/** The examples of an evaluation. Gives `open(row)`. */
function attentionOfExamples(place, { explanations, attributed_to: of, task }, rows, go) {
  const where = task === "regression" ? WHERE_OF_NUMBERS : WHERE;
  const shares = new Map();
  const sharesOf = (example) => {
    if (!shares.has(example)) shares.set(example, attentionOf(example));
    return shares.get(example);
  };
  let example = explanations[0];
  let view = "head";
  let layer = 0;
  let head = MEAN;
  /** Of several heads, which. */
  let chosen = new Set();
  const textOf = ({ tokens, places }) => (places.some(Boolean) ? tokens.filter((_, index) => places[index]) : tokens).map(tokenText).join(" ");
  const title = (one) => `${rows ? rows.name(one.row) : `row ${one.row}`} (${where[one.chosen] ?? one.chosen}): ${briefly(rows?.text(one.row) ?? textOf(one), 56)}`;
  const controls = h("div", { class: "controls" });
  const drawn = h("div", { class: "view" });
  const beside = h("div", { class: "attributions" });
  /** Several have colours in the head view alone. */
  const inColours = () => head === SEVERAL && view === "head";
  const told = () => {
    const several = [...chosen].sort((a, b) => a - b).map((one) => one + 1).join(", ");
    return `layer ${layer + 1}, ${inColours() ? `head${chosen.size === 1 ? "" : "s"} ${several || "none"}` : head < 0 ? "mean of the heads" : `head ${head + 1}`}`;
  };
  const matricesOf = (own) => {
    if (!inColours()) return [{ matrix: own.of(layer, Math.max(head, MEAN)), head, colour: "var(--accent)" }];
    return [...chosen].sort((a, b) => a - b).map((one) => ({ matrix: own.of(layer, one), head: one, colour: headColour(one, own.heads) }));
  };

  function draw() {
    const own = sharesOf(example);
    drawn.replaceChildren();
    if (!own) drawn.append(h("p", { class: "empty" }, example.why_no_attention ?? "No attention was kept of this row."));
    else if (view === "model") {
      modelView(drawn, own, { layer, head }, (toLayer, toHead) => {
        [layer, head, view] = [toLayer, toHead, "head"];
        control();
        draw();
        controls.querySelector("[name=layer]")?.focus();
        say(`Head view, ${told()}`);
      });
    } else if (view === "head") headView(drawn, example, matricesOf(own), own.size, told);
    else matrixView(drawn, example, matricesOf(own)[0].matrix, own.size, told);
    if (own && own.size < example.tokens.length) drawn.append(h("p", { class: "note small" }, `Of the first ${own.size} of ${example.tokens.length} tokens.`));
  }

  function control() {
    const own = sharesOf(example);
    layer = Math.min(layer, (own?.layers ?? 1) - 1);
    head = Math.min(head, (own?.heads ?? 1) - 1);
    chosen = new Set([...chosen].filter((one) => one < (own?.heads ?? 0)));
    const set = (act) => (value) => {
      act(value);
      draw();
    };
    const numbered = (amount) => Array.from({ length: amount }, (_, index) => [index, `${index + 1}`]);
    controls.replaceChildren(...[
      labelled("Row", explanations.map((one, index) => [index, title(one)]), explanations.indexOf(example), (value) => {
        example = explanations[Number(value)];
        whole();
      }),
      own && toggles("View", [["head", "head"], ["model", "model"], ["matrix", "matrix"]], view, set((value) => {
        view = value;
        control();
        controls.querySelector(".switch input:checked").focus();
      })),
      own && view !== "model" && named("layer", labelled("Layer", numbered(own.layers), layer, set((value) => (layer = Number(value))))),
      own && view !== "model" && named("head", labelled("Head", [[MEAN, "mean of all"], view === "head" && own.heads > 1 && [SEVERAL, "several, in colours"], ...numbered(own.heads)].filter(Boolean), view === "head" ? head : Math.max(head, MEAN), set((value) => {
        if (Number(value) === SEVERAL && !chosen.size) chosen = new Set(numbered(own.heads).map(([one]) => one));
        head = Number(value);
        control();
        controls.querySelector("[name=head]").focus();
      }))),
      own && inColours() && h("fieldset", { class: "coloured" }, h("legend", { class: "unseen" }, "Heads"), numbered(own.heads).map(([one, text]) =>
        styled(h("label", {}, h("input", { type: "checkbox", name: `head-${text}`, checked: chosen.has(one), onchange: (event) => {
          if (event.target.checked) chosen.add(one);
          else chosen.delete(one);
          draw();
          say(told());
        } }), h("span", { class: "hue", "aria-hidden": "true" }), h("span", { class: "unseen" }, "Head "), text), { "--colour": headColour(one, own.heads) }))),
      rows && h("button", { type: "button", onclick: (event) => go.one(example.row, event.currentTarget) }, "Show the row"),
    ].filter(Boolean));
  }
  const named = (name, field) => {
    field.querySelector("select").setAttribute("name", name);
    return field;
  };

  function whole() {
    control();
    draw();
    attributions(beside, example, of);
  }
  whole();
  place.replaceChildren(controls, h("div", { class: "explained" }, beside, drawn));
  matchMedia("(prefers-color-scheme: dark)").onchange = draw;
  return {
    open(row) {
      example = explanations.find((one) => one.row === row) ?? example;
      whole();
    },
  };
}
