// The page: one card a host, one row a container, the last events. Everything that came from elsewhere becomes text.
import { follow, latest } from "./tidings.js";

const $ = (id) => document.getElementById(id);
const history = 60; // readings of a sparkline
const hosts = new Map(); // host token → its card
const counts = { messages: 0, skipped: 0, gaps: 0 };
const dirty = new Set(); // cards to draw in the next frame

function el(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

function set(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function mark(e, state) {
  e.dataset.state = state;
  set(e, state);
}

const percent = (ratio) => (ratio === undefined ? "–" : `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`);
const sum = (list, key) => (list ?? []).reduce((total, x) => total + (x[key] ?? 0), 0);

function bytes(n) {
  if (n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${n.toFixed(n < 10 && i > 0 ? 1 : 0)} ${units[i]}`;
}

function meter(label) {
  const value = el("span"), fill = el("i"), bar = el("div", { className: "bar" }, fill);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", label);
  const root = el("div", { className: "meter" }, el("div", { className: "row" }, el("span", { textContent: label }), value), bar);
  return {
    root,
    show(ratio, text) {
      set(value, text);
      fill.style.width = `${Math.min(ratio ?? 0, 1) * 100}%`;
      bar.classList.toggle("high", ratio >= 0.9);
      bar.setAttribute("aria-valuenow", Math.round((ratio ?? 0) * 100));
      bar.setAttribute("aria-valuetext", text);
    },
  };
}

function fact(list, label) {
  const value = el("dd", { textContent: "–" });
  list.append(el("div", {}, el("dt", { textContent: label }), value));
  return value;
}

function card(token) {
  const svg = "http://www.w3.org/2000/svg";
  const c = { token, rows: new Map(), cpus: [], stats: new Map(), containers: [] };
  c.name = el("h3", { textContent: token });
  c.about = el("p", { className: "about" });
  c.offline = el("p", { className: "badge", textContent: "offline", hidden: true });
  c.cpu = meter("CPU");
  c.memory = meter("Memory");
  c.disk = meter("Disk");
  c.spark = document.createElementNS(svg, "polyline");
  const chart = document.createElementNS(svg, "svg");
  chart.classList.add("spark");
  chart.setAttribute("viewBox", `0 0 ${history - 1} 1`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("aria-hidden", "true");
  chart.append(c.spark);
  c.cpu.root.append(chart);
  const facts = el("dl");
  for (const [key, label] of [["load", "Load"], ["io", "Disk I/O"], ["net", "Network"]]) c[key] = fact(facts, label);
  c.body = el("tbody");
  const head = ["Container", "State", "Health", "CPU", "Memory", "Image"].map((t) =>
    el("th", { scope: "col", textContent: t, className: t === "CPU" || t === "Memory" ? "number" : "" }));
  c.table = el("div", { className: "scroll", hidden: true, tabIndex: 0, role: "region", ariaLabel: "Containers" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), c.body));
  c.root = el("article", { className: "host" }, el("div", { className: "title" }, c.name, c.about, c.offline),
    el("div", { className: "meters" }, c.cpu.root, c.memory.root, c.disk.root), facts, c.table);
  return c;
}

function cardOf(token) {
  let c = hosts.get(token);
  if (!c) {
    hosts.set(token, (c = card(token)));
    const after = [...hosts.keys()].sort().find((t) => t > token);
    $("hosts").insertBefore(c.root, after ? hosts.get(after).root : null);
    $("none").hidden = true;
  }
  return c;
}

function draw(c) {
  c.offline.hidden = !c.gone;
  c.root.classList.toggle("offline", Boolean(c.gone));
  if (c.host) {
    set(c.name, c.host.name ?? c.token);
    set(c.about, [c.host.platform ?? c.host.os, c.host.platformVersion, c.host.kernel, c.host.cpuModel].filter(Boolean).join(" · "));
  }
  if (c.metrics) drawMetrics(c, c.metrics);
  drawContainers(c);
}

function drawMetrics(c, m) {
  const { cpu = {}, memory = {}, load, disks, networks, filesystems = [] } = m;
  c.cpu.show(cpu.utilization, `${percent(cpu.utilization)}${cpu.logicalCount ? ` of ${cpu.logicalCount}` : ""}`);
  c.memory.show(memory.utilization, `${bytes(memory.used)} of ${bytes(memory.limit)}`);
  const fullest = filesystems.reduce((a, b) => ((b.utilization ?? 0) > (a?.utilization ?? -1) ? b : a), undefined);
  c.disk.show(fullest?.utilization, fullest ? `${fullest.mountpoint}: ${bytes(fullest.free)} free` : "–");
  c.spark.setAttribute("points", c.cpus.map((v, i) => `${i + history - c.cpus.length},${(1 - Math.min(v, 1)).toFixed(3)}`).join(" "));
  set(c.load, load ? load.map((v) => v.toFixed(2)).join("  ") : "–");
  set(c.io, `${bytes(sum(disks, "readBytesPerSecond"))}/s read, ${bytes(sum(disks, "writeBytesPerSecond"))}/s written`);
  set(c.net, `${bytes(sum(networks, "receiveBytesPerSecond"))}/s in, ${bytes(sum(networks, "transmitBytesPerSecond"))}/s out`);
}

function drawContainers(c) {
  const ids = new Set(c.containers.map((x) => x.id));
  for (const [id, row] of c.rows) if (!ids.has(id)) row.root.remove(), c.rows.delete(id);
  for (const x of c.containers) {
    let r = c.rows.get(x.id);
    if (!r) {
      const cells = Array.from({ length: 6 }, () => el("td"));
      const [name, state, health, cpu, memory, image] = cells;
      cpu.className = memory.className = "number";
      image.className = "image";
      r = { name, state: el("span", { className: "badge" }), health: el("span"), cpu, memory, image, root: el("tr", {}, ...cells) };
      state.append(r.state);
      health.append(r.health);
      c.rows.set(x.id, r);
      c.body.append(r.root);
    }
    const s = (x.state === "running" && c.stats.get(x.id)) || {};
    set(r.name, x.name ?? x.id.slice(0, 12));
    mark(r.state, x.state);
    mark(r.health, x.health && x.health !== "none" ? x.health : "–");
    set(r.cpu, s.cpuCores === undefined ? "–" : `${(s.cpuCores * 100).toFixed(1)} % of a core`);
    set(r.memory, bytes(s.memoryBytes));
    set(r.image, x.image ?? "");
    r.image.title = x.image ?? "";
  }
  c.table.hidden = c.containers.length === 0;
}

function event(host, m) {
  const { event: what, name, id, exitCode, at } = m.payload;
  const verb = el("span", { className: "badge" });
  mark(verb, what ?? "?");
  const code = exitCode === undefined ? "" : `exit code ${exitCode}`;
  const health = what === "health_status" ? m.payload.container?.health ?? "" : "";
  const when = new Date(at ?? m.timestamp);
  const time = el("time", { textContent: (isNaN(when) ? new Date(m.timestamp) : when).toLocaleTimeString() });
  $("events").prepend(el("li", {}, time, verb, ...[name ?? id ?? "", host, health, code].filter(Boolean).map((text) => el("span", { textContent: text }))));
  if ($("events").children.length > 50) $("events").lastChild.remove();
  $("quiet").hidden = true;
}

const take = {
  "host": (c, m) => Object.assign(c, { gone: m.gone, host: m.payload ?? c.host }),
  "metrics": (c, m) => {
    c.metrics = m.payload;
    if (m.payload?.cpu) c.cpus = [...c.cpus, m.payload.cpu.utilization ?? 0].slice(-history);
  },
  "containers": (c, m) => (c.containers = m.payload?.containers ?? []),
  "container-stats": (c, m) => (c.stats = new Map((m.payload?.stats ?? []).map((s) => [s.id, s]))),
};

function changed(c) {
  if (dirty.size === 0) {
    requestAnimationFrame(() => {
      for (const key in counts) set($(key), counts[key].toLocaleString());
      dirty.forEach((c) => c && draw(c));
      dirty.clear();
    });
  }
  dirty.add(c);
}

const url = new URL("ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const topics = ["host.*", { topic: "metrics.*", last: history }, "containers.*", "container-stats.*", "container-events.*"];

// A token comes behind the page's address, as #token=TOKEN: that part browsers send to nobody.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
window.addEventListener("hashchange", () => location.reload());

async function why() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch(new URL("last?topic=host.*", location.href), { headers, signal: AbortSignal.timeout(5000) });
    if (![401, 403].includes(answer.status)) return "";
    return `${(await answer.json()).message}. This page takes one behind its address, as in #token=TOKEN`;
  } catch {
    return ""; // nobody is there
  }
}

const again = follow(url.href, topics.map((t) => (t.topic ? t : { topic: t })), {
  message(m, missed) {
    counts.messages++;
    const host = m.topic.slice(m.type.length + 1);
    if (missed) counts[latest.has(m.type) ? "skipped" : "gaps"]++;
    if (m.type === "container-events") {
      if (!m.gone) event(host, m);
      return changed(null);
    }
    if (!take[m.type] || (m.gone && !hosts.has(host))) return changed(null);
    const c = cardOf(host);
    take[m.type](c, m);
    changed(c);
  },
  gap() {
    counts.gaps++;
    changed(null);
  },
  state(name, text) {
    $("state").dataset.state = name;
    set($("state"), text);
    $("again").hidden = name !== "away";
  },
  why,
}, token);
$("again").addEventListener("click", () => again());
