// The hand and the eye of a reader: what a test does on a page, by the events that a browser would send, and what it sees.

const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
/** Until the page has drawn itself again. */
const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

// ---- The eye ----

const rows = () => all("[data-trial]").map((row) => Number(row.dataset.trial));
const shown = () => one("#shown").textContent;
const limits = () => all("#limits button").map((button) => button.textContent);
/** How many trials each chart says it shows. */
const counts = () => all("svg.chart").map((chart) => Number(/; (\d+) /.exec(chart.getAttribute("aria-label"))[1]));
const header = (name) => all("#trials thead button").find((button) => button.textContent === name);
const sorting = () => all("#trials th[aria-sort]").map((head) => [head.textContent, head.getAttribute("aria-sort")]);

const band = (path) => all("#parallel .brushable").find((one) => one.dataset.axis === path);
/** The height, in the window, of a tick of an axis. */
function tick_of(path, text) {
  const found = [...band(path).parentNode.querySelectorAll("text")].find((one) => (one.querySelector("title") ?? one).textContent === text);
  const box = found.getBoundingClientRect();
  return box.top + box.height / 2;
}
/** The middle of the first point of a chart. */
function dot(chart) {
  const path = chart.querySelector("path.dot");
  const [x, y] = /M([\d.]+) ([\d.]+)a([\d.]+)/.exec(path.getAttribute("d")).slice(1, 4).map(Number);
  const radius = Number(/a([\d.]+)/.exec(path.getAttribute("d"))[1]);
  const box = chart.getBoundingClientRect();
  return { x: box.left + x + radius, y: box.top + y };
}

/** Until the rows of an evaluation are read. */
async function ready() {
  while (one("#evaluation").hasAttribute("aria-busy")) await new Promise((done) => setTimeout(done, 5));
  await frame();
}
const texts = (selector) => all(selector).map((one) => one.textContent);
const listed = () => all("#rows li[data-row]").map((row) => Number(row.dataset.row));
const told = () => one("#rows .shown").textContent;
/** What is read aloud of a control: its label, else its text. */
const nameOf = (control) => (control.getAttribute("aria-label") ?? control.labels?.[0]?.textContent ?? control.textContent).trim();

// ---- The hand ----

const pointer = (kind, target, x, y, buttons) =>
  target.dispatchEvent(new PointerEvent(kind, { bubbles: true, cancelable: true, pointerType: "mouse", clientX: x, clientY: y, buttons }));
const point = (target, x, y) => pointer("pointermove", target, x, y, 0);
const key = (target, name) => target.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));

async function drag(path, from, to) {
  const box = band(path).getBoundingClientRect();
  const x = box.left + box.width / 2;
  pointer("pointerdown", band(path), x, from, 1);
  for (const share of [0.3, 0.7, 1]) {
    pointer("pointermove", band(path), x, from + share * (to - from), 1);
    await frame();
  }
  pointer("pointerup", band(path), x, to, 0);
  await frame();
}

async function press(path, y) {
  const box = band(path).getBoundingClientRect();
  pointer("pointerdown", band(path), box.left + box.width / 2, y, 1);
  pointer("pointerup", band(path), box.left + box.width / 2, y, 0);
  band(path).dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: box.left + box.width / 2, clientY: y }));
  await frame();
}

async function type(text) {
  one("#query").value = text;
  one("#query").dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
}

async function fill(input, text) {
  input.value = text;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  await frame();
}

async function tick(box) {
  box.click();
  await frame();
}

async function pick(name, value) {
  const select = all("select").find((one) => nameOf(one) === name);
  select.value = value;
  await fill(select, value);
}

/** Types into the search of the rows, and waits until it has filtered. */
async function search(text) {
  one("#rows .query").value = text;
  one("#rows .query").dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => setTimeout(done, 150));
  await frame();
}

/** The button that says this. */
const called = (text, within = "body") => all(`${within} button`).find((one) => one.textContent === text);
