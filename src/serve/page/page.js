// Asking: the form, the server, what went wrong.
//
// What was typed is sent when the reader says so, and to the server that the page came from alone.

let models = [];
let asked = 0;

const shown = (id, is) => { byId(id).hidden = !is; };
const chosen = () => models[byId("model").selectedIndex] ?? models[0];

/** Tells what is wrong, or nothing any more. */
function problem(message, help) {
  byId("problem").replaceChildren(...(message ? [message, help ? h("span", { class: "soft" }, ` – ${help}`) : ""] : []));
  shown("problem", Boolean(message));
}

/** The status and the JSON of an answer. */
async function request(path, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
  const response = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body: body && JSON.stringify(body) });
  return { status: response.status, answer: await response.json() };
}

/** The same, where it was answered; what was wrong is told. */
async function answered(path, body) {
  try {
    const { status, answer } = await request(path, body);
    if (status === 200) {
      problem();
      return answer;
    }
    if (status === 401) shown("token-line", true);
    problem(`${answer.error.message} (${status})`, answer.error.help);
  } catch {
    problem("The server does not answer.", "It may have ended; look where it was started.");
  }
  return undefined;
}

async function open() {
  const found = await answered("models");
  if (!found) return;
  models = found.models;
  byId("model").replaceChildren(...models.map(({ name }) => h("option", { value: name }, name)));
  shown("token-line", false);
  shown("asking", true);
  fitToModel();
  byId("text").focus();
}

/** The form as the chosen model's task asks for it. */
function fitToModel() {
  const { task, labels, max_length } = chosen();
  const questions = task === "question_answering";
  shown("model-line", true);
  byId("model").disabled = models.length < 2;
  byId("about").textContent = `${task.replaceAll("_", " ")}${labels.length ? `: ${labels.slice(0, 12).join(", ")}${labels.length > 12 ? ", …" : ""}` : ""}; reads ${plural(max_length, "token")} at once`;
  byId("text-label").textContent = questions ? "Question" : "Text";
  byId("text").rows = questions ? 2 : 5;
  byId("pair-label").textContent = questions ? "Context" : "Second text";
  shown("pair-line", task !== "token_classification");
  shown("pair-note", !questions);
  byId("pair").rows = questions ? 8 : 2;
}

function bodyOf(task) {
  const [text, pair] = [byId("text").value, byId("pair").value];
  if (task === "question_answering") return { question: text, context: pair, top_k: 5 };
  return pair && task !== "token_classification" ? { text, pair } : { text };
}

/** Names of the types of entities, in the order of the labels, without what a scheme puts before them. */
const types = (labels) => [...new Set(labels.map((label) => label.replace(/^[A-Z]-/, "")).filter((label) => label !== "O"))];

/** A word that any shell takes as it is. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

async function ask() {
  const { name, task, labels } = chosen();
  const [body, path] = [bodyOf(task), `models/${name}/predict`];
  const own = ++asked;
  byId("send").setAttribute("aria-disabled", "true");
  const answer = await answered(path, body);
  if (own !== asked) return;
  byId("send").removeAttribute("aria-disabled");
  shown("answer", Boolean(answer));
  if (!answer) return;
  const [told, ...drawn] = DRAWN[task](answer.predictions[0], body, types(labels));
  byId("drawn").replaceChildren(h("div", { class: "card" }, drawn));
  byId("said").textContent = told;
  byId("json").textContent = JSON.stringify(answer, null, 2);
  const token = byId("token").value ? " -H \"Authorization: Bearer $TOKEN\"" : "";
  byId("command").textContent = `curl ${quoted(new URL(path, location.href).href)}${token} --json ${quoted(JSON.stringify(body))}`;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (models.length === 0) open();
  else if (byId("send").getAttribute("aria-disabled") !== "true") ask();
});
byId("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && models.length > 0) byId("ask").requestSubmit();
});
byId("unlock").addEventListener("click", open);
byId("model").addEventListener("change", () => {
  fitToModel();
  shown("answer", false);
});
open();
