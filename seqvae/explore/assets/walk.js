// Path: what lies between two codes, its sentences and their nats; the slider moves along it.
"use strict";
SV.walk = (() => {
  const {el, byId} = SV;
  const PATHS = [["linear", "Line"], ["slerp", "Great arc"]];
  let a, b, next, path = "linear", steps = 9, answer = null, now = 0, parts;

  function build() {
    a = SV.places.picker("A", () => { next = b; update(); });
    b = SV.places.picker("B", () => { next = a; update(); });
    next = a;
    for (const one of [a, b]) one.badge.addEventListener("click", () => { next = one; press(); });
    const choice = el("div", {class: "choice", role: "group", "aria-label": "Path"}, PATHS.map(([name, label]) =>
      el("button", {type: "button", "aria-pressed": String(name === path), on: {click: event => {
        path = name;
        for (const each of choice.children) each.setAttribute("aria-pressed", String(each === event.currentTarget));
        update();
      }}}, label)));
    const count = el("select", {"aria-label": "Steps", on: {change: event => { steps = Number(event.target.value); update(); }}},
      [5, 9, 13, 17, 33].map(n => el("option", {value: n, selected: n === steps}, `${n} steps`)));
    if (SV.recorded) count.hidden = true;
    const slider = el("input", {type: "range", min: 0, max: steps - 1, value: 0, step: 1, id: "walk-slider", "aria-label": "Step of the path", on: {input: event => show(Number(event.target.value))}});
    parts = {slider, result: el("div", {class: "result", "aria-live": "polite"}, "Pick two places."), list: el("ol", {class: "steps"}), error: el("div"), exports: el("div")};
    byId("panel-walk").append(
      el("p", {class: "hint"}, "Two codes and what lies between them. Pick A, then B."),
      a.row, b.row, el("div", {class: "row"}, choice, count), slider, parts.result, parts.error, parts.list, parts.exports);
    press();
  }

  function press() { for (const one of [a, b]) one.badge.setAttribute("aria-pressed", String(one === next)); }

  const ask = SV.latest(async () => {
    parts.error.replaceChildren();
    parts.list.classList.add("busy");
    try {
      answer = await SV.api("walk", {a: a.place, b: b.place, path, steps}, job => { parts.result.textContent = SV.progressText(job); });
      a.read(answer.read[0]); b.read(answer.read[1]);
      parts.slider.max = answer.steps.length - 1;
      now = Math.min(now, answer.steps.length - 1);
      fill();
    } catch (error) { answer = null; parts.list.replaceChildren(); parts.error.replaceChildren(SV.failure(error)); mark(); }
    parts.list.classList.remove("busy");
  });

  function update() {
    press();
    if (a.place && b.place) return ask();
    mark();
  }

  function fill() {
    const most = Math.max(...answer.steps.map(step => step.nll ?? 0), 1e-9);
    parts.list.replaceChildren(...answer.steps.map((step, i) => {
      const bar = el("i");
      bar.style.width = `${100 * (step.nll ?? 0) / most}%`;
      const before = i ? answer.steps[i - 1].text ?? null : null;
      return el("li", {}, el("button", {type: "button", title: SV.natsText(step), on: {click: () => show(i)}},
        el("span", {class: "t"}, step.t.toFixed(2)), SV.shown(step, before, 40),
        el("span", {class: "nats"}, step.nll === null ? "–" : `${SV.number(step.nll, 1)} nats`, bar)));
    }));
    parts.exports.replaceChildren(SV.exports("walk", {python: answer.python, rows}));
    show(now);
  }

  function rows() {
    const dims = answer.steps[0].z.map((_, j) => `z${j}`);
    return [["t", "text", "nll_nats", "nll_per_token", ...dims], ...answer.steps.map(s => [s.t, s.text ?? "", s.nll, s.per_unit, ...s.z])];
  }

  function show(i) {
    now = i;
    if (!answer) return;
    parts.slider.value = i;
    parts.slider.setAttribute("aria-valuetext", answer.steps[i].text ?? `step ${i + 1}`);
    parts.result.replaceChildren(SV.shown(answer.steps[i], null, 112), el("div", {class: "numbers"}, `step ${i + 1} of ${answer.steps.length} · ${SV.natsText(answer.steps[i])}`));
    [...parts.list.children].forEach((row, k) => row.setAttribute("aria-current", String(k === i)));
    mark();
  }

  function mark() {
    if (answer && a.place && b.place) {
      const letters = answer.steps.map(() => null);
      letters[0] = "A"; letters[letters.length - 1] = "B";
      SV.map.state.overlay = {xy: answer.xy, line: true, letters, current: now};
    } else {
      const set = [a, b].filter(one => one.place?.index !== undefined);
      const place = one => [SV.map.state.x[one.place.index], SV.map.state.y[one.place.index]];
      SV.map.state.overlay = set.length ? {xy: {[SV.map.state.plane]: set.map(place)}, letters: set.map(one => one === a ? "A" : "B")} : null;
    }
    SV.map.schedule();
  }
  return {build, open: mark, pick: index => next.pick(index), renew: () => { if (answer) ask(); }};
})();
