// Samples: draws from the prior, whether they copy a training sentence, and where they lie.
"use strict";
SV.samples = (() => {
  const {el, byId} = SV;
  const asked = {n: 12, seed: 0, prior: "", temperature: 1, top_p: 0.95};
  let parts, answer = null, current = -1;

  function build() {
    const field = (label, made) => el("label", {class: "inline"}, label, made);
    const value = (key, properties) => {
      const made = el("input", {type: "number", value: asked[key], ...properties});
      made.addEventListener("change", () => { if (made.value !== "") { asked[key] = Number(made.value); update(); } });
      return made;
    };
    const row = el("div", {class: "row"});
    if (SV.facts.priors.length && !SV.recorded) row.append(field("Prior", el("select", {on: {change: event => { asked.prior = event.target.value; update(); }}},
      ["", ...SV.facts.priors].map(name => el("option", {value: name}, name || "of the run")))));
    if (SV.facts.modality === "text" && !SV.recorded) row.append(
      field("Temperature", value("temperature", {min: 0.05, max: 10, step: 0.05, className: "small"})),
      field("Top-p", value("top_p", {min: 0.05, max: 1, step: 0.05, className: "small"})));
    row.append(el("button", {type: "button", id: "draw-samples", on: {click: () => { asked.seed = SV.recorded ? (asked.seed + 1) % SV.recorded.seeds : asked.seed + 1; update(); }}}, "New draws"));
    parts = {row, said: el("p", {class: "hint"}), cards: el("div", {class: "cards"}), exports: el("div"), error: el("div")};
    byId("panel-samples").append(
      el("p", {class: "hint"}, "Codes drawn from the prior and what they decode to, beside the training examples with the nearest codes."),
      row, parts.said, parts.error, parts.cards, parts.exports);
  }

  const update = SV.latest(async () => {
    parts.error.replaceChildren();
    try {
      for (;;) {
        answer = await SV.api("samples", SV.facts.modality === "text" ? asked : {n: asked.n, seed: asked.seed, prior: asked.prior}, job => { parts.said.textContent = SV.progressText(job); });
        fill();
        if (!answer.pending) break;
        await new Promise(done => setTimeout(done, 700));
      }
    } catch (error) { parts.error.replaceChildren(SV.failure(error)); }
  });

  function tags(sample) {
    const found = [el("span", {class: "tag"}, SV.natsText(sample))];
    if (sample.copied === true) found.push(el("span", {class: "tag warm"}, "copy of a training sentence"));
    if (sample.copied === false) found.push(el("span", {class: "tag good"}, "new"));
    if (sample.hole) found.push(el("span", {class: "tag bad"}, "in a hole"));
    return el("div", {class: "tags"}, found);
  }

  function near(sample) {
    if (!sample.near) return null;
    if (sample.image) return el("div", {class: "row pictures"}, "nearest:", sample.near.map(one => el("img", {src: one.image, width: 40, height: 40, title: `distance ${one.distance}`, alt: "training picture"})));
    return el("ul", {}, sample.near.map(one => el("li", {title: "distance of the codes"}, SV.number(one.distance), el("span", {}, one.text))));
  }

  function fill() {
    const copies = answer.samples.filter(s => s.copied).length, inHoles = answer.samples.filter(s => s.hole).length;
    const said = answer.pending ? [`searching training examples: ${SV.progressText(answer.pending)}`] : [`nearest of ${answer.searched.toLocaleString("en")} training examples, by distance of codes`];
    if (SV.facts.modality === "text" && !answer.pending) said.unshift(`${copies} of ${answer.samples.length} copied`);
    if (answer.samples.some(s => s.hole !== undefined)) said.unshift(`${inHoles} in holes`);
    parts.said.textContent = said.join(" · ");
    parts.cards.replaceChildren(...answer.samples.map((sample, i) => el("article", {class: "card", on: {mouseenter: () => point(i), focusin: () => point(i)}, tabIndex: 0},
      el("div", {class: "main"}, SV.shown(sample, null, 72)), tags(sample), near(sample))));
    parts.exports.replaceChildren(SV.exports("samples", {python: answer.python, rows: () => [["text", "nll_nats", "copied", "in_hole"], ...answer.samples.map(s => [s.text ?? "", s.nll, s.copied ?? "", s.hole ?? ""])]}));
    mark();
  }

  function point(i) {
    current = i;
    [...parts.cards.children].forEach((card, k) => card.classList.toggle("current", k === i));
    mark();
  }
  function mark() {
    SV.map.state.overlay = answer ? {xy: answer.xy, diamonds: true, current, open: answer.samples.map(s => s.hole)} : null;
    SV.map.schedule();
  }
  return {build, open: () => { mark(); if (!answer) update(); }, pick: null, renew: () => { if (answer) update(); }};
})();
