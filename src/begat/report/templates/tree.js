(function () {
  "use strict";
  var view = document.getElementById("view"), svg = view.querySelector("svg"), tools = document.querySelector(".tools");
  var width = svg.viewBox.baseVal.width, height = svg.viewBox.baseVal.height;
  var box = { x: 0, y: 0, w: width, h: height }, held = null, pinch = 0, fingers = {};
  view.classList.add("live");
  tools.hidden = false;
  svg.setAttribute("width", "100%");
  svg.setAttribute("height", "100%");
  function show() { svg.setAttribute("viewBox", [box.x, box.y, box.w, box.h].join(" ")); }
  function fit() {
    var ratio = view.clientWidth / view.clientHeight;
    var w = Math.max(width, height * ratio, view.clientWidth * 0.75);
    box = { x: (width - w) / 2, y: (height - w / ratio) / 2, w: w, h: w / ratio };
    show();
  }
  function zoom(by, px, py) {
    var least = view.clientWidth / 6, most = Math.max(width, height) * 4;
    var w = Math.min(most, Math.max(least, box.w * by)), k = w / box.w;
    var cx = box.x + px * box.w, cy = box.y + py * box.h;
    box.x = cx - (cx - box.x) * k; box.y = cy - (cy - box.y) * k; box.w = w; box.h *= k;
    show();
  }
  function at(e) { var r = view.getBoundingClientRect(); return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height]; }
  view.addEventListener("wheel", function (e) { e.preventDefault(); var p = at(e); zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) * 0.004), p[0], p[1]); }, { passive: false });
  view.addEventListener("pointerdown", function (e) { fingers[e.pointerId] = e; held = e; pinch = 0; view.setPointerCapture(e.pointerId); view.classList.add("moving"); });
  view.addEventListener("pointermove", function (e) {
    if (!fingers[e.pointerId]) { return; }
    var before = fingers[e.pointerId], ids;
    fingers[e.pointerId] = e;
    ids = Object.keys(fingers);
    if (ids.length === 2) {
      var a = fingers[ids[0]], b = fingers[ids[1]], d = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      if (pinch) { var p = at({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 }); zoom(pinch / d, p[0], p[1]); }
      pinch = d;
    } else {
      box.x -= (e.clientX - before.clientX) * box.w / view.clientWidth;
      box.y -= (e.clientY - before.clientY) * box.h / view.clientHeight;
      show();
    }
  });
  function up(e) { delete fingers[e.pointerId]; pinch = 0; view.classList.remove("moving"); }
  view.addEventListener("pointerup", function (e) {
    var from = held; up(e);
    if (from && Math.hypot(e.clientX - from.clientX, e.clientY - from.clientY) < 4) {
      var hit = document.elementFromPoint(e.clientX, e.clientY), node = hit && hit.closest(".n[data-n]");
      light(node ? [node.dataset.n] : []);
    }
  });
  view.addEventListener("pointercancel", up);
  view.addEventListener("keydown", function (e) {
    var step = 0.12, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[e.key]) { box.x += moves[e.key][0] * box.w; box.y += moves[e.key][1] * box.h; show(); e.preventDefault(); }
    else if (e.key === "+" || e.key === "=") { zoom(0.8, 0.5, 0.5); }
    else if (e.key === "-") { zoom(1.25, 0.5, 0.5); }
    else if (e.key === "0") { fit(); }
    else if (e.key === "Escape") { light([]); }
  });
  tools.addEventListener("click", function (e) {
    var what = e.target.dataset.do;
    if (what === "fit") { fit(); } else if (what === "in") { zoom(0.8, 0.5, 0.5); } else if (what === "out") { zoom(1.25, 0.5, 0.5); }
  });
  function light(nodes) {
    var on = {};
    nodes.forEach(function (n) { on[n] = true; });
    svg.classList.toggle("lit", nodes.length > 0);
    var near = {};
    svg.querySelectorAll(".e").forEach(function (e) {
      var yes = on[e.dataset.a] || on[e.dataset.b];
      e.classList.toggle("on", !!yes);
      if (yes) { near[e.dataset.a] = near[e.dataset.b] = true; }
    });
    svg.querySelectorAll(".n[data-n]").forEach(function (n) { n.classList.toggle("on", !!(on[n.dataset.n] || near[n.dataset.n])); });
  }
  tools.querySelector("input").addEventListener("input", function (e) {
    var text = e.target.value.trim().toLowerCase(), found = [];
    if (text) { svg.querySelectorAll(".n[data-n]").forEach(function (n) { if (n.querySelector("title").textContent.toLowerCase().indexOf(text) >= 0) { found.push(n); } }); }
    light(found.map(function (n) { return n.dataset.n; }));
    tools.querySelector("output").textContent = text ? found.length + " found" : "";
    if (found.length) {
      var r = found[0].querySelector("rect");
      box.x = +r.getAttribute("x") + r.getAttribute("width") / 2 - box.w / 2; box.y = +r.getAttribute("y") - box.h / 2; show();
    }
  });
  window.addEventListener("resize", function () { box.h = box.w * view.clientHeight / view.clientWidth; show(); });
  fit();
}());
