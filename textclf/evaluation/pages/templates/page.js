"use strict";

// What all pages share. Texts of rows get into the page by textContent alone, so that nothing in them is ever markup.

const PAGE_ROWS = 50;
const SHORTENED = 600; // characters of a text that are shown at first
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|^[ \u00a0\u3000]+|[ \u00a0\u3000]+$/g;
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;

/** The data of the page: JSON, compressed by gzip, in base64. */
async function pageData() {
  const packed = document.getElementById("data");
  const binary = atob(packed.textContent);
  packed.remove();
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Runs the script of a page with its data; a failure is shown in the page. */
function startPage(show) {
  addTheme();
  addSections();
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  pageData().then(show).then(() => { document.body.dataset.ready = "true"; }).catch(error => {
    const place = document.getElementById("failure");
    place.textContent = `The rows cannot be shown (${error.message}): use a current Chrome, Edge, Firefox or Safari.`;
    place.hidden = false;
    throw error;
  });
}

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? "" : value);
    }
  }
  element.append(...children);
  return element;
}

function addTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  name();
}

/** Links to the sections that have a heading. */
function addSections() {
  const links = [...document.querySelectorAll("main section[id] > h2")].map(
    heading => make("a", { href: `#${heading.parentElement.id}` }, heading.textContent));
  document.getElementById("sections").append(...links);
}

/** A text as nodes: characters that would not be seen stand as their code, spaces at the ends as dots. */
function textNodes(text, query = "") {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(INVISIBLE)) {
    nodes.push(...marked(text.slice(done, match.index), query), chip(match[0]));
    done = match.index + match[0].length;
  }
  nodes.push(...marked(text.slice(done), query));
  return nodes;
}

function chip(characters) {
  const isSpace = /^[ \u00a0\u3000]/.test(characters);
  const code = characters.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  const shown = isSpace ? "·".repeat(characters.length) : `U+${code}`;
  return make("span", { class: "chip", title: isSpace ? "white space at the end of the text" : `character U+${code}` }, shown);
}

/** A text with what was searched for marked. */
function marked(text, query) {
  if (!query || !text) return text ? [text] : [];
  const lowered = text.toLowerCase();
  if (lowered.length !== text.length) return [text]; // of a few letters the lower case is longer
  const nodes = [];
  let done = 0;
  for (let at = lowered.indexOf(query); at >= 0; at = lowered.indexOf(query, done)) {
    nodes.push(text.slice(done, at), make("mark", {}, text.slice(at, at + query.length)));
    done = at + query.length;
  }
  nodes.push(text.slice(done));
  return nodes;
}

/** A text of a row, in its own direction; a long one is shortened, with a button that shows all of it. */
function shownText(text, query = "") {
  const place = make("span", { class: "shown", dir: "auto", lang: "" });
  if (text.length <= SHORTENED) {
    place.append(...textNodes(text, query));
    return place;
  }
  const start = text.slice(0, SHORTENED).replace(/[\ud800-\udbff]$/, "").trimEnd();
  const button = make("button", { type: "button", class: "more" }, `show all ${text.length.toLocaleString("en")} characters`);
  button.addEventListener("click", () => { place.replaceChildren(...textNodes(text, query)); place.tabIndex = -1; place.focus(); });
  place.append(...textNodes(start, query), "… ", button);
  return place;
}

// Sorting

const collator = new Intl.Collator("en", { numeric: true });

/** Compares numbers and texts; what is missing comes last in both directions. */
function compared(first, second, direction) {
  const isMissing = value => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (isMissing(first) || isMissing(second)) return isMissing(first) - isMissing(second);
  const order = typeof first === "number" && typeof second === "number" ? first - second : collator.compare(first, second);
  return direction * order;
}

/** Puts a button into the header of a column; `sort(direction)` is called with 1 (ascending) or -1. */
function sortButton(header, isNumeric, sort) {
  const title = header.textContent.trim();
  const button = make("button", { type: "button" }, title);
  header.replaceChildren(button);
  button.addEventListener("click", () => {
    const before = header.getAttribute("aria-sort");
    const direction = before ? (before === "ascending" ? -1 : 1) : (isNumeric ? -1 : 1);
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    sort(direction);
  });
}

/** Makes a table of the template sortable; `data-value` of a cell is what is sorted by, else its text. */
function makeSortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((header, index) => {
    if (!header.textContent.trim()) return;
    const isNumeric = header.classList.contains("number");
    const key = row => {
      const cell = row.cells[index];
      const value = cell.dataset.value ?? cell.textContent.trim();
      return isNumeric ? (value === "" || value === "None" ? null : Number(value)) : value;
    };
    sortButton(header, isNumeric, direction => {
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort((first, second) => compared(first[0], second[0], direction));
      body.append(...rows.map(pair => pair[1]));
    });
  });
}

// Rows

/**
 * A table of rows with search, filters, sorting, pages and a CSV file.
 *
 * Options: `count` (number of rows), `caption`, `columns` (each `{title, value(row), show(row, query), numeric, kind}`;
 * `show` gives a node, by default the value as text; `kind` is a class: "text" or "name"), `texts(row)` (texts that are
 * searched), `filters` (each `{name, title, choices: [[value, title], ...], keep(row, value)}`, or with `order(value)`,
 * which gives a list of rows in its order, in place of `keep`), `csv` (`{file, columns: [{title, value(row)}]}`).
 */
class RowTable {
  constructor(host, options) {
    this.host = host;
    this.options = options;
    this.page = 0;
    this.query = "";
    this.chosen = {};
    this.sorting = null;
    this.selects = {};
    this.lowered = new Array(options.count);
    this.build();
    this.update();
  }

