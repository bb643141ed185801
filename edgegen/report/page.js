"use strict";
(() => {
  const tip = document.getElementById("tip");
  document.addEventListener("mousemove", (event) => {
    const text = event.target instanceof Element ? event.target.getAttribute("data-tip") : null;
    tip.style.opacity = text ? "1" : "0";
    if (!text) return;
    tip.textContent = text;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.max(8, event.clientY - tip.offsetHeight - 10) + "px";
  });
  const table = document.getElementById("candidates");
  const heads = table ? [...table.tHead.rows[0].cells] : [];
  const valueOf = (row, column, isNumber) => {
    const value = row.cells[column].dataset.value;
    if (!isNumber) return value ?? "";
    return value === undefined ? null : Number(value);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const isNumber = head.dataset.sort === "number";
      const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column, isNumber), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = isNumber ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
  const save = document.getElementById("save");
  save.addEventListener("click", () => {
    const raw = document.getElementById("raw").textContent;
    const text = JSON.stringify(JSON.parse(raw), null, 2) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = save.dataset.name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
