// Sorts tables by the column whose head is pressed, and keeps them so.

// Which column each table is sorted by: key of the table to { column, down }.
const sorted = new Map();

function value(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) {
    return Number(cell.dataset.value);
  }
  return cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") {
    return a - b;
  }
  // What was not measured stands below every number.
  if (typeof a !== typeof b) {
    return typeof a === "number" ? 1 : -1;
  }
  return a.localeCompare(b, undefined, { numeric: true });
}

function sortTable(table) {
  const by = sorted.get(table.dataset.sortKey);
  const heads = table.tHead.rows[0].cells;
  for (const [column, head] of [...heads].entries()) {
    const isIt = by !== undefined && by.column === column;
    if (isIt) {
      head.setAttribute("aria-sort", by.down ? "descending" : "ascending");
    } else {
      head.removeAttribute("aria-sort");
    }
  }
  if (by === undefined || by.column >= heads.length) {
    return;
  }
  const rows = [...table.tBodies[0].rows];
  const sign = by.down ? -1 : 1;
  rows.sort((a, b) => sign * compare(value(a, by.column), value(b, by.column)));
  table.tBodies[0].append(...rows);
}

export function makeSortable(root) {
  for (const table of root.querySelectorAll("table[data-sort-key]")) {
    for (const head of table.tHead.rows[0].cells) {
      if (head.firstElementChild === null) {
        const button = head.ownerDocument.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.textContent = head.textContent;
        head.replaceChildren(button);
      }
    }
    sortTable(table);
  }
}

export function onSort(button) {
  const head = button.parentElement;
  const table = head.closest("table");
  const known = sorted.get(table.dataset.sortKey);
  const column = head.cellIndex;
  // Figures are looked at from the worst on, names from A on.
  const down =
    known !== undefined && known.column === column ? !known.down : head.classList.contains("number");
  sorted.set(table.dataset.sortKey, { column, down });
  sortTable(table);
}
