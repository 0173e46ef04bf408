// A confusion matrix whose cells open their rows.

const MOST_NUMBERED = 30; // classes of a matrix with numbers in its cells

/**
 * Fills `place` with the matrix.
 *
 * `names`: the classes. `cells`: true class, prediction (-1 for an invalid answer), rows. `open(truth, prediction)` is
 * called when a cell is chosen.
 */
function showMatrix(place, names, cells, open) {
  const hasInvalid = cells.some(cell => cell[1] < 0);
  const columns = names.map((_, label) => label);
  if (hasInvalid) columns.push(-1);
  const titles = columns.map(label => label < 0 ? "(invalid)" : names[label]);
  const counts = new Map(cells.map(([truth, prediction, count]) => [`${truth} ${prediction}`, count]));
  const support = names.map(() => 0);
  for (const [truth, , count] of cells) support[truth] += count;
  const isNumbered = names.length <= MOST_NUMBERED;
  const status = make("p", { class: "quiet", role: "status" }, isNumbered ? "" : "Choose a cell to see its classes.");
  const head = make("tr", {}, make("td", {}), ...titles.map(title =>
    make("th", { scope: "col", title, class: "turned" }, make("span", { dir: "auto" }, title))));
  const buttons = names.map(() => []);
  const lines = names.map((name, truth) => {
    const line = make("tr", {}, make("th", { scope: "row", title: name }, make("span", { dir: "auto" }, name)));
    columns.forEach((prediction, column) => {
      const count = counts.get(`${truth} ${prediction}`);
      line.append(count ? countCell(count, truth, column) : document.createElement("td"));
    });
    return line;
  });

  function countCell(count, truth, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `true ${names[truth]}, predicted ${titles[column]}: ${count.toLocaleString("en")}`;
    button.tabIndex = -1;
    button.dataset.truth = truth;
    button.dataset.column = column;
    button.textContent = isNumbered ? count.toLocaleString("en") : "";
    button.style.setProperty("--share", count / support[truth]);
    buttons[truth][column] = button;
    const cell = document.createElement("td");
    cell.append(button);
    return cell;
  }

  /** The arrow keys move to the next cell with rows; only one cell is a stop of the tab key. */
  function move(event, button) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    let [row, column] = [Number(button.dataset.truth) + step[0], Number(button.dataset.column) + step[1]];
    for (; buttons[row] && column >= 0 && column < columns.length; row += step[0], column += step[1]) {
      const target = buttons[row][column];
      if (!target) continue;
      button.tabIndex = -1;
      target.tabIndex = 0;
      target.focus();
      return;
    }
  }

  /** Calls `act(event, button)` for what happens in a button of the matrix. */
  function listen(table, kind, act) {
    table.addEventListener(kind, event => {
      const button = event.target.closest("button");
      if (button) act(event, button);
    });
  }

  const first = buttons.flat().find(Boolean);
  if (first) first.tabIndex = 0;
  const table = make("table", { class: isNumbered ? "matrix" : "matrix compact" },
    make("caption", {}, "Rows: true class. Columns: prediction."), make("thead", {}, head), make("tbody", {}, ...lines));
  listen(table, "click", (_, button) => open(Number(button.dataset.truth), columns[Number(button.dataset.column)]));
  listen(table, "focusin", (_, button) => { if (!isNumbered) status.textContent = button.title; });
  listen(table, "keydown", move);
  place.replaceChildren(
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" }, table), status);
}
