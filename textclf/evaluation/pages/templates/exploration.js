// The page of an exploration: examples and ids of a finding are shown when they are opened.

startPage(data => {
  for (const details of document.querySelectorAll("details[data-finding]")) {
    const finding = data.examples[Number(details.dataset.finding)];
    const fill = details.classList.contains("ids") ? fillIds : fillExamples;
    details.addEventListener("toggle", () => {
      const place = details.querySelector("div");
      if (details.open && !place.childElementCount) fill(place, finding, data.name);
    });
  }
});

function fillExamples(place, finding) {
  for (const group of finding.groups) {
    place.append(make("div", { class: "group" }, ...group.map(exampleRow)));
  }
}

function exampleRow(row) {
  const about = [row.split, `id ${row.id}`, row.label === null ? "no valid label" : `label ${row.label}`].join(", ");
  const parts = [make("p", { class: "quiet" }, make("span", { dir: "auto" }, ...textNodes(about)))];
  parts.push(make("div", { class: "text" }, row.text === "" ? "(empty)" : shownText(row.text)));
  if (row.text_pair !== null) parts.push(make("div", { class: "text" }, make("span", { class: "quiet" }, "second text: "), shownText(row.text_pair)));
  if (row.note) parts.push(make("p", { class: "wrong" }, make("span", { dir: "auto" }, ...textNodes(row.note))));
  return make("div", {}, ...parts);
}

function fillIds(place, finding, name) {
  const save = () => saveFile(`${name}-${finding.kind}.csv`, "\ufeffid\r\n" + finding.rows.map(id => csvCell(id) + "\r\n").join(""), "text/csv");
  place.append(
    make("button", { type: "button", on: { click: save } }, "Download ids as CSV"),
    make("p", { class: "ids" }, finding.rows.join(", ")));
}
