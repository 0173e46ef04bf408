// The page of a comparison.

startPage(data => {
  const tables = data.map((rows, number) => comparedRows(rows, document.querySelector(`[data-number="${number}"]`)));
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-open]");
    if (!button) return;
    const { data: number, ...chosen } = JSON.parse(button.dataset.open);
    tables[number].open(chosen);
  });
});

function comparedRows(data, host) {
  const nameOf = label => label < 0 ? "(invalid)" : data.names[label];
  const isRight = (row, method) => data.methods[method].predictions[row] === data.labels[row];
  const columns = [
    { title: "id", value: row => data.ids[row], kind: "name" },
    { title: "text", value: row => data.texts[row], show: (row, query) => comparedText(data, row, query), kind: "text" },
    { title: "label", value: row => nameOf(data.labels[row]), kind: "name" },
  ];
  data.methods.forEach((method, place) => columns.push({
    title: `${place + 1} ${method.name}`,
    value: row => nameOf(method.predictions[row]),
    show: row => shownAnswer(nameOf(method.predictions[row]), isRight(row, place), method.confidences && method.confidences[row]),
    kind: "name",
  }));
  return new RowTable(host, {
    count: data.ids.length,
    caption: `Rows of ${data.name}`,
    columns,
    texts: row => [data.ids[row], data.texts[row], data.pairs && data.pairs[row]],
    filters: comparedFilters(data, isRight),
    csv: { file: "answers.csv", columns: answerColumns(data, nameOf) },
  });
}

function comparedText(data, row, query) {
  const parts = [shownText(data.texts[row], query)];
  if (data.pairs) parts.push(make("hr"), shownText(data.pairs[row], query));
  return make("div", {}, ...parts);
}

function shownAnswer(name, right, confidence) {
  const parts = [make("span", { class: right ? "right" : "wrong", dir: "auto" }, `${right ? "✓" : "✗"} ${name}`)];
  if (confidence !== null) parts.push(" ", make("span", { class: "quiet" }, confidence.toFixed(2)));
  return make("span", {}, ...parts);
}

function comparedFilters(data, isRight) {
  const methods = data.methods.map((method, place) => [String(place), `${place + 1} ${method.name}`]);
  const places = data.methods.map((_, place) => place);
  const answers = {
    wrong: row => places.every(place => !isRight(row, place)),
    right: row => places.every(place => isRight(row, place)),
    mixed: row => places.some(place => isRight(row, place)) && !places.every(place => isRight(row, place)),
    differ: row => new Set(data.methods.map(method => method.predictions[row])).size > 1,
  };
  const titles = [["wrong", "all wrong"], ["right", "all right"], ["mixed", "some right, some wrong"], ["differ", "not all the same"]];
  return [
    { name: "right", title: "Right", choices: methods, keep: (row, value) => isRight(row, Number(value)) },
    { name: "wrong", title: "Wrong", choices: methods, keep: (row, value) => !isRight(row, Number(value)) },
    { name: "answers", title: "Answers", choices: titles, keep: (row, value) => answers[value](row) },
    { name: "label", title: "Label", choices: data.names.map((name, label) => [String(label), name]),
      keep: (row, value) => data.labels[row] === Number(value) },
  ];
}

function answerColumns(data, nameOf) {
  const columns = [
    { title: "id", value: row => data.ids[row] },
    { title: "text", value: row => data.texts[row] },
  ];
  if (data.pairs) columns.push({ title: "text_pair", value: row => data.pairs[row] });
  columns.push({ title: "label", value: row => nameOf(data.labels[row]) });
  data.methods.forEach(method => columns.push({ title: method.name, value: row => nameOf(method.predictions[row]) }));
  return columns;
}
