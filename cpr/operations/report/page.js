"use strict";
const byId = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const controls = { find: byId("find"), task: byId("task"), kind: byId("kind"), state: byId("state"), sort: byId("sort") };
const boxes = [...document.querySelectorAll(".graph .task")];
const dialog = byId("opened");

const orders = {
  made: (a, b) => b.made - a.made,
  name: (a, b) => a.name.localeCompare(b.name),
  task: (a, b) => a.task.localeCompare(b.task) || a.name.localeCompare(b.name),
  bytes: (a, b) => b.bytes - a.bytes,
};

function filter() {
  const wanted = controls.find.value.toLowerCase().trim();
  let shown = 0;
  for (const card of cards) {
    const data = card.dataset;
    const fits = data.find.includes(wanted)
      && ["task", "kind", "state"].every((name) => !controls[name].value || data[name] === controls[name].value);
    card.hidden = !fits;
    shown += fits;
  }
  byId("count").value = `${shown} shown`;
  byId("nothing").hidden = shown > 0;
  for (const box of boxes) box.setAttribute("aria-pressed", String(box.dataset.task === controls.task.value));
}

function sort() {
  const order = orders[controls.sort.value];
  const ordered = cards.map((card, at) => [card, at]).sort((a, b) => order(a[0].dataset, b[0].dataset) || a[1] - b[1]);
  byId("gallery").append(...ordered.map(([card]) => card));
}

function open(card) {
  byId("opened-content").replaceChildren(card.querySelector("template").content.cloneNode(true));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["find", "task", "kind", "state"]) controls[name].addEventListener("input", filter);
controls.sort.addEventListener("input", sort);
for (const card of cards) card.querySelector(".open").addEventListener("click", () => open(card));
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
dialog.addEventListener("click", (event) => {
  const link = event.target.closest("[data-open]");
  if (link) { event.preventDefault(); open(document.querySelector(link.getAttribute("href"))); }
  else if (event.target === dialog) dialog.close();
});
