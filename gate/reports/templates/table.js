// Tables sort by a click on a heading and show the rows that hold a word; without this, all is there.
"use strict";
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const numeric = heading.classList.contains("n");
      const compare = numeric
        ? (a, b) => parseFloat(text(a).replaceAll(",", "")) - parseFloat(text(b).replaceAll(",", ""))
        : (a, b) => text(a).localeCompare(text(b));
      const sorted = [...body.rows].sort(compare);
      body.append(...(up ? sorted : sorted.reverse()));
    });
  });
  const filter = document.querySelector(`[data-filters="${table.id}"]`);
  if (!filter) continue;
  filter.hidden = false;
  const count = filter.querySelector("output");
  filter.querySelector("input").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.value = `${shown} of ${body.rows.length} rows`;
  });
}
