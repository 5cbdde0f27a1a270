
"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent);
for (const k of ["evidence", "volumes", "runtimes", "findings", "pods", "containers", "images", "changes", "logins", "commands", "gaps"]) D[k] = D[k] || [];
const SVG = "http://www.w3.org/2000/svg";
const severities = ["critical", "high", "medium", "low", "informational"];
const sections = [];

// el makes an element. Text from evidence only ever becomes text or an attribute's value.
function el(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const k in attributes || {}) {
    const v = attributes[k];
    if (v === undefined || v === null || v === false) continue;
    if (k === "on") { for (const t in v) e.addEventListener(t, v[t]); } else e.setAttribute(k, v === true ? "" : v);
  }
  add(e, children);
  return e;
}
function add(e, children) {
  for (const c of children.flat(9)) if (c !== undefined && c !== null && c !== "" && c !== false) e.append(c);
  return e;
}
function svg(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  return e;
}
// visible shows what would act on the text around it, or be drawn as nothing.
const hiddenChars = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const visible = s => String(s).replace(hiddenChars, c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const number = n => Number(n).toLocaleString("en");
const time = t => t ? t.slice(0, 10) + " " + t.slice(11, 19) + "Z" : "";
function size(n) {
  if (n === undefined || n === null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i ? n.toFixed(1) : n) + " " + units[i];
}
const quote = s => /^[A-Za-z0-9_@%+=:,./-]+$/.test(s) ? s : "'" + s.replace(/'/g, "'\\''") + "'";
const evidenceName = quote(D.evidence.length ? D.evidence[0].name : "EVIDENCE");
const shell = (...words) => "lagan " + words.shift() + " " + [evidenceName, ...words.map(quote)].join(" ");
const sev = s => el("span", {class: "sev " + s}, s);
const worst = list => list.reduce((a, i) => { const s = severities.indexOf(D.findings[i].severity); return a < 0 || s < a ? s : a; }, -1);

function section(id, title, ...children) {
  const s = el("section", {id, "aria-labelledby": id + "-h"}, el("h2", {id: id + "-h"}, title), children);
  sections.push([id, title]);
  document.getElementById("main").append(s);
  return s;
}

// table makes a table that sorts by any column and shows its rows in portions.
// A column is [heading, row => value to sort by, row => what is shown, class].
function table(rows, columns, o = {}) {
  const body = el("tbody"), head = el("tr");
  const box = el("div"), note = el("p", {class: "more soft", role: "status"});
  let shown = o.portion || 100, order = rows.slice(), filter = "", by = -1, down = false;
  const text = new Map();
  const match = r => {
    if (!filter) return true;
    if (!text.has(r)) text.set(r, columns.map(c => String(c[1](r) ?? "")).join("\u0001").toLowerCase());
    return text.get(r).includes(filter);
  };
  function draw() {
    const fit = order.filter(r => (!o.keep || o.keep(r)) && match(r));
    body.replaceChildren(...fit.slice(0, shown).map(r => el("tr", {id: o.id && o.id(r)}, columns.map(c => el("td", {class: c[3]}, (c[2] || (x => visible(c[1](x) ?? "")))(r))))));
    note.replaceChildren();
    if (fit.length > shown) {
      note.append(`${number(shown)} of ${number(fit.length)} rows. `, el("button", {type: "button", on: {click: () => { shown += 500; draw(); }}}, "Show more"));
    } else if (filter) note.append(`${number(fit.length)} of ${number(rows.length)} rows.`);
  }
  columns.forEach((c, i) => {
    const th = el("th", {scope: "col", class: c[3] === "num" ? "num" : undefined});
    th.append(el("button", {type: "button", on: {click: () => {
      down = by === i ? !down : false;
      by = i;
      order = rows.slice().sort((a, b) => {
        const x = c[1](a) ?? "", y = c[1](b) ?? "";
        const d = typeof x === "number" && typeof y === "number" ? x - y : String(x) < String(y) ? -1 : String(x) > String(y) ? 1 : 0;
        return down ? -d : d;
      });
      for (const h of head.children) h.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      draw();
    }}}, c[0]));
    head.append(th);
  });
  if (rows.length > 8 || o.controls) {
    const input = el("input", {type: "search", placeholder: "Filter", "aria-label": "Filter " + (o.name || "rows"), on: {input: () => { filter = input.value.toLowerCase(); draw(); }}});
    box.append(el("div", {class: "bar"}, input, o.controls ? o.controls(draw) : []));
  }
  box.append(el("div", {class: "wrap"}, el("table", {}, el("thead", {}, head), body)), note);
  draw();
  return box;
}

const containerLink = i => i < 0 || !D.containers[i] ? "" : el("a", {href: "#c" + i}, visible(D.containers[i].name));
const byID = new Map(D.containers.map((c, i) => [c.id, i]));
const findingLink = i => el("a", {href: "#f" + i}, visible(D.findings[i].title));

// --- head
function head() {
  const disk = D.evidence[0] || {name: "?"};
  const theme = el("button", {type: "button", on: {click: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark")}}, "Dark");
  function setTheme(t) { document.documentElement.dataset.theme = t; theme.textContent = t === "dark" ? "Light" : "Dark"; theme.setAttribute("aria-label", "Switch to " + (t === "dark" ? "light" : "dark") + " colours"); }
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const sys = [D.system.os, D.system.kubernetes].filter(Boolean).map(visible).join(", ");
  document.getElementById("top").append(
    el("div", {class: "row"}, el("div", {}, el("h1", {}, visible(D.system.hostname || disk.name)), el("p", {class: "soft"}, [visible(disk.name), sys, D.timeline.first ? "events " + time(D.timeline.first) + " to " + time(D.timeline.last) : ""].filter(Boolean).join("; "))),
      el("div", {class: "bar"}, theme, el("button", {type: "button", on: {click: () => print()}}, "Print"))),
    el("div", {class: "tiles"},
      severities.filter(s => D.counts.findings[s]).map(s => el("div", {class: "tile"}, el("b", {class: s}, number(D.counts.findings[s])), s + " finding" + (D.counts.findings[s] === 1 ? "" : "s"))),
      [["containers", D.counts.containers], ["pods", D.counts.pods], ["images", D.counts.images], ["events", D.counts.events]].map(([k, n]) => el("div", {class: "tile"}, el("b", {}, number(n)), k))));
}

// --- findings
function place(e) {
  const out = [el("span", {class: "path"}, visible(e.place))];
  const i = e.container ? byID.get(e.container.id) : undefined;
  if (i !== undefined && !e.place.startsWith("CONTAINER:")) out.push(el("br"), "written by ", containerLink(i));
  return out;
}
function check(e) {
  if (e.kind === "image") return shell("verify");
  const node = e.place.startsWith("NODE:");
  const who = node ? "@node" : e.container ? e.container.id || e.container.name : "";
  if (!who) return "";
  if (e.kind === "container" && !e.path) return shell("inspect", who);
  if (!e.path) return "";
  if (e.file && e.file.change && /deleted|opaque/.test(e.file.change)) return shell("diff", who);
  if (e.place.includes("/pods/") && e.kind === "log" && !node) return shell("logs", who);
  return shell(e.file && !e.file.size ? "ls" : "cat", who, e.path);
}
function fileOf(e) {
  const f = e.file;
  if (!f) return e.offset !== undefined ? "line at byte " + number(e.offset) : "";
  const out = [[f.change, f.mode, "uid " + f.uid, size(f.size)].filter(Boolean).join(", ")];
  if (f.target) out.push(el("br"), "to ", el("code", {}, visible(f.target)));
  out.push(el("br"), el("span", {class: "soft"}, ["m " + time(f.mtime), "c " + time(f.ctime), f.btime ? "b " + time(f.btime) : ""].filter(x => x.length > 3).join("; ")));
  if (f.sha256) out.push(el("br"), el("a", {href: "#h-" + f.sha256, class: "path"}, f.sha256.slice(0, 16) + "\u2026"));
  return out;
}
function findingBody(f, i) {
  const owner = f.container ? byID.get(f.container.id) : undefined;
  return el("div", {class: "body"},
    f.description && el("p", {}, visible(f.description)),
    el("dl", {},
      el("dt", {}, "May be harmless"), el("dd", {}, visible(f.false_positives || "not known")),
      el("dt", {}, "ATT&CK"), el("dd", {}, (f.techniques || []).join(", ") || "none"),
      el("dt", {}, "Rule"), el("dd", {}, el("code", {}, visible(f.rule))),
      owner !== undefined && [el("dt", {}, "Container"), el("dd", {}, containerLink(owner))],
      f.first && [el("dt", {}, "When"), el("dd", {}, time(f.first) + (f.last !== f.first ? " to " + time(f.last) : "") + " ", el("button", {type: "button", on: {click: () => zoomTo(f.first, f.last)}}, "Show in the timeline"))]),
    table(f.evidence, [
      ["Evidence", e => e.place, place, "long"],
      ["What", e => (e.field || "") + " " + (e.value || ""), e => [e.field && el("span", {class: "soft"}, visible(e.field) + ": "), el("code", {}, visible(e.value || ""))], "long"],
      ["When", e => e.time || "", e => [time(e.time), el("br"), el("span", {class: "soft"}, e.time_of || "")], "time"],
      ["File", e => e.file ? e.file.size : 0, fileOf],
      ["Check", e => check(e), e => { const c = check(e); return c ? el("code", {}, visible(c)) : ""; }, "long"],
    ], {portion: 25, name: "evidence"}),
    f.evidence_count > f.evidence.length && el("p", {class: "soft"}, `${number(f.evidence.length)} of ${number(f.evidence_count)} pieces of evidence; lagan findings -O json has more.`));
}
// gist is the first piece of evidence in a line.
function gist(f) {
  const e = f.evidence[0];
  if (!e) return "";
  const where = e.kind === "container" && e.container ? e.container.name : e.path || e.place;
  const more = f.evidence_count > 1 ? ` and ${number(f.evidence_count - 1)} more` : "";
  const value = e.value && e.value !== e.path && !/^(true|elf|script|added|modified|deleted|opaque)$/.test(e.value) ? ": " + e.value : "";
  return visible((where + value).slice(0, 180) + more);
}
function findings() {
  const list = el("div"), on = new Set(severities.filter(s => s !== "informational"));
  if (!D.findings.some(f => on.has(f.severity))) on.add("informational");
  const input = el("input", {type: "search", placeholder: "Filter findings", "aria-label": "Filter findings", on: {input: draw}});
  const items = D.findings.map((f, i) => {
    const d = el("details", {class: "finding", id: "f" + i}, el("summary", {}, sev(f.severity), el("span", {class: "what"}, visible(f.title), el("span", {class: "gist path"}, gist(f))), el("span", {class: "whose"}, el("span", {class: "path"}, visible(f.object)), el("br"), el("span", {class: "soft"}, [time(f.first), (f.techniques || [])[0]].filter(Boolean).join(", ")))));
    d.addEventListener("toggle", () => { if (d.open && d.children.length === 1) d.append(findingBody(f, i)); });
    d.open_ = () => { on.add(f.severity); draw(); d.open = true; };
    return d;
  });
  const text = D.findings.map(f => JSON.stringify(f).toLowerCase());
  const status = el("span", {class: "soft", role: "status"});
  function draw() {
    const want = input.value.toLowerCase();
    const fit = items.filter((d, i) => on.has(D.findings[i].severity) && (!want || text[i].includes(want)));
    list.replaceChildren(...fit);
    status.textContent = fit.length === items.length ? "" : `${number(fit.length)} of ${number(items.length)}`;
    for (const b of chips) b.setAttribute("aria-pressed", on.has(b.value));
  }
  const chips = severities.filter(s => D.counts.findings[s]).map(s => el("button", {type: "button", value: s, on: {click: () => { on.has(s) ? on.delete(s) : on.add(s); draw(); }}}, `${s} ${D.counts.findings[s]}`));
  section("findings", "Findings", D.findings.length ? [el("div", {class: "bar"}, input, chips, status), list] : el("p", {}, "No rule was met."));
  draw();
  addEventListener("beforeprint", () => { for (const d of items) if (d.isConnected) { d.open = true; if (d.children.length === 1) d.append(findingBody(D.findings[+d.id.slice(1)])); } });
  return items;
}

// --- timeline
let zoomTo = () => {};
function timeline() {
  const T = D.timeline, cells = T.cells;
  if (!cells.length) { section("timeline", "Timeline", el("p", {}, "No event has a time.")); return; }
  const totals = T.owners.map(() => 0);
  for (const c of cells) totals[c[3]] += c[4];
  const rank = T.owners.map((o, i) => {
    const c = o.container >= 0 ? D.containers[o.container] : null;
    return {i, weight: c ? (c.severity ? (5 - severities.indexOf(c.severity)) * 1e9 : 0) + totals[i] : -1, named: !c};
  }).sort((a, b) => b.weight - a.weight);
  const colour = T.owners.map(() => 9), groups = [];
  for (const r of rank) if (!r.named && groups.length < 7) { colour[r.i] = groups.length + 1; groups.push([colour[r.i], visible(T.owners[r.i].name), T.owners[r.i].container]); }
  for (const r of rank) if (r.named) { colour[r.i] = r.i === 0 ? 0 : 8; }
  groups.push([0, visible(T.owners[0].name), -1]);
  if (rank.some(r => r.named && r.i !== 0)) groups.push([8, "images", -1]);
  if (colour.some(c => c === 9)) groups.push([9, "other containers", -1]);
  const unit = {60: "the minute", 600: "ten minutes", 3600: "the hour", 21600: "six hours", 86400: "the day"}[cells[0][1]] || cells[0][1] / 86400 + " days";
  const kinds = new Set(T.kinds.map((_, i) => i)), colours = new Set(groups.map(g => g[0]));
  const first = cells[0][0], last = cells.reduce((m, c) => Math.max(m, c[0] + c[1]), 0);
  const marks = D.findings.flatMap((f, i) => severities.indexOf(f.severity) < 3 ? f.evidence.filter(e => e.time).map(e => [Date.parse(e.time) / 1000, i]) : []);
  let from, to;
  function incident() {
    const t = marks.map(m => m[0]).filter(x => x > 0).sort((a, b) => a - b);
    if (!t.length) return [first, last];
    // The densest part of the findings, not a time that was set back by years.
    const mid = t[Math.floor(t.length / 2)];
    const near = t.filter(x => Math.abs(x - mid) < 7 * 86400);
    return [near[0] - 3 * 3600, near[near.length - 1] + 3 * 3600];
  }
  const chart = svg("svg", {class: "chart", role: "img", tabindex: "0", "aria-label": "Events by time, coloured by container. Arrow keys move, plus and minus zoom."});
  const over = svg("svg", {class: "chart overview", "aria-hidden": "true"});
  const info = el("div", {"aria-live": "polite"}), range = el("span", {class: "soft"});
  const scale = n => Math.sqrt(n);
  const iso = s => new Date(s * 1000).toISOString();
  function bins(a, b, n) {
    const step = Math.max((b - a) / n, 1), out = Array.from({length: n}, () => null);
    for (const c of cells) {
      if (c[0] + c[1] <= a || c[0] >= b || !kinds.has(c[2]) || !colours.has(colour[c[3]])) continue;
      const at = Math.min(n - 1, Math.max(0, Math.floor((c[0] + c[1] / 2 - a) / step)));
      const bin = out[at] || (out[at] = {total: 0, by: {}});
      bin.total += c[4];
      bin.by[colour[c[3]]] = (bin.by[colour[c[3]]] || 0) + c[4];
    }
    return [out, step];
  }
  function paint(target, a, b, h, small) {
    const w = target.clientWidth || 1000, base = small ? h - 2 : h - 22, n = Math.max(20, Math.min(240, Math.floor(w / 5)));
    const [out, step] = bins(a, b, n);
    const most = Math.max(1, ...out.map(x => x ? x.total : 0));
    target.setAttribute("viewBox", `0 0 ${w} ${h}`);
    target.replaceChildren();
    if (!small) for (const part of [1, .25]) {
      const y = base - (base - 14) * scale(part);
      target.append(svg("line", {class: "grid", x1: 0, x2: w, y1: y, y2: y}), svg("text", {x: 3, y: y - 3}, number(Math.round(most * part))));
    }
    out.forEach((bin, i) => {
      if (!bin) return;
      const x = i * w / n, full = (base - (small ? 3 : 14)) * scale(bin.total / most);
      let y = base;
      for (const g of groups) {
        const v = bin.by[g[0]];
        if (!v) continue;
        const bar = Math.max(full * v / bin.total, .7);
        y -= bar;
        target.append(svg("rect", {class: "o" + g[0], x: x.toFixed(1), y: y.toFixed(1), width: Math.max(1, w / n - 1).toFixed(1), height: bar.toFixed(1)}));
      }
    });
    if (!small) {
      for (const [t, i] of marks) if (t >= a && t <= b) {
        const x = (t - a) / (b - a) * w;
        const m = svg("path", {class: "mark", d: `M${x - 4} 0h8l-4 7z`});
        m.append(svg("title", {}, visible(D.findings[i].title) + ", " + iso(t).slice(0, 19) + "Z"));
        target.append(m);
      }
      const parts = Math.max(2, Math.floor(w / 150));
      for (let k = 0; k <= parts; k++) {
        const at = a + (b - a) * k / parts, long = b - a > 3 * 86400;
        target.append(svg("text", {x: w * k / parts, y: h - 6, "text-anchor": k === 0 ? "start" : k === parts ? "end" : "middle"}, long ? iso(at).slice(0, 10) : iso(at).slice(5, 16).replace("T", " ")));
      }
    } else target.append(svg("rect", {class: "pick", x: (Math.max(from, first) - first) / (last - first) * w, width: Math.max(3, (Math.min(to, last) - Math.max(from, first)) / (last - first) * w), y: 0, height: h}));
    return step;
  }
  function draw() {
    const step = paint(chart, from, to, chart.clientHeight || 260, false);
    paint(over, first, last, over.clientHeight || 46, true);
    range.textContent = `${iso(from).slice(0, 16).replace("T", " ")}Z to ${iso(to).slice(0, 16).replace("T", " ")}Z, one bar ${step >= 86400 ? (step / 86400).toFixed(1) + " days" : step >= 3600 ? (step / 3600).toFixed(1) + " hours" : Math.round(step / 60) + " minutes"} (counted by ${unit}; heights by square root)`;
  }
  function set(a, b) {
    const least = 20 * 60;
    if (b - a < least) { const m = (a + b) / 2; a = m - least / 2; b = m + least / 2; }
    const span = Math.min(b - a, last - first + 2 * 86400);
    a = Math.max(Math.min(a, last + 86400 - span), first - 86400);
    from = a; to = a + span;
    draw();
  }
  const zoom = (k, at = .5) => { const s = (to - from) * k, m = from + (to - from) * at; set(m - s * at, m + s * (1 - at)); };
  const move = k => { const d = (to - from) * k; set(from + d, to + d); };
  zoomTo = (a, b) => { const x = Date.parse(a) / 1000, y = Date.parse(b || a) / 1000, pad = Math.max(1800, (y - x) * .1); set(x - pad, y + pad); document.getElementById("timeline").scrollIntoView(); chart.focus({preventScroll: true}); };
  function pick(x) {
    const w = chart.clientWidth, n = Math.max(20, Math.min(240, Math.floor(w / 5))), i = Math.floor(x / w * n), step = (to - from) / n;
    const a = from + i * step, b = a + step, rows = new Map();
    for (const c of cells) {
      const at = Math.min(n - 1, Math.max(0, Math.floor((c[0] + c[1] / 2 - from) / step)));
      if (at !== i || c[0] + c[1] <= from || c[0] >= to || !kinds.has(c[2]) || !colours.has(colour[c[3]])) continue;
      const k = c[3] + " " + c[2];
      rows.set(k, (rows.get(k) || 0) + c[4]);
    }
    const list = [...rows].map(([k, v]) => { const [o, kind] = k.split(" ").map(Number); return {o, kind, v}; }).sort((p, q) => q.v - p.v);
    const here = [...new Set(marks.filter(m => m[0] >= a && m[0] < b).map(m => m[1]))];
    info.replaceChildren(el("h3", {}, `${iso(a).slice(0, 16).replace("T", " ")}Z to ${iso(b).slice(0, 16).replace("T", " ")}Z`),
      here.length ? el("p", {}, "Findings: ", here.map((f, k) => [k ? ", " : "", findingLink(f)])) : "",
      list.length ? table(list, [["Whose", r => T.owners[r.o].name, r => T.owners[r.o].container >= 0 ? containerLink(T.owners[r.o].container) : visible(T.owners[r.o].name)], ["Kind", r => T.kinds[r.kind]], ["Events", r => r.v, r => number(r.v), "num"]], {portion: 20, name: "events"}) : el("p", {}, "Nothing here."),
      el("p", {}, "All of them: ", el("code", {}, visible(shell("timeline", "--since", iso(a).slice(0, 19) + "Z", "--until", iso(b).slice(0, 19) + "Z")))));
  }
  let start = null;
  chart.addEventListener("pointerdown", e => { start = {x: e.offsetX, from, to, moved: false}; chart.setPointerCapture(e.pointerId); });
  chart.addEventListener("pointermove", e => {
    if (!start) return;
    const d = e.offsetX - start.x;
    if (Math.abs(d) > 4) { start.moved = true; const s = -(d / chart.clientWidth) * (start.to - start.from); set(start.from + s, start.to + s); }
  });
  chart.addEventListener("pointerup", e => { if (start && !start.moved) pick(e.offsetX); start = null; });
  chart.addEventListener("wheel", e => { if (!e.ctrlKey && !e.shiftKey) return; e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : .8, e.offsetX / chart.clientWidth); }, {passive: false});
  chart.addEventListener("keydown", e => {
    const keys = {ArrowLeft: () => move(-.2), ArrowRight: () => move(.2), "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1.6), Home: () => set(first, last), Enter: () => pick(chart.clientWidth / 2)};
    if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
  });
  over.addEventListener("pointerdown", e => { const at = first + e.offsetX / over.clientWidth * (last - first), h = (to - from) / 2; set(at - h, at + h); });
  const button = (text, f, label) => el("button", {type: "button", "aria-label": label, on: {click: f}}, text);
  const box = (checked, label, f) => { const i = el("input", {type: "checkbox", checked, on: {change: () => { f(i.checked); draw(); }}}); return el("label", {}, i, " ", label); };
  section("timeline", "Timeline",
    el("div", {class: "bar"}, button("Findings", () => set(...incident())), button("All", () => set(first, last)), button("+", () => zoom(.5), "Zoom in"), button("\u2212", () => zoom(2), "Zoom out"), button("\u2190", () => move(-.4), "Earlier"), button("\u2192", () => move(.4), "Later"), range),
    chart, over,
    el("p", {class: "soft"}, "Click a bar for what it counts; drag to move; Ctrl and the wheel zoom; with the chart focused, arrows, +, \u2212 and Home. Triangles are evidence of findings of medium severity or more."),
    el("div", {class: "legend"}, groups.map(g => box(true, [el("span", {class: "swatch o" + g[0]}), g[2] >= 0 ? containerLink(g[2]) : g[1]], on => on ? colours.add(g[0]) : colours.delete(g[0])))),
    el("div", {class: "legend"}, T.kinds.map((k, i) => box(true, k, on => on ? kinds.add(i) : kinds.delete(i)))),
    info);
  set(...incident());
  let wait = 0;
  addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(draw, 100); });
}

// --- pods and containers
function pods() {
  const item = i => {
    const c = D.containers[i];
    return el("li", {}, el("a", {href: "#c" + i}, visible(c.name)), " ", el("span", {class: "soft"}, [c.kind === "sandbox" ? "sandbox" : visible(c.image || ""), c.state].filter(Boolean).join(", ")),
      (c.findings || []).length ? el("ul", {}, c.findings.map(f => el("li", {}, sev(D.findings[f].severity), " ", findingLink(f)))) : "");
  };
  const inPod = new Set(), spaces = new Map();
  D.pods.forEach(p => { p.containers.forEach(i => inPod.add(i)); const k = p.namespace || ""; spaces.set(k, [...(spaces.get(k) || []), p]); });
  const weigh = list => worst(list.flatMap(i => D.containers[i].findings || []));
  const open = list => { const w = weigh(list); return w >= 0 && w < 3; };
  const roots = [...spaces].map(([name, list]) => {
    const all = list.flatMap(p => p.containers);
    return [weigh(all), el("li", {}, el("details", {open: spaces.size < 12 || open(all)}, el("summary", {}, el("b", {}, visible(name || "pods without a namespace")), el("span", {class: "soft"}, ` ${number(list.length)} pod${list.length === 1 ? "" : "s"}`)),
      el("ul", {}, list.map(p => el("li", {}, el("details", {open: list.length < 40 || open(p.containers)}, el("summary", {}, visible(p.name || p.uid), " ", el("span", {class: "soft"}, p.containers.length ? "" : "of which only traces are left: " + (p.found || []).join(", "))),
        el("ul", {}, p.containers.map(item), (p.gone || []).map(g => el("li", {class: "soft"}, visible(g) + ", known no longer"))))))))) ];
  });
  const loose = D.containers.map((_, i) => i).filter(i => !inPod.has(i));
  const node = D.findings.map((f, i) => i).filter(i => !D.findings[i].container && D.findings[i].severity !== "informational");
  section("containers-tree", "Pods and containers", el("ul", {class: "tree"},
    el("li", {}, el("details", {open: true}, el("summary", {}, el("b", {}, "The node, its images, and what several containers share")), el("ul", {}, node.map(f => el("li", {}, sev(D.findings[f].severity), " ", findingLink(f), " ", el("span", {class: "soft path"}, visible(D.findings[f].object))))))),
    roots.sort((a, b) => (a[0] < 0 ? 9 : a[0]) - (b[0] < 0 ? 9 : b[0])).map(r => r[1]),
    loose.length ? el("li", {}, el("details", {open: loose.length < 60 || open(loose)}, el("summary", {}, el("b", {}, "Containers without a pod")), el("ul", {}, loose.map(item)))) : ""));
}

// --- changes
function changes() {
  if (!D.changes.length) return;
  section("changes", "What the containers with findings changed", D.changes.map(c => {
    const d = el("details", {id: "changes-" + c.container}, el("summary", {}, el("b", {}, visible(D.containers[c.container].name)), el("span", {class: "soft"}, ` ${number(c.total)} paths`)));
    d.addEventListener("toggle", () => { if (d.open && d.children.length === 1) d.append(changesBody(c)); });
    if (D.changes.length === 1) { d.open = true; d.append(changesBody(c)); }
    return d;
  }));
}
function changesBody(c) {
  const root = {sub: new Map(), self: null};
  for (const p of c.paths) {
    let at = root;
    for (const part of p.path.split("/").filter(Boolean)) { if (!at.sub.has(part)) at.sub.set(part, {sub: new Map(), self: null}); at = at.sub.get(part); }
    at.self = p;
  }
  const letters = {added: "A", modified: "C", metadata_modified: "C", deleted: "D", opaque: "D"};
  const name = (k, n) => [el("span", {class: "letter " + (n.self ? letters[n.self.kind] || "" : "")}, n.self ? letters[n.self.kind] || "" : ""), el("span", {class: "path"}, visible(k)),
    n.self && n.self.kind !== "deleted" ? el("span", {class: "soft"}, " " + [n.self.mode, n.self.type === "directory" ? "" : size(n.self.size), time(n.self.ctime)].filter(Boolean).join(", ")) : ""];
  const list = (n, depth) => el("ul", {class: depth ? "" : "tree"}, [...n.sub].map(([k, v]) => el("li", {}, v.sub.size ? el("details", {open: depth < 3 || n.sub.size < 6}, el("summary", {}, name(k + "/", v)), list(v, depth + 1)) : name(k, v))));
  return [el("p", {class: "soft"}, c.paths.length < c.total ? `${number(c.paths.length)} of ${number(c.total)} paths. ` : "", "A added, C changed, D deleted. ", el("code", {}, visible(shell("diff", D.containers[c.container].id)))), list(root, 0)].reduce((b, x) => (b.append(x), b), el("div"));
}

// --- logins and commands
function story() {
  const rows = [
    ...D.logins.map(l => ({t: l.time, what: "login", how: l.result, who: l.user || (l.users || []).join(", "), where: l.from || "", text: l.count > 1 ? `${number(l.count)} attempts until ${time(l.last)}` : l.text || "", place: l.place, offset: l.offset, mark: l.result !== "failure"})),
    ...D.commands.map(c => ({t: c.time || "", what: "command", how: c.via, who: c.user || "", where: c.owner, text: c.command, place: c.place, offset: c.offset, note: c.time_assumption, mark: c.finding})),
  ].sort((a, b) => a.t < b.t ? -1 : a.t > b.t ? 1 : a.place < b.place ? -1 : a.place > b.place ? 1 : a.offset - b.offset);
  let only = "";
  section("story", "Logins and commands", rows.length ? table(rows, [
    ["When", r => r.t, r => [time(r.t), r.note ? el("span", {class: "soft", title: r.note}, " inferred") : ""], "time"],
    ["What", r => r.what + " " + r.how],
    ["Who", r => r.who],
    ["From or in", r => r.where],
    ["Text", r => r.text, r => r.what === "command" ? el("code", {class: r.mark ? "high" : ""}, visible(r.text)) : visible(r.text), "long"],
    ["Evidence", r => r.place, r => [el("span", {class: "path"}, visible(r.place)), el("span", {class: "soft"}, " at byte " + number(r.offset))], "long"],
  ], {name: "logins and commands", keep: r => !only || (only === "marked" ? r.mark : r.what === only), controls: draw => [["All", ""], ["Logins", "login"], ["Commands", "command"], ["Let in, or evidence", "marked"]].map(([t, v]) => {
    const b = el("button", {type: "button", "aria-pressed": v === "", on: {click: () => { only = v; for (const x of b.parentNode.querySelectorAll("button")) x.setAttribute("aria-pressed", x === b); draw(); }}}, t);
    return b;
  })}) : el("p", {}, "No login and no command was found."));
}

// --- lists
// tally counts findings by severity, each count a link to the first of them.
function tally(list) {
  return severities.map(s => { const of = list.filter(f => D.findings[f].severity === s); return of.length ? [el("a", {href: "#f" + of[0], class: s, "aria-label": `${of.length} ${s}, the first of them`}, `${of.length} ${s}`), el("br")] : ""; });
}
function lists() {
  section("containers", "Containers", table(D.containers.map((c, i) => ({c, i})), [
    ["Name", r => r.c.name, r => [el("b", {class: "path"}, visible(r.c.name)), r.c.kind === "sandbox" ? " (sandbox)" : "", el("br"), el("span", {class: "soft path"}, visible(r.c.id).slice(0, 12))], "long"],
    ["Findings", r => (r.c.findings || []).length, r => tally(r.c.findings || [])],
    ["State", r => r.c.state || "", r => visible((r.c.state || "") + (r.c.exit_code !== undefined ? ` (${r.c.exit_code})` : "")) + (r.c.privileged ? ", privileged" : "")],
    ["Image", r => r.c.image || "", r => el("span", {class: "path"}, visible(r.c.image || "")), "long"],
    ["Command", r => r.c.command || "", r => el("code", {}, visible((r.c.command || "").slice(0, 300))), "long"],
    ["Created", r => r.c.created || "", r => time(r.c.created), "time"],
    ["Started", r => r.c.started || "", r => time(r.c.started), "time"],
    ["Ended", r => r.c.finished || "", r => time(r.c.finished), "time"],
    ["Changes", r => r.c.added + r.c.modified + r.c.deleted, r => D.changes.some(x => x.container === r.i) ? el("a", {href: "#changes-" + r.i}, `A ${r.c.added} C ${r.c.modified} D ${r.c.deleted}`) : `A ${r.c.added} C ${r.c.modified} D ${r.c.deleted}`, "time"],
    ["Check", r => r.c.id, r => el("code", {}, visible(shell("inspect", r.c.id))), "long"],
  ], {name: "containers", id: r => "c" + r.i, portion: 1000}));
  section("images", "Images", table(D.images, [
    ["Names", i => (i.names || []).join(" "), i => el("span", {class: "path"}, visible((i.names || []).join(" ") || i.id)), "long"],
    ["Digest", i => i.digest || "", i => el("span", {class: "path"}, visible(i.digest || "none: " + i.id)), "long"],
    ["Runtime", i => i.runtime], ["Created", i => i.created || "", i => time(i.created), "time"], ["Size", i => i.size || 0, i => size(i.size), "num"], ["Containers", i => i.containers, i => number(i.containers), "num"],
  ], {name: "images"}));
  section("disk", "Disk and runtimes",
    el("h3", {}, "Volumes"), table(D.volumes, [["Volume", v => v.index, v => v.index, "num"], ["Partition", v => v.partition || ""], ["Start", v => v.start, v => number(v.start), "num"], ["Size", v => v.size, v => size(v.size), "num"], ["Content", v => v.content || ""], ["UUID", v => v.uuid || "", v => el("span", {class: "path"}, visible(v.uuid || ""))], ["Mounted at", v => v.mounted_at || ""], ["Journal", v => v.journal || "", null, "long"], ["Made", v => v.created || "", v => time(v.created), "time"]]),
    el("h3", {}, "Data roots"), table(D.runtimes, [["Runtime", r => r.name], ["Path", r => r.path, r => el("span", {class: "path"}, visible(r.path))], ["Found by", r => r.found || ""], ["Containers", r => r.containers, r => number(r.containers), "num"], ["Sandboxes", r => r.sandboxes, r => number(r.sandboxes), "num"], ["Images", r => r.images, r => number(r.images), "num"]]));
}

// --- hashes and how to check
function proof() {
  const files = new Map();
  for (const [i, f] of D.findings.entries()) for (const e of f.evidence) if (e.file && e.file.sha256) {
    const key = e.file.sha256 + e.place;
    if (!files.has(key)) files.set(key, {sha: e.file.sha256, place: e.place, size: e.file.size, in: new Set()});
    files.get(key).in.add(i);
  }
  const seen = new Set();
  const rows = [...files.values()].map(f => { const id = seen.has(f.sha) ? undefined : "h-" + f.sha; seen.add(f.sha); return {...f, id}; });
  section("check", "Hashes, and how to check",
    el("p", {}, "The same evidence gives the same report, byte for byte. Made with lagan ", visible(D.version), ":"), el("pre", {}, visible("lagan " + D.command.map(quote).join(" "))),
    el("h3", {}, "Evidence"), table(D.evidence, [["Name", d => d.name, d => el("span", {class: "path"}, visible(d.name))], ["Form", d => d.format], ["Bytes, unpacked", d => d.size || 0, d => d.size > 0 ? number(d.size) : "", "num"], ["SHA-256", d => d.sha256 || "", d => el("span", {class: "path"}, d.sha256 || "not asked for, or a folder"), "long"], ["MD5", d => d.md5 || "", d => el("span", {class: "path"}, d.md5 || "")]]),
    el("p", {}, "To compare them: ", el("code", {}, visible(shell("info", "--hash")))),
    rows.length ? [el("h3", {}, "Files that are evidence"), table(rows, [["SHA-256", r => r.sha, r => el("span", {class: "path"}, r.sha), "long"], ["File", r => r.place, r => el("span", {class: "path"}, visible(r.place)), "long"], ["Size", r => r.size, r => size(r.size), "num"], ["Finding", r => D.findings[[...r.in][0]].title, r => [...r.in].map((i, k) => [k ? ", " : "", findingLink(i)])]], {id: r => r.id, name: "files", portion: 200})] : "",
    el("h3", {}, "What could not be read"), D.gaps.length ? table(D.gaps, [["Object", g => g.object || "", g => el("span", {class: "path"}, visible(g.object || "")), "long"], ["Why", g => g.message, null, "long"]]) : el("p", {}, "Nothing: all was read."),
    (D.cut || []).length ? [el("h3", {}, "Left out of this page"), el("ul", {}, D.cut.map(c => el("li", {}, visible(c))))] : "");
}

head();
const items = findings();
timeline();
pods();
changes();
story();
lists();
proof();
document.getElementById("nav").append(el("ul", {}, sections.map(([id, title]) => el("li", {}, el("a", {href: "#" + id}, title.replace(/^What the containers.*/, "Changes").replace(/, and how.*/, ""))))));
document.getElementById("foot").append("lagan report. Times are UTC. Evidence may have been made to deceive: a time, a name or a log line is what somebody wrote.");
// A link to a finding or a container's changes opens it.
function follow() {
  const target = location.hash && document.getElementById(location.hash.slice(1)) || items[Number((/^#f(\d+)$/.exec(location.hash) || [])[1])];
  if (!target) return;
  if (target.open_) target.open_(); else if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", follow);
if (location.hash) follow();
document.documentElement.dataset.ready = Math.round(performance.now());
})();
