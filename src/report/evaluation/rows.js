// The rows of an evaluation: read out of the page, filtered and ordered. Nothing here draws.

/** The rows that `packed` holds (base64 of gzip of JSON). */
async function unpack(packed) {
  const bytes = Uint8Array.fromBase64?.(packed) ?? Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return parsed(await new Response(stream).text());
}

/** The scores of rows by which they are ordered: F1 where there is one. */
const mainScore = (data) => data.row_scores.find(([name]) => name === "f1") ?? data.row_scores[0];

const LEFT_OUT = "(The text is not on this page.)";

/** The columns as typed arrays, beside the rows as they were read. */
function indexed(data) {
  const length = Math.max(data.wrong.length, data.text.length, data.id.length);
  const all = Uint32Array.from({ length }, (_, row) => row);
  const typed = (Kind, list) => (list.length ? Kind.from(list) : undefined);
  const text = (row) => (isSet(data.text[row]) ? data.strings[data.text[row]] : undefined);
  const pair = (row) => (isSet(data.pair[row]) ? data.strings[data.pair[row]] : undefined);
  return {
    data,
    length,
    all,
    text,
    pair,
    wrong: Uint8Array.from(data.wrong, Number),
    confidence: typed(Uint16Array, data.confidence),
    words: typed(Uint32Array, data.words),
    right: typed(Uint16Array, data.right),
    answered: typed(Uint16Array, data.answered),
    name: (row) => data.name[row] ?? `row ${data.id[row] ?? row}`,
    score: mainScore(data),
    residual: (row) => Math.max(0, ...data.targets.map(([, right, answered]) => (isSet(right[row]) && isSet(answered[row]) ? Math.abs(answered[row] - right[row]) : 0))),
    lower: new Array(data.strings.length),
    lowerNames: undefined,
    orders: new Map(),
  };
}

/** Lower-case texts, made when they are first sought. */
function lowered(rows, place) {
  return (rows.lower[place] ??= rows.data.strings[place].toLowerCase());
}

/** The words of a query; what stands in quotes stays together. */
const soughtWords = (query) => [...query.toLowerCase().matchAll(/"([^"]+)"|\S+/g)].map(([whole, quoted]) => quoted ?? whole);

/** Whether a row has a word, looked up once for each text that occurs. */
function having(rows, word) {
  const { data } = rows;
  const hit = new Uint8Array(data.strings.length);
  for (let place = 0; place < hit.length; place += 1) hit[place] = lowered(rows, place).includes(word) ? 1 : 0;
  rows.lowerNames ??= rows.length === data.name.length ? data.name.map((name) => name.toLowerCase()) : [];
  const { lowerNames } = rows;
  return (row) => {
    const [text, pair] = [data.text[row], data.pair[row]];
    return (isSet(text) && hit[text] === 1) || (isSet(pair) && hit[pair] === 1)
      || (lowerNames.length > 0 && lowerNames[row].includes(word))
      || (data.answer.length > 0 && data.answer[row].toLowerCase().includes(word));
  };
}

/** A filter that lets all pass. Labels are places among the labels, −1 for any; `held` is { name, rows, whole }. */
const openFilter = () => ({ query: "", verdict: "all", right: -1, answered: -1, label: -1, kind: "any", words: [undefined, undefined], sure: [undefined, undefined], held: undefined });

/** How a label stands to a row that may have several. */
const KINDS = {
  found: (right, answered) => right && answered,
  missed: (right, answered) => right && !answered,
  spurious: (right, answered) => !right && answered,
};
/** How an entity fared: its kinds, in the order of gravity. */
const ENTITY_KINDS = ["correct", "type", "boundary", "both", "missed", "spurious"];

