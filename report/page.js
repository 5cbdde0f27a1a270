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
  const s = D.system, called = (s.hostname || disk.name).toLowerCase(), at = (what, name) => name && name.toLowerCase() !== called ? what + " " + name : "";
  const sys = [s.os, s.kubernetes, at("node", s.node_name), at("cluster", s.cluster)].filter(Boolean).map(visible).join(", ");
  document.getElementById("top").append(
    el("div", {class: "row"}, el("div", {}, el("h1", {}, visible(D.system.hostname || disk.name)), el("p", {class: "soft"}, [visible(disk.name), sys, span()].filter(Boolean).join("; "))),
      el("div", {class: "bar"}, theme, el("button", {type: "button", on: {click: () => print()}}, "Print"))),
    el("div", {class: "tiles"},
      severities.filter(s => D.counts.findings[s]).map(s => el("div", {class: "tile"}, el("b", {class: s}, number(D.counts.findings[s])), s + " finding" + (D.counts.findings[s] === 1 ? "" : "s"))),
      [["containers", D.counts.containers], ["pods", D.counts.pods], ["images", D.counts.images], ["events", D.counts.events]].map(([k, n]) => el("div", {class: "tile"}, el("b", {}, number(n)), k))));
}

// span says when most events were: a few files bear any time, and would make it centuries.
function span() {
  const cells = D.timeline.cells || [], total = cells.reduce((n, c) => n + c[4], 0);
  if (!total) return "";
  const at = part => { let n = 0; for (const c of cells) if ((n += c[4]) >= total * part) return c[0]; return cells[cells.length - 1][0]; };
  const day = sec => new Date(sec * 1000).toISOString().slice(0, 10);
  const from = day(at(.002)), to = day(at(.998));
  const rest = time(D.timeline.first).slice(0, 10) < from || time(D.timeline.last).slice(0, 10) > to;
  return "events of " + (from === to ? from : from + " to " + to) + (rest ? ", a few from " + time(D.timeline.first).slice(0, 10) + " to " + time(D.timeline.last).slice(0, 10) : "");
}

// --- findings
const tacticNames = ["reconnaissance", "resource_development", "initial_access", "execution", "persistence", "privilege_escalation", "defense_evasion", "credential_access", "discovery", "lateral_movement", "collection", "command_and_control", "exfiltration", "impact"];
// tactics lists ATT&CK's techniques of the findings in the order of an attack; each filters the findings.
function tactics(choose) {
  const found = new Map();
  for (const f of D.findings) {
    if (f.severity === "informational") continue;
    let tactic = "";
    for (const t of f.tags || []) {
      const name = t.replace(/^attack\./, "").replaceAll("-", "_");
      if (tacticNames.includes(name)) tactic = name;
      else if (/^t[0-9]{4}/.test(name) && tactic) {
        if (!found.has(tactic)) found.set(tactic, new Map());
        const of = found.get(tactic), id = name.toUpperCase();
        of.set(id, [...(of.get(id) || []), f]);
      }
    }
  }
  if (!found.size) return "";
  const rows = tacticNames.filter(t => found.has(t)).map(t => [el("dt", {}, t[0].toUpperCase() + t.slice(1).replaceAll("_", " ")), el("dd", {class: "techniques"},
    [...found.get(t)].sort().map(([id, fs]) => el("button", {type: "button", title: [...new Set(fs.map(f => visible(f.title)))].join("; "), "aria-label": `Only findings of ${id}`, on: {click: () => choose(id)}},
      el("span", {class: "dot " + severities[Math.min(...fs.map(f => severities.indexOf(f.severity)))]}), id, fs.length > 1 ? el("span", {class: "soft"}, " \u00d7" + fs.length) : "")))]);
  return el("details", {class: "tactics", open: innerWidth > 800}, el("summary", {}, "By ATT&CK tactic"), el("dl", {}, rows));
}
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
  for (const [k, t] of [["m", f.mtime], ["c", f.ctime], ["b", f.btime]]) if (t) out.push(el("br"), el("span", {class: "soft once"}, k + " " + time(t)));
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
  section("findings", "Findings", D.findings.length ? [tactics(id => { input.value = input.value === id ? "" : id; draw(); }), el("div", {class: "bar"}, input, chips, status), list] : el("p", {}, "No rule was met."));
  draw();
  addEventListener("beforeprint", () => { for (const d of items) if (d.isConnected) { d.open = true; if (d.children.length === 1) d.append(findingBody(D.findings[+d.id.slice(1)])); } });
  return items;
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
    el("dl", {}, [["Host name", D.system.hostname], ["System", D.system.os], ["Kubernetes", D.system.kubernetes], ["Node", D.system.node_name], ["Cluster", D.system.cluster], ["API server", D.system.server], ["Machine id", D.system.machine_id]]
      .filter(([, v]) => v).map(([k, v]) => [el("dt", {}, k), el("dd", {}, visible(v))])),
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
