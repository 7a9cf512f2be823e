
// Moving through the operations: the part of the page is asked for again. Without
// this script the links and the form do the same.
(function () {
  var view = document.getElementById("explore-view"), form = document.getElementById("explore-form");
  if (!view || !form) return;
  var end = +view.dataset.end, from = +view.dataset.from, to = +view.dataset.to, busy = false, next = null;
  function query(a, b) {
    var q = new URLSearchParams(new FormData(form));
    q.set("from", a / 1e9); q.set("to", b / 1e9);
    Array.from(q.keys()).forEach(function (k) { if (q.get(k) === "") q.delete(k); });
    return q;
  }
  function show(a, b) {
    var w = Math.min(end, Math.max(1000, b - a));
    a = Math.max(0, Math.min(a, end - w)); b = a + w;
    if (busy) { next = [a, b]; return; }
    busy = true;
    var q = query(a, b);
    fetch(view.dataset.part + "?" + q).then(function (r) {
      if (!r.ok) throw new Error(r.status);
      return r.text();
    }).then(function (text) {
      view.innerHTML = text;
      from = a; to = b;
      form.elements.from.value = a / 1e9; form.elements.to.value = b / 1e9;
      history.replaceState(null, "", "?" + q + "#explore");
      window.assayTips && window.assayTips(view);
    }).catch(function (e) {
      view.setAttribute("data-error", e.message);
    }).then(function () {
      busy = false;
      if (next) { var n = next; next = null; show(n[0], n[1]); }
    });
  }
  function go(step) {
    var w = to - from;
    if (step === "left") show(from - w / 2, to - w / 2);
    else if (step === "right") show(from + w / 2, to + w / 2);
    else if (step === "in") show(from + w / 4, to - w / 4);
    else if (step === "out") show(from - w / 2, to + w / 2);
    else show(0, end);
  }
  document.querySelectorAll("[data-go]").forEach(function (a) {
    a.addEventListener("click", function (e) { e.preventDefault(); go(a.dataset.go); });
  });
  form.addEventListener("submit", function (e) {
    e.preventDefault();
    show(+form.elements.from.value * 1e9, +form.elements.to.value * 1e9);
  });
  view.addEventListener("keydown", function (e) {
    var step = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", "0": "all" }[e.key];
    if (step && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); go(step); }
  });
  // Where a pointer is in time.
  function at(e) {
    var svg = view.querySelector("svg.picture");
    if (!svg) return null;
    var box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    var x = (e.clientX - box.left) / box.width * width, left = 92, right = 1146;
    return from + (to - from) * Math.max(0, Math.min(1, (x - left) / (right - left)));
  }
  view.addEventListener("wheel", function (e) {
    if (!e.ctrlKey) return;
    var t = at(e);
    if (t === null) return;
    e.preventDefault();
    var k = e.deltaY < 0 ? 0.6 : 1 / 0.6;
    show(t - (t - from) * k, t + (to - t) * k);
  }, { passive: false });
  var start = null;
  view.addEventListener("pointerdown", function (e) { if (e.button === 0) start = at(e); });
  view.addEventListener("pointerup", function (e) {
    var t = at(e);
    if (start !== null && t !== null && Math.abs(t - start) > (to - from) / 100) show(Math.min(start, t), Math.max(start, t));
    start = null;
  });
})();
