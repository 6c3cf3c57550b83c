// Tables that sort by a click on a heading, and show the rows that hold the words of a filter.

const ORDERS = {
  size: { sign: "|▾|", aria: "other", less: (a, b) => Math.abs(b) - Math.abs(a) },
  down: { sign: "▾", aria: "descending", less: (a, b) => b - a },
  up: { sign: "▴", aria: "ascending", less: (a, b) => a - b },
};
const TEXT = new Intl.Collator("en", { numeric: true });

for (const scores of document.querySelectorAll(".scores")) {
  const body = scores.querySelector("tbody");
  const rows = [...body.rows];
  if (rows.length < 2) continue;

  const headings = [...scores.querySelectorAll("th")];
  headings.forEach((heading, column) => {
    if (heading.classList.contains("bars")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.dataset.name = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(headings, rows, body, column));
  });

  if (rows.length > 5) filter(scores, rows);
}

function sort(headings, rows, body, column) {
  const number = (row) => row.cells[column].dataset.sort;
  const values = rows.map(number).filter((value) => value !== undefined).map(Number);
  const isNumber = values.length > 0;
  const isSigned = values.some((v) => v < 0) && values.some((v) => v > 0);
  const cycle = isSigned ? ["size", "down", "up"] : isNumber ? ["down", "up"] : ["up", "down"];
  const heading = headings[column];
  const next = cycle[(cycle.indexOf(heading.dataset.order) + 1) % cycle.length];
  const order = ORDERS[next];

  for (const other of headings) {
    other.removeAttribute("aria-sort");
    delete other.dataset.order;
    const button = other.querySelector("button");
    if (button) button.textContent = button.dataset.name;
  }
  heading.dataset.order = next;
  heading.setAttribute("aria-sort", order.aria);
  heading.querySelector("button").textContent += ` ${order.sign}`;

  const compare = (a, b) => {
    if (!isNumber) {
      const texts = TEXT.compare(a.cells[column].textContent, b.cells[column].textContent);
      return next === "up" ? texts : -texts;
    }
    const [x, y] = [number(a), number(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    return order.less(Number(x), Number(y));
  };
  body.append(...[...rows].sort(compare));
}

function filter(scores, rows) {
  const caption = scores.querySelector(".caption");
  const count = document.createElement("span");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Show the rows that hold these words");
  caption.append(count, input);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `· ${shown} shown` : "";
  });
}
