"use strict";
// Filter and sort for the table of all connections. The page says everything
// without it; the controls exist only where scripts run.
for (const table of document.querySelectorAll("table.index")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const label = document.createElement("label");
  label.className = "filter";
  label.append("show only ");
  const words = document.createElement("input");
  words.type = "search";
  words.placeholder = "verdict, address, port \u2026";
  const left = document.createElement("output");
  label.append(words, " ", left);
  table.parentNode.before(label);
  words.addEventListener("input", () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    left.textContent = wanted.length ? shown + " of " + rows.length : "";
  });
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent;
      rows.sort((a, b) => key(a).localeCompare(key(b), "en", { numeric: true }));
      if (down) rows.reverse();
      body.append(...rows);
    });
  });
}
