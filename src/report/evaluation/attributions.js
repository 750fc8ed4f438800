// What an answer depends on: tokens in colours, for how much each adds to the answer or takes from it.

const METHODS = [["integrated_gradients", "integrated gradients"], ["gradient_x_input", "gradient × input"]];

/** The tokens as a text: what belongs to one word stands together, and each has its share in words for who reads no colour. */
function colouredTokens({ tokens, places }, values) {
  const most = Math.max(1e-9, ...values.map(Math.abs));
  const known = places.some(Boolean);
  // Where places are not known, tokens tell by their signs which begin a word, as their tokenizer writes it.
  const spaced = tokens.some((token) => /^[Ġ▁\s]/u.test(token));
  const begins = (token) => (spaced ? /^[Ġ▁\s]/u.test(token) : !token.startsWith("##"));
  return tokens.flatMap((token, index) => {
    const value = values[index] ?? 0;
    const part = Math.abs(value) / most;
    const [before, own] = [places[index - 1], places[index]];
    const apart = index > 0 && (known ? !(before && own && before[1] === own[0]) : begins(token));
    const word = styled(h("span", { class: `word ${value >= 0 ? "for" : "against"}`, title: `${token}: ${value >= 0 ? "+" : ""}${number(value, 3)}` }, tokenText(token)), { "--part": part.toFixed(2) });
    return [apart ? " " : "", word];
  });
}

/** Which tokens the output is of, where it is not that of the whole text. */
function aboutTokens({ tokens, about = [] }) {
  if (!about.length || about.length >= tokens.length) return undefined;
  const named = about.slice(0, 12).map((index) => tokenText(tokens[index] ?? ""));
  return `Of the token${about.length > 1 ? "s" : ""} ${named.join(", ")}${about.length > named.length ? ", …" : ""}.`;
}

function attributions(place, example, of) {
  const methods = METHODS.filter(([key]) => example[key]?.length);
  let method = methods[0]?.[0];
  const shown = h("div");
  function draw() {
    const values = example[method];
    const sum = values.reduce((all, one) => all + one, 0);
    const integrated = method === "integrated_gradients";
    const ranked = values.map((value, index) => [value, index]).sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 8);
    const most = Math.max(1e-9, ...values.map(Math.abs));
    shown.replaceChildren(
      h("p", { class: "tokens" }, colouredTokens(example, values)),
      h("p", { class: "legend-line" }, h("span", { class: "swatch for", "aria-hidden": "true" }), `speaks for ${example.output} `, h("span", { class: "swatch against", "aria-hidden": "true" }), "speaks against it"),
      h("p", { class: "sum", role: "status" }, integrated && isSet(example.value)
        ? `The parts sum to ${number(sum, 4)}; the output goes from ${number(example.baseline, 4)} without the text to ${number(example.value, 4)} with it, a difference of ${number(example.value - example.baseline, 4)}. What is left over: ${number(example.delta, 2)}.`
        : `The parts sum to ${number(sum, 4)}, which need not be the difference of outputs.`),
      h("h4", {}, "Strongest tokens"),
      h("ul", { class: "bars diverging" }, ranked.map(([value, index]) => h("li", {}, h("span", { class: "what" }, tokenText(example.tokens[index])), h("span", { class: "track", "aria-hidden": "true" }, styled(h("span", { class: value >= 0 ? "bar for" : "bar against" }), { width: `${(50 * Math.abs(value)) / most}%`, "margin-left": value >= 0 ? "50%" : `${50 - (50 * Math.abs(value)) / most}%` })), h("span", { class: "amount" }, `${value > 0 ? "+" : ""}${number(value, 2)}`)))));
  }
  place.replaceChildren(h("h3", {}, "Attributions to ", h("em", {}, example.output)));
  if (!method) return place.append(h("p", { class: "empty" }, "No attributions were kept of this row."));
  const about = aboutTokens(example);
  if (of || about) place.append(h("p", { class: "note small" }, [of?.replace(/\.?$/u, "."), about].filter(Boolean).join(" ")));
  if (methods.length > 1) place.append(toggles("Method", methods, method, (value) => {
    method = value;
    draw();
  }));
  place.append(shown);
  draw();
  return undefined;
}