/** The conditions of a filter, the cheapest first. */
function conditions(rows, filter) {
  const { data, wrong, right, answered, words, confidence } = rows;
  const list = [];
  const [least, most] = filter.words;
  const [low, high] = filter.sure;
  if (filter.verdict !== "all") list.push((row) => wrong[row] === (filter.verdict === "wrong" ? 1 : 0));
  if (filter.right >= 0 && right) list.push((row) => right[row] === filter.right);
  if (filter.answered >= 0 && answered) list.push((row) => answered[row] === filter.answered);
  if (isSet(least) && words) list.push((row) => words[row] >= least);
  if (isSet(most) && words) list.push((row) => words[row] <= most);
  if (isSet(low) && confidence) list.push((row) => confidence[row] >= 10 * low);
  if (isSet(high) && confidence) list.push((row) => confidence[row] <= 10 * high);
  if (filter.held) {
    const held = new Uint8Array(rows.length);
    for (const row of filter.held.rows) held[row] = 1;
    list.push((row) => held[row] === 1);
  }
  const { label, kind } = filter;
  if (data.right_labels.length && label >= 0) {
    const passes = KINDS[kind] ?? ((inRight, inAnswered) => inRight || inAnswered);
    list.push((row) => passes(data.right_labels[row].includes(label), data.answered_labels[row].includes(label)));
  }
  if (data.right_entities.length && (label >= 0 || kind !== "any")) {
    const passes = (entity) => (label < 0 || entity[2] === label) && (kind === "any" || entity[3] === kind);
    list.push((row) => data.right_entities[row].some(passes) || data.found_entities[row].some(passes));
  }
  if (data.answers.length && kind !== "any") {
    const [has, gave] = [(row) => data.answers[row].length > 0, (row) => data.answer[row] !== ""];
    list.push({
      "has answer": has,
      "has none": (row) => !has(row),
      "needless": (row) => !has(row) && gave(row),
      "withheld": (row) => has(row) && !gave(row),
      "other": (row) => has(row) && gave(row) && wrong[row] === 1,
    }[kind] ?? (() => true));
  }
  for (const word of soughtWords(filter.query)) list.push(having(rows, word));
  return list;
}

/** Rows in an order, worked out once. */
function ordered(rows, name) {
  if (!rows.orders.has(name)) {
    const by = ORDERS[name].key(rows);
    const keys = Float64Array.from(rows.all, by);
    const order = rows.all.slice();
    if (name !== "file") order.sort((a, b) => keys[b] - keys[a] || a - b);
    rows.orders.set(name, order);
  }
  return rows.orders.get(name);
}

/** Orders by a falling number. Wrong rows come first, the surest of them before all; where none is sure, the worst. */
const ORDERS = {
  wrong: {
    text: "wrong first, the surest before",
    here: (rows) => rows.wrong.includes(1),
    key: ({ wrong, confidence }) => (row) => (wrong[row] ? 2000 + (confidence?.[row] ?? 0) : 1000 - (confidence?.[row] ?? 0)),
  },
  unsure: { text: "the least sure first", here: (rows) => rows.confidence, key: ({ confidence }) => (row) => -confidence[row] },
  residual: { text: "the farthest off first", here: (rows) => rows.data.targets.length, key: (rows) => rows.residual },
  score: { text: "the lowest score first", here: (rows) => rows.score && !rows.data.targets.length, key: ({ score: [, scores] }) => (row) => -scores[row] },
  long: { text: "the longest first", here: (rows) => rows.words, key: ({ words }) => (row) => words[row] },
  file: { text: "as in the data", here: () => true, key: () => () => 0 },
};

/** The rows that pass, in order. */
function passing(rows, filter, order) {
  const tests = conditions(rows, filter);
  const sorted = ordered(rows, order);
  if (!tests.length) return sorted;
  const kept = new Uint32Array(sorted.length);
  let size = 0;
  for (const row of sorted) {
    let passes = true;
    for (let index = 0; passes && index < tests.length; index += 1) passes = tests[index](row);
    if (passes) {
      kept[size] = row;
      size += 1;
    }
  }
  return kept.subarray(0, size);
}
