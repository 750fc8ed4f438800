// What a reader does on the page of a server, beside what `page/reader.js` has.
/** Until something is; a page on which it never is fails the test with what it shows. */
const until = async (is) => {
  for (let tries = 0; tries < 4000; tries += 1) {
    const found = is();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 5));
  }
  throw new Error(`never ${is}: ${document.body.innerText}`);
};
const write = (id, text) => { one(`#${id}`).value = text; one(`#${id}`).dispatchEvent(new Event("input", { bubbles: true })); };
const choose = async (name) => {
  await until(() => !one("#asking").hidden);
  one("#model").value = name;
  one("#model").dispatchEvent(new Event("change", { bubbles: true }));
};
const send = async () => {
  one("#said").textContent = "";
  one("#send").click();
  await until(() => one("#said").textContent || !one("#problem").hidden);
  await frame();
};
const seen = () => ({ said: one("#said").textContent, problem: one("#problem").hidden ? null : one("#problem").textContent, drawn: one("#drawn").textContent });
