// The page as a whole: start, tabs, colours and legend, search, pointer and keys, theme, progress.
"use strict";
SV.legend = (() => {
  const {el, byId} = SV;
  let column = null, entries = [];

  function quantiles(values) {
    const known = values.filter(v => v !== null).sort((a, b) => a - b);
    const at = k => known[Math.floor((known.length - 1) * k)];
    return known.length ? [at(0.01), at(0.99)] : [0, 1];
  }

  function apply(name) {
    column = SV.facts.columns.find(c => c.name === name) ?? null;
    const map = SV.map.state, {kind, ramp, missing} = SV.colours, n = map.n;
    const bucket = new Uint8Array(n);
    map.only = -1;
    if (!column) { SV.map.setBuckets(bucket, [kind(0)]); entries = []; byId("legend").replaceChildren(); return; }
    if (column.names.length) {
      const K = Math.min(column.names.length, 250);
      for (let i = 0; i < n; i++) bucket[i] = column.values[i] === null ? K : Math.min(K - 1, column.values[i]);
      SV.map.setBuckets(bucket, [...Array.from({length: K}, (_, k) => kind(k)), missing()]);
      kinds(K);
      return;
    }
    const K = 48, [low, high] = quantiles(column.values);
    for (let i = 0; i < n; i++) {
      const v = column.values[i];
      bucket[i] = v === null ? K : Math.max(0, Math.min(K - 1, Math.floor(K * (v - low) / (high - low || 1))));
    }
    SV.map.setBuckets(bucket, [...Array.from({length: K}, (_, k) => ramp((k + .5) / K)), missing()]);
    scale(low, high);
  }

  function kinds(K) {
    entries = column.names.slice(0, 30).map((name, k) => [`${name}`, SV.colours.kind(k)]);
    const list = el("ul", {class: K <= 6 ? "one" : ""}, entries.map(([name, colour], k) => {
      const dot = el("span", {class: "dot"});
      dot.style.background = colour;
      const button = el("button", {type: "button", "aria-pressed": "false", title: "Show only these"}, dot, name);
      button.addEventListener("click", () => {
        SV.map.state.only = SV.map.state.only === k ? -1 : k;
        for (const [j, other] of [...list.querySelectorAll("button")].entries()) other.setAttribute("aria-pressed", String(SV.map.state.only === j));
        SV.map.schedule();
      });
      return el("li", {}, button);
    }));
    byId("legend").replaceChildren(el("b", {}, column.name), list, K > 30 ? el("span", {}, `and ${K - 30} more`) : "");
  }

  function scale(low, high) {
    const bar = el("span", {class: "ramp"});
    bar.style.background = `linear-gradient(90deg, ${SV.colours.stops().join(", ")})`;
    const ends = [low, high].map(v => +v.toPrecision(3));
    entries = [0, .5, 1].map(t => [`${column.name} ${+(low + t * (high - low)).toPrecision(3)} ${column.unit}`, SV.colours.ramp(t)]);
    byId("legend").replaceChildren(el("b", {}, `${column.name}${column.unit ? ` (${column.unit})` : ""}`), bar, el("span", {class: "ends"}, el("span", {}, ends[0]), el("span", {}, ends[1])));
  }
  return {apply, entries: () => entries, renew: () => { if (SV.map.state.n) apply(column?.name); }};
})();

