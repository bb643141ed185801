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
  document.getElementById("save").addEventListener("click", () => {
    const raw = document.getElementById("raw").textContent;
    const text = JSON.stringify(JSON.parse(raw), null, 2) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "measurement.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
