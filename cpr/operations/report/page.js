"use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
byId("data").remove(); // its text is as large as all the rest
const text = (number) => data.texts[number];
const results = data.results.map(
  ([name, folder, file, task, kind, state, made, bytes, facts, inputs, preview, problem, bar, record], at) => ({
    at, name: text(name), folder, file, task, kind: text(kind), state, made, bytes, facts, inputs, preview, problem, bar, record,
  }));
const urlOf = (folder, file) => (text(folder) ? `${text(folder)}/${file}` : file);
data.results = null;
const pairs = (flat, make) => Array.from({ length: flat.length / 2 }, (_, at) => make(flat[2 * at], flat[2 * at + 1]));
const placeOf = new Map(results.map((result) => [`${result.folder}/${result.file}`, result]));
const samples = data.samples.map(([name, held, several], at) => ({ at, name, several, results: held.map((number) => results[number]) }));
const controls = { find: byId("find"), task: byId("task"), kind: byId("kind"), state: byId("state"), sort: byId("sort") };
const boxes = [...document.querySelectorAll(".graph .task")];
const dialog = byId("opened");
const scroller = byId("rows");

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/* The way from results to what was made of them, looked up when it is first asked for. */
let users = null;
function usersOf(result) {
  if (users === null) {
    users = new Map();
    const note = (input, user) => {
      if (Array.isArray(input)) {
        const made = placeOf.get(`${input[0]}/${input[1]}`);
        if (made) users.set(made.at, (users.get(made.at) ?? new Set()).add(user));
      } else if (input && input.held) for (const one of input.held) note(one, user);
    };
    for (const user of results) pairs(user.inputs, (_, input) => note(input, user));
  }
  return [...(users.get(result.at) ?? [])];
}

/* Rows: only those in view are in the document. */
const natural = new Intl.Collator(undefined, { numeric: true }).compare;
const newest = (sample) => sample.shown.reduce((most, result) => Math.max(most, result.made), 0);
const size = (sample) => sample.shown.reduce((sum, result) => sum + result.bytes, 0);
const problems = (sample) => (sample.shown.some((result) => result.problem) ? 1 : 0);
const orders = {
  made: (a, b) => b.problems - a.problems || a.several - b.several || b.newest - a.newest || natural(a.name, b.name),
  name: (a, b) => natural(a.name, b.name),
  bytes: (a, b) => b.size - a.size,
};
const MOST = 150000; // rows that a browser can scroll
let listed = [];
let columns = [];
let height = 0;
const drawn = new Map();

function filter() {
  const wanted = controls.find.value.trim();
  const pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
  // Each text once, however many results have it; of facts the values, not the labels.
  const found = wanted ? Uint8Array.from(data.texts, (one) => pattern.test(one)) : null;
  const valued = (facts) => facts.some((number, at) => at % 2 && found[number]);
  const task = data.tasks.indexOf(controls.task.value);
  const kind = controls.kind.value;
  const state = controls.state.value;
  let count = 0;
  listed = [];
  for (const sample of samples) {
    sample.shown = sample.results.filter((result) => (task < 0 || result.task === task)
      && (!kind || result.kind === kind) && (!state || result.state === state));
    if (!sample.shown.length) continue;
    // What is found stands beside all else of its sample.
    const fits = !wanted || pattern.test(sample.name) || sample.shown.some((result) =>
      valued(result.facts) || pattern.test(result.name) || pattern.test(urlOf(result.folder, result.file)));
    if (!fits) continue;
    [sample.newest, sample.size, sample.problems] = [newest(sample), size(sample), problems(sample)];
    count += sample.shown.length;
    listed.push(sample);
  }
  listed.sort((a, b) => orders[controls.sort.value](a, b) || a.at - b.at);
  const held = new Set(listed.flatMap((sample) => sample.shown.map((result) => result.task)));
  columns = data.tasks.map((_, number) => number).filter((number) => held.has(number));
  const cut = listed.length > MOST ? `, the first ${MOST.toLocaleString("en")} listed: search for others` : "";
  const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  byId("count").value = `${counted(count, "result")} of ${counted(listed.length, "sample")}${cut}`;
  listed.length = Math.min(listed.length, MOST);
  byId("nothing").hidden = listed.length > 0;
  scroller.hidden = !listed.length;
  for (const box of boxes) box.setAttribute("aria-pressed", String(box.dataset.task === controls.task.value));
  layOut();
}

function layOut() {
  scroller.replaceChildren();
  drawn.clear();
  if (!listed.length) return;
  scroller.style.setProperty("--columns", columns.length);
  scroller.setAttribute("aria-rowcount", listed.length + 1);
  const head = element("div", { className: "row head", role: "row" }, element("div", { className: "sample", role: "columnheader" }, "Sample"),
    ...columns.map((number) => element("div", { className: "cell", role: "columnheader" }, data.tasks[number])));
  const body = element("div", { className: "body", role: "rowgroup" });
  scroller.append(head, body);
  height = parseFloat(getComputedStyle(scroller).getPropertyValue("--row"));
  body.style.height = `${height * listed.length}px`;
  scroller.scrollTop = 0;
  draw();
}

function draw() {
  const body = scroller.querySelector(".body");
  if (!body) return;
  const first = Math.max(0, Math.floor(scroller.scrollTop / height) - 4);
  const last = Math.min(listed.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + 4);
  for (const [at, row] of drawn) {
    // A row that has the focus stays, or the keyboard would be lost.
    if ((at < first || at >= last) && !row.contains(document.activeElement)) { row.remove(); drawn.delete(at); }
  }
  for (let at = first; at < last; at += 1) {
    if (drawn.has(at)) continue;
    const row = rowOf(listed[at], at);
    const next = [...drawn.keys()].filter((other) => other > at).sort((a, b) => a - b)[0];
    body.insertBefore(row, next === undefined ? null : drawn.get(next));
    drawn.set(at, row);
  }
}

