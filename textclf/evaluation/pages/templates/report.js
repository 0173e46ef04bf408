// The page of a report.

startPage(data => {
  const relabelled = storedChoices(`textclf-relabel-${data.key}`, data);
  const table = new RowTable(document.getElementById("row-table"), {
    count: data.ids.length,
    caption: "Rows of the split",
    columns: rowColumns(data, relabelled),
    texts: row => [data.ids[row], data.texts[row], data.pairs && data.pairs[row]],
    filters: rowFilters(data, relabelled),
    csv: { file: "relabel.csv", columns: csvColumns(data, relabelled) },
  });
  const place = document.getElementById("matrix");
  const fill = () => showMatrix(place, data.names, data.cells, (label, prediction) => table.open({ label, prediction }));
  if (data.names.length <= MOST_NUMBERED) fill(); else whenNear(place, fill);
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-open]");
    if (button) table.open(JSON.parse(button.dataset.open));
  });
});

/** Calls `fill` once a place is seen: of many classes the matrix has thousands of cells, which take a second. */
function whenNear(place, fill) {
  const observer = new IntersectionObserver(entries => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    fill();
  });
  observer.observe(place);
}

function nameOf(data, label) {
  return label < 0 ? "(invalid)" : data.names[label];
}

function rowColumns(data, relabelled) {
  const columns = [
    { title: "id", value: row => data.ids[row], kind: "name" },
    { title: "text", value: row => data.texts[row], show: (row, query) => rowText(data, row, query), kind: "text" },
    { title: "label", value: row => nameOf(data, data.labels[row]), kind: "name" },
    { title: "prediction", value: row => nameOf(data, data.predictions[row]), show: row => shownPrediction(data, row), kind: "name" },
  ];
  if (data.confidences) {
    columns.push({ title: "confidence", value: row => data.confidences[row], show: row => shownConfidence(data, row), numeric: true });
  }
  for (const name of Object.keys(data.kept)) columns.push({ title: name, value: row => data.kept[name][row], kind: "name" });
  columns.push({ title: "relabel", value: row => relabelled.get(row), show: row => relabelSelect(data, row, relabelled), kind: "relabel" });
  return columns;
}

function rowText(data, row, query) {
  const parts = [shownText(data.texts[row], query)];
  if (data.pairs) parts.push(make("hr"), shownText(data.pairs[row], query));
  const attribution = data.attributions[row];
  if (attribution) parts.push(make("details", {}, make("summary", {}, "why"), attributionOf(attribution)));
  return make("div", {}, ...parts);
}

/** Tokens with their weights: underlined twice or dotted, and coloured, by the sign and size of the weight. */
function attributionOf({ prediction, tokens, weights }) {
  const most = Math.max(...weights.map(Math.abs)) || 1;
  const spans = tokens.map((token, place) => {
    const share = weights[place] / most;
    const span = make("span", { class: share >= 0 ? "token for" : "token against", title: weights[place].toFixed(4) }, token);
    span.style.setProperty("--share", Math.abs(share));
    return span;
  });
  return make("div", { dir: "auto" },
    make("p", { class: "quiet" }, `Weight of the tokens for ${prediction}: blue for it, orange and dotted against it.`), ...spans);
}

function shownPrediction(data, row) {
  const isRight = data.labels[row] === data.predictions[row];
  return make("span", { class: isRight ? "right" : "wrong", dir: "auto" }, `${isRight ? "✓" : "✗"} ${nameOf(data, data.predictions[row])}`);
}

function shownConfidence(data, row) {
  const confidence = data.confidences[row];
  if (confidence === null) return make("span", {}, "–");
  const top = data.top[row];
  const lines = [];
  for (let place = 0; place < top.length; place += 2) lines.push(`${nameOf(data, top[place])} ${top[place + 1].toFixed(3)}`);
  return make("details", {}, make("summary", {}, confidence.toFixed(3)),
    ...lines.map(line => make("div", { dir: "auto" }, line)));
}

// Labels that are chosen in the page

/** The chosen class of each row, kept by the browser where it can. */
function storedChoices(key, data) {
  const choices = new Map();
  try {
    for (const [row, label] of JSON.parse(localStorage.getItem(key)) ?? []) {
      if (row < data.ids.length && data.names.includes(label)) choices.set(row, label);
    }
  } catch { /* the browser keeps nothing of local files: choices last as long as the page is open */ }
  choices.store = () => {
    try {
      localStorage.setItem(key, JSON.stringify([...choices]));
    } catch { /* as above */ }
  };
  return choices;
}

function relabelSelect(data, row, relabelled) {
  const chosen = relabelled.get(row);
  const select = make("select", { "aria-label": `new label of row ${data.ids[row]}` }, make("option", { value: "" }, "–"));
  if (chosen) select.append(make("option", { value: chosen, selected: true }, chosen));
  // The classes are added once they are needed: in many rows, many classes would make the page slow.
  select.addEventListener("focus", () => {
    select.replaceChildren(...["", ...data.names].map(name => make("option", { value: name }, name || "–")));
    select.value = relabelled.get(row) ?? "";
  }, { once: true });
  select.addEventListener("change", () => {
    if (select.value) relabelled.set(row, select.value); else relabelled.delete(row);
    relabelled.store();
  });
  return select;
}

function csvColumns(data, relabelled) {
  const columns = [
    { title: "id", value: row => data.ids[row] },
    { title: "text", value: row => data.texts[row] },
  ];
  if (data.pairs) columns.push({ title: "text_pair", value: row => data.pairs[row] });
  columns.push(
    { title: "label", value: row => data.names[data.labels[row]] },
    { title: "prediction", value: row => data.predictions[row] < 0 ? "" : data.names[data.predictions[row]] },
    { title: "relabel", value: row => relabelled.get(row) });
  return columns;
}

// Filters

function rowFilters(data, relabelled) {
  const classes = data.names.map((name, label) => [String(label), name]);
  const answers = data.predictions.some(label => label < 0) ? [...classes, ["-1", "(invalid)"]] : classes;
  const outcomes = [["wrong", "wrong"], ["right", "right"]];
  const filters = [
    listFilter(data),
    { name: "outcome", title: "Answer", choices: outcomes, keep: (row, value) => (data.labels[row] === data.predictions[row]) === (value === "right") },
    { name: "label", title: "Label", choices: classes, keep: (row, value) => data.labels[row] === Number(value) },
    { name: "prediction", title: "Prediction", choices: answers, keep: (row, value) => data.predictions[row] === Number(value) },
  ];
  data.groupings.forEach((grouping, number) => filters.push(groupFilter(data, grouping, number)));
  filters.push({ name: "relabelled", title: "Relabel", choices: [["yes", "filled"]], keep: row => relabelled.has(row) });
  return filters;
}

function listFilter(data) {
  const choices = Object.entries(data.lists).filter(([, rows]) => rows.length).map(([name]) => [name, data.titles[name]]);
  return { name: "list", title: "List", choices, order: value => data.lists[value] };
}

function groupFilter(data, grouping, number) {
  const choices = grouping.groups.map((group, place) => [String(place), group.name]);
  return { name: `group${number}`, title: grouping.title, choices, keep: (row, value) => isMember(data, grouping, grouping.groups[Number(value)], row) };
}

function isMember(data, grouping, group, row) {
  if (grouping.filter === "size") return group.labels.includes(data.labels[row]);
  if (grouping.filter === "length") return group.least <= data.lengths[row] && data.lengths[row] <= group.most;
  const value = data.kept[grouping.filter.slice("kept:".length)][row];
  if ("value" in group) return value === group.value;
  return value !== null && group.least <= value && value <= group.most;
}