  build() {
    const search = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    let waiting;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { this.query = searched(search.value); this.page = 0; this.update(); }, 150);
    });
    this.search = search;
    const controls = make("div", { class: "controls" }, labelled("Search", search));
    for (const filter of this.options.filters ?? []) controls.append(this.filterControl(filter));
    controls.append(make("button", { type: "button", on: { click: () => this.clear() } }, "Clear filters"));
    if (this.options.csv) {
      this.download = make("button", { type: "button", on: { click: () => this.save() } });
      controls.append(this.download);
    }
    this.status = make("p", { role: "status", class: "quiet" });
    this.body = make("tbody");
    const headers = this.options.columns.map(column => {
      const header = make("th", { scope: "col", class: column.numeric ? "number" : null }, column.title);
      if (column.value) {
        sortButton(header, column.numeric, direction => { this.sorting = { column, direction }; this.page = 0; this.update(); });
      }
      return header;
    });
    this.headers = headers;
    const caption = make("caption", {}, this.options.caption ?? "Rows");
    const table = make("table", { class: "rows" }, caption, make("thead", {}, make("tr", {}, ...headers)), this.body);
    const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": this.options.caption ?? "Rows" }, table);
    this.back = make("button", { type: "button", on: { click: () => this.turn(-1) } }, "Previous");
    this.forth = make("button", { type: "button", on: { click: () => this.turn(1) } }, "Next");
    this.place = make("span", { class: "quiet" });
    const pager = make("div", { class: "controls pager" }, this.back, this.place, this.forth);
    this.host.replaceChildren(controls, this.status, scroll, pager);
  }

  filterControl(filter) {
    const select = make("select", {}, make("option", { value: "" }, "all"));
    for (const [value, title] of filter.choices) select.append(make("option", { value }, title));
    select.addEventListener("change", () => { this.chosen[filter.name] = select.value; this.page = 0; this.update(); });
    this.selects[filter.name] = select;
    return labelled(filter.title, select);
  }

  /** Sets filters by name, the others to "all", and moves to the table. */
  open(chosen) {
    this.clear(false);
    for (const [name, value] of Object.entries(chosen)) {
      this.chosen[name] = String(value);
      this.selects[name].value = String(value);
    }
    this.update();
    this.host.scrollIntoView();
    this.search.focus({ preventScroll: true });
  }

  clear(update = true) {
    this.chosen = {};
    this.query = "";
    this.search.value = "";
    this.sorting = null;
    this.page = 0;
    for (const header of this.headers) header.removeAttribute("aria-sort");
    for (const select of Object.values(this.selects)) select.value = "";
    if (update) this.update();
  }

  turn(step) {
    this.page += step;
    this.show();
    this.host.scrollIntoView();
  }

  textOf(row) {
    this.lowered[row] ??= searched(this.options.texts(row).filter(text => text !== null).join("\n"));
    return this.lowered[row];
  }

  /** Finds and sorts the rows. */
  update() {
    const filters = (this.options.filters ?? []).filter(filter => this.chosen[filter.name]);
    const ordered = filters.find(filter => filter.order);
    let rows = ordered ? [...ordered.order(this.chosen[ordered.name])] : Array.from({ length: this.options.count }, (_, row) => row);
    for (const filter of filters) {
      if (filter !== ordered) rows = rows.filter(row => filter.keep(row, this.chosen[filter.name]));
    }
    if (this.query) rows = rows.filter(row => this.textOf(row).includes(this.query));
    if (this.sorting) {
      const { column, direction } = this.sorting;
      const keys = new Map(rows.map(row => [row, column.value(row)]));
      rows.sort((first, second) => compared(keys.get(first), keys.get(second), direction));
    }
    this.rows = rows;
    const count = rows.length.toLocaleString("en");
    this.status.textContent = `${count} of ${this.options.count.toLocaleString("en")} rows`;
    if (this.download) this.download.textContent = `Download ${count} rows as CSV`;
    this.show();
  }

  show() {
    const start = this.page * PAGE_ROWS;
    const shown = this.rows.slice(start, start + PAGE_ROWS);
    this.body.replaceChildren(...shown.map(row => make("tr", { "data-row": row }, ...this.options.columns.map(column => this.cell(column, row)))));
    this.back.disabled = this.page === 0;
    this.forth.disabled = start + PAGE_ROWS >= this.rows.length;
    this.place.textContent = shown.length ? `${start + 1} to ${start + shown.length}` : "no rows";
  }

  cell(column, row) {
    const cell = make("td", { class: [column.numeric ? "number" : "", column.kind ?? ""].join(" ").trim() || null, "data-title": column.title });
    if (column.show) {
      cell.append(column.show(row, this.query));
    } else {
      const value = column.value(row);
      cell.append(make("span", { dir: "auto" }, value === null || value === undefined ? "–" : String(value)));
    }
    return cell;
  }

  save() {
    const { file, columns } = this.options.csv;
    const lines = [columns.map(column => column.title), ...this.rows.map(row => columns.map(column => column.value(row)))];
    saveFile(file, "\ufeff" + lines.map(line => line.map(csvCell).join(",") + "\r\n").join(""), "text/csv");
  }
}

let controls = 0;

/** A control below its label. */
function labelled(title, control) {
  control.id = `control-${++controls}`;
  return make("div", { class: "control" }, make("label", { for: control.id }, title), control);
}

function searched(text) {
  return text.normalize("NFC").toLowerCase();
}

/** A cell of a CSV file. A quote before what a spreadsheet would take for a formula makes it a text there. */
function csvCell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (FORMULA.test(text)) text = "'" + text;
  return '"' + text.replaceAll('"', '""') + '"';
}

function saveFile(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
