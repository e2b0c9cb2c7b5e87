for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort;
      const compare = (a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return down ? -order : order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
// Without this the hint stands where a table is likely to be wider than its box.
const measure = () => {
  for (const box of document.querySelectorAll(".scroll")) {
    const spills = box.scrollWidth > box.clientWidth + 1;
    box.parentElement.classList.toggle("spills", spills);
    box.parentElement.classList.toggle("fits", !spills);
  }
};
addEventListener("resize", measure);
addEventListener("toggle", measure, true);
measure();
