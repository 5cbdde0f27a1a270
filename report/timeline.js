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
