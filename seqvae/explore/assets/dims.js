// Dims: sliders for dims by the nats they carry and for attributes; the sentence follows, words can be kept.
"use strict";
SV.dims = (() => {
  const {el, byId} = SV;
  const FIRST = 10;
  let base, parts, known = null, answer = null;
  const dims = new Map(), moves = [], kept = [];

  function build() {
    base = SV.places.picker("X", () => { reset(false); update(); });
    parts = {
      result: el("div", {class: "result", "aria-live": "polite"}, "Pick a code to start from."), error: el("div"),
      attributes: el("div", {class: "sliders"}), dims: el("div", {class: "sliders"}), exports: el("div"),
      more: el("button", {class: "quiet", type: "button", hidden: true, on: {click: () => fillDims(true)}}, "All dims"),
      reset: el("button", {class: "quiet", type: "button", on: {click: () => { reset(true); update(); }}}, "Reset"),
    };
    byId("panel-dims").append(
      el("p", {class: "hint"}, "Move one dim or attribute of a code and watch what it writes. Click a word to keep it."),
      base.row, parts.result, parts.error, el("div", {class: "row"}, parts.reset),
      el("h2", {}, "Attributes"), parts.attributes, groups(), el("h2", {}, "Dims, by nats"), parts.dims, parts.more, parts.exports);
  }

  // Two groups of typed sentences make an attribute.
  function groups() {
    if (!SV.facts.reads_texts || SV.recorded) return el("span");
    const area = label => el("textarea", {rows: 3, spellcheck: false, placeholder: "one sentence per line", "aria-label": label});
    const towards = area("Sentences that have it"), away = area("Sentences that lack it"), said = el("div");
    const lines = box => box.value.split("\n").map(line => line.trim()).filter(Boolean);
    const add = el("button", {type: "button", on: {click: () => {
      said.replaceChildren();
      if (!lines(towards).length || !lines(away).length) { said.replaceChildren(SV.failure(new Error("write at least one sentence in each box, five or more are better"))); return; }
      const number = 1 + moves.filter(m => m.request.towards).length;
      addMove({towards: lines(towards), away: lines(away)}, `group ${number}`);
      moves.at(-1).slider.focus();
      measure(moves.at(-1));
    }}}, "Add attribute");
    return el("details", {id: "groups"}, el("summary", {}, "An attribute from your own sentences"),
      el("label", {}, "Sentences that have it", towards), el("label", {}, "Sentences that lack it", away), el("div", {class: "row"}, add), said);
  }

  async function load() {
    if (known) return;
    parts.attributes.replaceChildren(el("p", {class: "hint"}, "Reading the codes…"));
    try { known = await SV.api("attributes"); } catch (error) { parts.attributes.replaceChildren(SV.failure(error)); return; }
    parts.attributes.replaceChildren();
    const shown = SV.recorded ? known.attributes.filter(a => SV.recorded.attributes.includes(`${a.label} ${a.kind}`)) : known.attributes;
    const few = shown.slice(0, 8), rest = shown.slice(8);
    for (const one of few) addLabel(one);
    if (rest.length) parts.attributes.append(el("details", {}, el("summary", {}, `${rest.length} more from labels`), el("div", {class: "sliders", id: "more-attributes"})));
    for (const one of rest) addLabel(one, byId("more-attributes"));
    if (!shown.length) parts.attributes.append(el("p", {class: "hint"}, "The data have no labels."));
    fillDims(false);
  }

  function addLabel(one, into = parts.attributes) {
    const request = {label: one.label, ...(one.kind === null ? {} : {kind: one.kind})};
    const name = one.kind !== null ? `${one.label}: ${one.kind}` : one.label;
    addMove(request, name, one.ends ? `${one.ends[0]} → ${one.ends[1]}` : "", into);
  }

  function addMove(request, name, small = "", into = parts.attributes) {
    const move = {request, strength: 0, keep: false, said: el("span", {class: "said"}, "")};
    move.output = el("output", {}, "0");
    move.slider = el("input", {type: "range", min: SV.recorded ? -2 : -4, max: SV.recorded ? 2 : 4, step: SV.recorded ? 1 : 0.1, value: 0, "aria-label": `strength of ${name}`, on: {input: () => {
      if (SV.recorded) alone(move.slider);
      move.strength = Number(move.slider.value);
      move.output.textContent = SV.number(move.strength, 1);
      update();
    }}});
    const keep = el("label", {class: "inline", title: "Other sliders leave this attribute as it is"}, el("input", {type: "checkbox", on: {change: event => { move.keep = event.target.checked; update(); }}}), "keep");
    const row = el("div", {class: "slider"}, el("span", {class: "name"}, name, small ? el("br") : null, small ? el("small", {}, small) : null), move.slider, move.output, SV.recorded ? el("span") : keep, move.said);
    moves.push(move);
    if (into === parts.attributes && into.querySelector("details")) into.insertBefore(row, into.querySelector("details"));
    else into.append(row);
    return move;
  }

  function fillDims(all) {
    let shown = SV.recorded ? known.dims.filter(d => SV.recorded.dims.includes(d.dim)) : known.dims;
    const most = Math.max(...known.dims.map(d => d.kl), 1e-9), total = shown.length;
    if (!all) shown = shown.slice(0, FIRST);
    parts.more.hidden = all || total <= FIRST || Boolean(SV.recorded);
    parts.dims.replaceChildren(...shown.map(d => dimRow(d, most)));
  }

  function dimRow(d, most) {
    const output = el("output", {}, "–"), reach = Math.max(3, Math.ceil(Math.abs(d.mean) + 3 * d.sd));
    const slider = el("input", {type: "range", min: -reach, max: reach, step: SV.recorded ? 1 : 0.05, "aria-label": `dim ${d.dim}, ${SV.number(d.kl)} nats`, on: {input: () => {
      if (SV.recorded) alone(slider);
      dims.set(d.dim, Number(slider.value));
      output.textContent = SV.number(slider.value, SV.recorded ? 0 : 2);
      update();
    }}});
    if (SV.recorded) { slider.min = -3; slider.max = 3; }
    slider.dataset.dim = d.dim;
    const fill = el("i");
    fill.style.width = `${100 * d.kl / most}%`;
    if (answer) slider.value = dims.get(d.dim) ?? answer.base[d.dim];
    return el("div", {class: "slider"}, el("span", {class: "name"}, `dim ${d.dim} `, el("small", {}, `${SV.number(d.kl)} nats`), el("span", {class: "kl"}, fill)), slider, output, el("span"));
  }

  // A static page has recorded one slider at a time.
  function alone(slider) {
    for (const move of moves) if (move.slider !== slider) { move.slider.value = 0; move.strength = 0; move.output.textContent = "0"; }
    dims.clear();
    for (const other of parts.dims.querySelectorAll("input")) if (other !== slider) { other.value = answer?.base[other.dataset.dim] ?? 0; other.closest(".slider").querySelector("output").textContent = "–"; }
  }

  function reset(alsoBase) {
    alone(null);
    kept.length = 0;
    for (const move of moves) { move.keep = false; const box = move.slider.closest(".slider").querySelector("input[type=checkbox]"); if (box) box.checked = false; }
    if (!alsoBase) answer = null;
  }

  function request() {
    const asked = {base: base.place}, active = moves.filter(m => m.strength || m.keep).slice(0, 24);
    if (dims.size) asked.dims = Object.fromEntries(dims);
    if (active.length) asked.moves = active.map(m => ({...m.request, strength: m.strength, ...(m.keep ? {keep: true} : {})}));
    if (kept.length) asked.keep_words = [...kept];
    return [asked, active];
  }

  const ask = SV.latest(async () => {
    const [asked, active] = request();
    parts.error.replaceChildren();
    parts.result.classList.add("busy");
    try {
      const found = await SV.api("edit", asked, job => { parts.result.textContent = SV.progressText(job); });
      answer = found;
      base.read(found.read);
      active.forEach((move, i) => say(move, found.moves[i]));
      fill();
    } catch (error) { parts.error.replaceChildren(SV.failure(error)); }
    parts.result.classList.remove("busy");
  });

  function say(move, {accuracy, error, n}) {
    if (accuracy === null) move.said.textContent = "one example of a side: none can be held out to test the direction";
    else move.said.textContent = `${Math.round(100 * accuracy)} % of ${n.toLocaleString("en")} held-out examples on their own side`;
    move.said.title = `± ${(100 * (error ?? 0)).toFixed(1)} %; 50 % is chance`;
  }

  // How surely held-out examples show a new attribute, before its slider moves.
  async function measure(move) {
    if (!base.place) return;
    try { say(move, (await SV.api("edit", {base: base.place, moves: [{...move.request, strength: 0}]})).moves[0]); } catch (error) { parts.error.replaceChildren(SV.failure(error)); }
  }

  function fill() {
    const text = answer.decoded.text;
    if (text === undefined) parts.result.replaceChildren(el("div", {class: "row pictures"}, SV.shown(answer.original, null, 96), "→", SV.shown(answer.decoded, null, 128)));
    else parts.result.replaceChildren(el("div", {class: "original numbers"}, answer.original.text || "(empty sentence)"), el("div", {}, words(answer.original.text, text)));
    parts.result.append(el("div", {class: "numbers"}, SV.natsText(answer.decoded)));
    for (const slider of parts.dims.querySelectorAll("input")) if (!dims.has(Number(slider.dataset.dim))) slider.value = answer.base[slider.dataset.dim];
    parts.exports.replaceChildren(SV.exports("edit", {python: answer.python}));
    mark();
  }

  // The words of the edited sentence, each a button that keeps it.
  function words(before, text) {
    if (SV.recorded) return SV.marked(before, text);
    const found = SV.changed(before, text);
    if (!found.length) return [el("em", {}, "(empty sentence)")];
    return found.flatMap(([word, isNew], i) => {
      const pressed = kept.includes(word);
      const made = el("button", {class: "word", type: "button", "aria-pressed": String(pressed), title: pressed ? "kept: click to let it change" : "click to keep this word"}, isNew && !pressed ? el("mark", {}, word) : word);
      made.addEventListener("click", () => { pressed ? kept.splice(kept.indexOf(word), 1) : kept.length < 4 && kept.push(word); order(text); update(); });
      return [i ? " " : "", made];
    });
  }
  // Kept words stay in the order in which the sentence has them.
  function order(text) { const at = text.split(/\s+/); kept.sort((x, y) => at.indexOf(x) - at.indexOf(y)); }

  function update() { if (base.place) ask(); }
  function mark() {
    SV.map.state.overlay = answer ? {xy: answer.xy, line: true, letters: ["X", null], current: 1} : null;
    SV.map.schedule();
  }
  return {build, open: () => { mark(); load(); }, pick: index => base.pick(index), renew: () => { if (answer) ask(); }};
})();
