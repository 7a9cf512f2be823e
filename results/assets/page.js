
// Tooltips at once, and for touch. Without this script the browser shows the
// same titles after a while.
(function () {
  var tip = document.getElementById("tip");
  window.assayTips = function (within) {
    within.querySelectorAll("svg [data-tip] > title").forEach(function (t) {
      t.parentNode.dataset.tip = t.textContent;
      t.parentNode.setAttribute("aria-label", t.textContent);
      t.remove();
    });
  };
  window.assayTips(document);
  function hide() { tip.hidden = true; }
  function show(e) {
    var on = e.target.closest && e.target.closest("[data-tip]");
    if (!on) { hide(); return; }
    tip.textContent = on.dataset.tip;
    tip.hidden = false;
    var x = e.clientX + 14, y = e.clientY + 14;
    if (x + tip.offsetWidth > innerWidth - 8) x = Math.max(8, e.clientX - tip.offsetWidth - 14);
    if (y + tip.offsetHeight > innerHeight - 8) y = Math.max(8, e.clientY - tip.offsetHeight - 14);
    tip.style.transform = "translate(" + x + "px," + y + "px)";
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", function (e) { if (e.key === "Escape") hide(); });
  document.querySelectorAll("button[data-copy]").forEach(function (b) {
    if (!navigator.clipboard) return;
    b.hidden = false;
    b.addEventListener("click", function () {
      navigator.clipboard.writeText(document.getElementById(b.dataset.copy).textContent).then(function () {
        b.textContent = "Copied";
      });
    });
  });
})();