function rowOf(sample, at) {
  const row = element("div", { className: "row", role: "row" }, element("div", { className: "sample", role: "rowheader" }, sample.name));
  row.setAttribute("aria-rowindex", at + 2);
  row.style.top = `${at * height}px`;
  for (const number of columns) {
    const held = sample.shown.filter((result) => result.task === number);
    const cell = element("div", { className: "cell", role: "cell" });
    if (held.length) cell.append(card(held[0]));
    if (held.length > 1) {
      const more = element("button", { className: "more", type: "button" }, `and ${held.length - 1} more`);
      more.addEventListener("click", () => openList(`${sample.name}, ${data.tasks[number]}`, held));
      cell.append(more);
    }
    row.append(cell);
  }
  return row;
}

function picture(result) {
  const preview = result.preview;
  if (!preview) return element("span", { className: "none" }, result.problem ? "not readable" : "no preview");
  if (Array.isArray(preview)) {
    const held = element("span", { className: "picture" }, element("img", { alt: preview[1], title: preview[1], src: preview[0] }));
    if (result.bar) {
      const bar = element("span", { className: "bar" }, result.bar[1]);
      bar.style.width = `${100 * result.bar[0]}%`;
      held.append(bar);
    }
    return held;
  }
  const cells = (tag, values) => values.map((value) => element(tag, {}, value));
  const head = element("tr", {}, ...cells("th", preview.columns), ...(preview.more ? cells("th", ["…"]) : []));
  return element("table", {}, element("thead", {}, head),
    element("tbody", {}, ...preview.rows.map((row) => element("tr", {}, ...cells("td", row)))));
}

function card(result) {
  const name = element("span", { className: "name card-name" }, result.name);
  if (result.state) name.append(element("span", { className: `badge ${result.state}` }, result.state));
  const known = Object.fromEntries(pairs(result.facts, (label, value) => [text(label), text(value)]));
  const small = [known.shape, known["pixel size"], known.bytes].filter(Boolean).join(" · ");
  const button = element("button", { className: "open", type: "button" },
    element("span", { className: "preview" }, picture(result)), name, element("span", { className: "small" }, small));
  button.setAttribute("aria-haspopup", "dialog");
  button.addEventListener("click", () => open(result));
  return button;
}

/* One result, opened. */
function link(result) {
  const made = element("a", { href: `#${encodeURIComponent(result.file)}` }, urlOf(result.folder, result.file));
  made.addEventListener("click", (event) => { event.preventDefault(); open(result); });
  return made;
}

function shown(input) {
  if (typeof input === "number") return document.createTextNode(text(input));
  if (Array.isArray(input)) {
    const made = placeOf.get(`${input[0]}/${input[1]}`);
    // A link only to what is on this page: a URL from a record may be anything.
    return made ? link(made) : document.createTextNode(urlOf(...input));
  }
  const items = input.held.map((one) => element("li", {}, shown(one)));
  if (input.more) items.push(element("li", {}, `and ${input.more} more`));
  return element("ul", {}, ...items);
}

function table(rows) {
  return element("table", {}, ...rows.map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, value))));
}

function show(...children) {
  byId("opened-content").replaceChildren(...children);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function openList(title, held) {
  show(element("h2", { id: "opened-name" }, title), element("ul", { className: "list" }, ...held.map((result) => element("li", {}, link(result)))));
}

function open(result) {
  const parts = [element("h2", { id: "opened-name" }, result.name)];
  if (result.problem) parts.push(element("p", { className: "problem", role: "alert" }, result.problem));
  parts.push(element("div", { className: "preview" }, picture(result)));
  parts.push(table([["url", urlOf(result.folder, result.file)], ...pairs(result.facts, (name, value) => [text(name), text(value)])]));
  if (result.record >= 0) parts.push(loading(`cpr.load(${JSON.stringify(text(result.record))}, name=${JSON.stringify(result.file)})`));
  if (result.inputs.length) parts.push(element("h3", {}, "Made from"), table(pairs(result.inputs, (name, input) => [text(name), shown(input)])));
  const made = usersOf(result);
  if (made.length) {
    const items = made.slice(0, 200).map((user) => element("li", {}, `${data.tasks[user.task]}: `, link(user)));
    if (made.length > 200) items.push(element("li", {}, `and ${made.length - 200} more`));
    parts.push(element("h3", {}, "Used by"), element("ul", { className: "list" }, ...items));
  }
  show(...parts);
  history.replaceState(null, "", `#${encodeURIComponent(result.file)}`);
}

function loading(call) {
  const code = element("code", { tabIndex: 0 }, call);
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(call); copy.textContent = "Copied"; } catch {
      getSelection().selectAllChildren(code); // where the browser lets no page copy, Ctrl-C does
      copy.textContent = "Press Ctrl-C";
    }
  });
  return element("p", { className: "load" }, code, copy);
}

function openNamed() {
  const file = decodeURIComponent(location.hash.slice(1));
  const result = file && results.find((one) => one.file === file);
  if (result) open(result);
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["find", "task", "kind", "state", "sort"]) controls[name].addEventListener("input", filter);
for (const box of boxes) {
  const choose = () => {
    controls.task.value = controls.task.value === box.dataset.task ? "" : box.dataset.task;
    filter();
  };
  box.addEventListener("click", choose);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
  });
}
scroller.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
addEventListener("resize", layOut);
addEventListener("hashchange", openNamed);
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
filter();
openNamed();
