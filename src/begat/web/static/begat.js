(function () {
  "use strict";
  var json = { headers: { accept: "application/json" } };
  function post(url, body) { return fetch(url, { method: "POST", body: body, headers: json.headers }); }
  function state(job) { return fetch(job + "/state", json).then(function (r) { return r.json(); }); }
  function far(s) { return s.total ? s.at.toLocaleString("en") + " of " + s.total.toLocaleString("en") : ""; }
  function words(s) {
    if (s.state === "queued") { return s.ahead ? "waiting for " + s.ahead + (s.ahead === 1 ? " other" : " others") : "waiting"; }
    return s.task || "starting";
  }
  // Ask how a job is doing until it is over.
  function follow(job, box, then) {
    state(job).then(function (s) {
      var bar = box.querySelector("progress");
      if (s.state === "queued" || s.state === "running") {
        box.querySelector(".task").textContent = words(s);
        box.querySelector(".far").textContent = far(s);
        if (s.total) { bar.max = s.total; bar.value = s.at; } else { bar.removeAttribute("value"); }
        setTimeout(function () { follow(job, box, then); }, 300);
      } else { then(s); }
    }, function () { setTimeout(function () { follow(job, box, then); }, 2000); });
  }
  var box = document.querySelector("[data-job]");
  if (box && box.querySelector("progress")) {
    follow(box.dataset.job, box, function (s) { if (s.result) { location.replace(s.result); } else { location.reload(); } });
  }

  // Replace one part of the page by the same part of another page.
  function renew(url, part) {
    return fetch(url).then(function (r) { return r.text(); }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, "text/html").querySelector(part), old = document.querySelector(part);
      if (fresh && old) { old.replaceWith(document.importNode(fresh, true)); }
    });
  }

  // A model's page searches by itself; who leaves it cancels.
  var auto = document.querySelector("form[data-auto]");
  if (auto) {
    var running = null, part = auto.dataset.auto;
    var shown = document.createElement("div");
    shown.className = "progress";
    shown.append(document.createElement("progress"));
    var line = document.createElement("p");
    line.className = "what";
    ["task", "far"].forEach(function (name) { var span = document.createElement("span"); span.className = name; line.append(span); });
    shown.append(line);
    var stop = document.createElement("button");
    stop.type = "button";
    stop.textContent = "Cancel";
    stop.addEventListener("click", function () { if (running) { post(running + "/cancel"); } });
    shown.append(stop);
    post(auto.action).then(function (r) { return r.ok ? r.json() : null; }).then(function (found) {
      if (!found) { return; }
      running = found.job;
      auto.replaceWith(shown);
      follow(running, shown, function (s) {
        running = null;
        if (s.result) { renew(location.href, part); return; }
        shown.replaceWith(auto);
        auto.querySelector("p").textContent = s.state === "failed" ? s.error : "Cancelled.";
      });
    });
    window.addEventListener("pagehide", function () { if (running) { navigator.sendBeacon(running + "/cancel"); } });
  }

  // Filters work as one types.
  var live = document.querySelector("form[data-live]");
  if (live) {
    var timer = 0, asked = 0;
    live.addEventListener("input", function () {
      clearTimeout(timer);
      timer = setTimeout(function () {
        var kept = new URLSearchParams(), now = ++asked;
        new FormData(live).forEach(function (v, k) { if (v) { kept.append(k, v); } });
        var url = live.getAttribute("action") + (kept.size ? "?" + kept : "");
        fetch(url).then(function (r) { return r.text(); }).then(function (text) {
          if (now !== asked) { return; }
          var fresh = new DOMParser().parseFromString(text, "text/html").querySelector(live.dataset.live);
          if (fresh) { document.querySelector(live.dataset.live).replaceWith(document.importNode(fresh, true)); history.replaceState(null, "", url); ticked(); }
        });
      }, 200);
    });
  }

  // Ticked models: two to compare, two or more for a tree.
  function ticked() {
    var form = document.getElementById("picked");
    if (!form) { return; }
    var n = form.querySelectorAll("input:checked").length;
    form.querySelector("#compare").disabled = n !== 2;
    form.querySelector("#tree").disabled = n < 2;
    form.querySelector("#count").textContent = n ? n + " ticked" : "Tick models to compare two, or to lay out a tree of several.";
  }
  document.addEventListener("change", ticked);
  window.addEventListener("pageshow", ticked);

  // Dropped files: a fingerprint, or the files of one folder.
  var drop = document.querySelector(".drop");
  if (drop) {
    var says = document.getElementById("dropped"), wanted = /\.(begat|safetensors|json|txt|model)$/;
    var say = function (text) { says.textContent = text; };
    var send = function (files, name) {
      files = files.filter(function (f) { return wanted.test(f.name) && f.name[0] !== "."; });
      var total = files.reduce(function (sum, f) { return sum + f.size; }, 0);
      if (!files.length) { say("Nothing among it that could be a fingerprint or a model."); return; }
      if (files.length > +drop.dataset.files) { say("Too many files for one small model."); return; }
      if (total > +drop.dataset.most) { say("Too large. Use the path, or make a fingerprint with begat sketch and drop that."); return; }
      say("Sending…");
      var list = files.map(function (f) { return [f.name, f.size]; });
      var url = "/upload?name=" + encodeURIComponent(name.slice(0, 200)) + "&files=" + encodeURIComponent(JSON.stringify(list));
      post(url, new Blob(files)).then(function (r) {
        if (r.ok) { return r.json().then(function (found) { location.assign(found.job); }); }
        return r.text().then(function (text) {
          var wrong = new DOMParser().parseFromString(text, "text/html").querySelector(".wrong");
          say(wrong ? wrong.textContent : "That did not work.");
        });
      }, function () { say("The server did not answer."); });
    };
    var entries = function (folder) {
      return new Promise(function (yes, no) {
        var reader = folder.createReader(), all = [];
        (function more() { reader.readEntries(function (some) { if (some.length) { all = all.concat(some); more(); } else { yes(all); } }, no); }());
      });
    };
    var file = function (entry) { return new Promise(function (yes, no) { entry.file(yes, no); }); };
    drop.querySelector("input").addEventListener("change", function (e) { var f = Array.from(e.target.files); send(f, f.length ? f[0].name : ""); });
    ["dragover", "dragenter"].forEach(function (kind) { document.addEventListener(kind, function (e) { e.preventDefault(); drop.classList.add("over"); }); });
    document.addEventListener("dragleave", function (e) { if (!e.relatedTarget) { drop.classList.remove("over"); } });
    document.addEventListener("drop", function (e) {
      e.preventDefault();
      drop.classList.remove("over");
      var item = e.dataTransfer.items[0], entry = item && item.webkitGetAsEntry && item.webkitGetAsEntry();
      if (entry && entry.isDirectory) {
        entries(entry).then(function (all) { return Promise.all(all.filter(function (x) { return x.isFile; }).map(file)); })
          .then(function (files) { send(files, entry.name); }, function () { say("The folder cannot be read."); });
      } else { var f = Array.from(e.dataTransfer.files); send(f, f.length ? f[0].name : ""); }
    });
  }
}());