SV.tip = (() => {
  const {el, byId} = SV, tip = byId("tip");
  function show(i, sx, sy) {
    const parts = [];
    const sheet = SV.facts.sheet;
    if (sheet) {
      const big = Math.max(1, Math.floor(84 / sheet.width)), thumb = el("span", {class: "thumb"});
      Object.assign(thumb.style, {width: `${sheet.width * big}px`, height: `${sheet.height * big}px`, backgroundImage: `url(${sheet.address})`,
        backgroundSize: `${sheet.columns * sheet.width * big}px auto`, backgroundPosition: `-${(i % sheet.columns) * sheet.width * big}px -${Math.floor(i / sheet.columns) * sheet.height * big}px`});
      parts.push(thumb);
    }
    const text = SV.facts.texts[i];
    parts.push(el("div", {}, text.length > 300 ? `${text.slice(0, 300)}…` : text));
    const said = SV.facts.columns.filter(c => c.values[i] !== null).slice(0, 3).map(c => c.names.length ? `${c.name}: ${c.names[c.values[i]]}` : `${c.name} ${+c.values[i].toPrecision(3)}${c.unit === "nats" ? " nats" : ""}`);
    parts.push(el("div", {class: "numbers"}, said.join(" · ")));
    tip.replaceChildren(...parts);
    tip.hidden = false;
    const {width, height} = SV.map.state, box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(sx + 14, width - box.width - 6))}px`;
    tip.style.top = `${sy + 16 + box.height > height ? Math.max(4, sy - box.height - 12) : sy + 16}px`;
  }
  return {show, hide: () => { tip.hidden = true; }};
})();

SV.pointer = (() => {
  const {map} = SV, canvas = map.canvas, held = new Map();
  let moved = 0, apart = 0;
  const at = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

  function pick(i) {
    if (i < 0) return;
    map.state.focus = i;
    const view = SV.tabs.current();
    view.pick?.(i);
    SV.byId("described").textContent = `picked: ${SV.facts.texts[i]}`;
    map.schedule();
  }
  canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, at(event)); moved = 0; apart = 0; SV.tip.hide(); });
  canvas.addEventListener("pointermove", event => {
    const [x, y] = at(event), before = held.get(event.pointerId);
    if (!before) { hover(x, y); return; }
    if (held.size === 2) {
      held.set(event.pointerId, [x, y]);
      const [[ax, ay], [bx, by]] = [...held.values()], now = Math.hypot(ax - bx, ay - by);
      if (apart) map.zoom(now / apart, (ax + bx) / 2, (ay + by) / 2);
      apart = now; moved = 99;
      return;
    }
    moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
    if (moved > 3) map.pan(x - before[0], y - before[1]);
    held.set(event.pointerId, [x, y]);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => {
    if (held.delete(event.pointerId) && kind === "pointerup" && moved <= 3) {
      const [x, y] = at(event), reach = event.pointerType === "touch" ? 26 : 14;
      const i = SV.recorded && map.state.recorded.length ? ringed(x, y) : map.nearest(x, y, reach);
      pick(i);
      if (i >= 0 && event.pointerType === "touch") SV.tip.show(i, x, y);
    }
    apart = 0;
  });
  canvas.addEventListener("pointerleave", SV.tip.hide);
  canvas.addEventListener("wheel", event => { event.preventDefault(); map.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event)); SV.tip.hide(); }, {passive: false});

  // In a static page the ringed point nearest to the click, if none else was meant.
  function ringed(x, y) {
    let best = -1, least = 24 ** 2;
    for (const i of map.state.recorded) {
      const [sx, sy] = map.toScreen(map.state.x[i], map.state.y[i]), d = (sx - x) ** 2 + (sy - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }
  function hover(x, y) {
    const i = map.nearest(x, y);
    canvas.style.cursor = i >= 0 ? "pointer" : "crosshair";
    if (i < 0) SV.tip.hide(); else SV.tip.show(i, x, y);
  }
  function focus(i) {
    if (i < 0) return;
    map.state.focus = i;
    map.reveal(i);
    SV.tip.show(i, ...map.toScreen(map.state.x[i], map.state.y[i]));
    SV.byId("described").textContent = SV.facts.texts[i];
  }
  const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener("keydown", event => {
    const arrow = ARROWS[event.key], {focus: now, width, height} = map.state;
    if (arrow && event.shiftKey) map.pan(-60 * arrow[0], -60 * arrow[1]);
    else if (arrow && map.state.n) focus(now < 0 ? map.nearest(width / 2, height / 2, 1e4) : map.neighbour(now, ...arrow));
    else if (event.key === "Enter" || event.key === " ") pick(now);
    else if (event.key === "+" || event.key === "=") map.zoom(1.3);
    else if (event.key === "-") map.zoom(1 / 1.3);
    else if (event.key === "0") map.showAll();
    else if (event.key === "Escape") { map.state.focus = -1; SV.tip.hide(); map.schedule(); }
    else return;
    event.preventDefault();
  });
  return {pick, focus};
})();

SV.search = (() => {
  const {byId} = SV, box = byId("search");
  function run() {
    const map = SV.map.state, wanted = box.value.trim().toLowerCase();
    map.hits = []; map.hit = -1;
    if (wanted) SV.lower.forEach((text, i) => { if (text.includes(wanted)) map.hits.push(i); });
    byId("hits").textContent = wanted ? `${map.hits.length.toLocaleString("en")} hits` : "";
    SV.map.schedule();
  }
  function step(by) {
    const map = SV.map.state;
    if (!map.hits.length) return;
    map.hit = map.hit < 0 ? (by > 0 ? 0 : map.hits.length - 1) : (map.hit + by + map.hits.length) % map.hits.length;
    byId("hits").textContent = `${map.hit + 1} of ${map.hits.length.toLocaleString("en")}`;
    SV.pointer.focus(map.hits[map.hit]);
  }
  box.addEventListener("input", run);
  box.addEventListener("keydown", event => {
    if (event.key === "Enter") { step(event.shiftKey ? -1 : 1); event.preventDefault(); }
    if (event.key === "Escape") { box.value = ""; run(); SV.tip.hide(); }
  });
  byId("next-hit").addEventListener("click", () => step(1));
  byId("previous-hit").addEventListener("click", () => step(-1));
  return {run};
})();

SV.tabs = (() => {
  const {byId} = SV, names = ["walk", "dims", "rate", "samples", "health"];
  let now = "walk";
  function open(name, focus = false) {
    now = name;
    for (const each of names) {
      const tab = byId(`tab-${each}`), chosen = each === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      byId(`panel-${each}`).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    SV[name].open();
  }
  for (const [i, name] of names.entries()) {
    byId(`tab-${name}`).addEventListener("click", () => open(name));
    byId(`tab-${name}`).addEventListener("keydown", event => {
      const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!by) return;
      let k = i;
      do k = (k + by + names.length) % names.length; while (byId(`tab-${names[k]}`).hidden);
      open(names[k], true);
    });
  }
  return {open, current: () => SV[now]};
})();

SV.main = (() => {
  const {byId, facts} = SV;

  function theme(name) {
    document.documentElement.dataset.theme = name;
    byId("theme").textContent = name === "dark" ? "Light" : "Dark";
    SV.legend.renew();
    SV.map.schedule();
  }
  const wished = matchMedia("(prefers-color-scheme: dark)");
  theme(wished.matches ? "dark" : "light");
  wished.addEventListener("change", () => theme(wished.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => theme(SV.colours.theme() === "dark" ? "light" : "dark"));

  document.addEventListener("keydown", event => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { byId("search").focus(); event.preventDefault(); }
  });
  byId("zoom-in").addEventListener("click", () => SV.map.zoom(1.4));
  byId("zoom-out").addEventListener("click", () => SV.map.zoom(1 / 1.4));
  byId("zoom-all").addEventListener("click", () => SV.map.showAll());
  byId("save-png").addEventListener("click", () => SV.exportMap.png());
  byId("save-svg").addEventListener("click", () => SV.exportMap.svg());
  byId("show-holes").addEventListener("change", event => { SV.map.state.showHoles = event.target.checked; SV.map.schedule(); });
  byId("colour").addEventListener("change", event => SV.legend.apply(event.target.value));

  function waiting(job) {
    byId("waiting-text").textContent = SV.progressText(job);
    if (job.total) { byId("waiting-bar").max = job.total; byId("waiting-bar").value = job.done; }
  }

  async function plane(name) {
    const buttons = {pca: byId("plane-pca"), tsne: byId("plane-tsne")};
    if (!SV.map.state.planes[name]) return;
    for (const [key, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(key === name));
    SV.map.setPlane(name);
    for (const view of ["walk", "dims", "samples"]) if (SV.tabs.current() === SV[view] && !SV.recorded) SV[view].renew();
  }

  async function loadPlane(name, progress = () => {}) {
    const found = await SV.api("embedding", name === "pca" ? {} : {embedding: name}, progress);
    SV.map.state.planes[name] = {x: Float32Array.from(found.x), y: Float32Array.from(found.y)};
    return found;
  }

  async function loadTsne() {
    const button = byId("plane-tsne");
    button.disabled = true;
    button.title = "t-SNE is being computed";
    button.addEventListener("click", () => plane("tsne"));
    try {
      await loadPlane("tsne", job => { byId("jobs").textContent = job.job === "t-SNE" ? "t-SNE is being computed…" : SV.progressText(job); });
      button.disabled = false;
      button.title = "Only who is near whom means something";
    } catch (error) { button.title = error.message; byId("jobs").textContent = `no t-SNE: ${error.message}`; return; }
    byId("jobs").textContent = "";
  }

  async function loadHoles() {
    const holes = await SV.api("holes");
    const box = byId("alarm");
    if (holes.share === null) { byId("show-holes").closest("label").hidden = true; return; }
    SV.map.state.shade = SV.shade.make(holes);
    const share = 100 * holes.share, {el} = SV;
    box.className = `alarm ${share > 10 ? "many" : share > 3 ? "some" : ""}`;
    box.replaceChildren(el("details", {}, el("summary", {}, `Holes: ${SV.number(share, 1)} % of prior draws`),
      el("p", {}, `At ${SV.number(share, 1)} % of ${holes.draws.toLocaleString("en")} prior draws the codes of the data are thinner (ln q(z) below ${SV.number(holes.threshold, 1)} nats) than at 99 % of real examples. A prior that fits has about 1 %. The shade shows which share of the draws at a place lies in a hole, up to one half.`)));
    box.hidden = false;
    SV.map.schedule();
  }

  async function start() {
    Object.assign(facts, await SV.api("overview"));
    byId("run-name").textContent = facts.run;
    document.title = `${facts.run} · seqvae explore`;
    byId("run-facts").textContent = `${facts.modality} run, ${facts.latent} code of ${facts.dim} dims`;
    byId("plane-pca").addEventListener("click", () => plane("pca"));
    for (const view of ["walk", "dims", "rate", "samples", "health"]) SV[view].build();
    SV.tabs.open("walk");
    Object.assign(facts, await SV.api("examples", {}, waiting));
    SV.lower = facts.texts.map(text => text.toLowerCase());
    const pca = await loadPlane("pca", waiting);
    SV.map.state.n = facts.n;
    SV.map.state.recorded = SV.recorded?.examples ?? [];
    byId("run-facts").textContent = `${facts.modality} run, ${facts.latent} code of ${facts.dim} dims, ${facts.n.toLocaleString("en")} examples (${facts.where}), plane holds ${Math.round(100 * (pca.share[0] + pca.share[1]))} % of the variance`;
    const varies = c => c.values.some(v => v !== null && Math.abs(v - c.values[0]) > 1e-3 * Math.abs(v));
    const best = facts.columns.find(c => c.names.length) ?? facts.columns.find(varies) ?? facts.columns[0];
    byId("colour").replaceChildren(...facts.columns.map(c => SV.el("option", {value: c.name, selected: c === best}, c.unit ? `${c.name} (${c.unit})` : c.name)), SV.el("option", {value: ""}, "nothing"));
    SV.map.setPlane("pca");
    SV.legend.apply(best?.name);
    byId("waiting").hidden = true;
    document.body.dataset.ready = "map";
    await loadHoles();
    document.body.dataset.ready = "all";
    await loadTsne();
  }
  start().catch(error => { byId("waiting").replaceChildren(SV.failure(error)); });
  return {plane};
})();
