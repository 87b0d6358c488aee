// Rate: one slider from gist to copy, of a run that serves many rates.
"use strict";
SV.rate = (() => {
  const {el, byId} = SV;
  let place, parts, grid = [];

  function build() {
    if (!SV.facts.rates) return;
    byId("tab-rate").hidden = false;
    const {low, high} = SV.facts.rates;
    grid = SV.facts.rates.grid;
    place = SV.places.picker("X", update, {draws: false});
    const steps = SV.recorded ? grid.length - 1 : 100;
    const slider = el("input", {type: "range", min: 0, max: steps, value: Math.round(steps / 2), id: "rate-slider", "aria-label": "Size of the code in nats"});
    const nats = () => SV.recorded ? grid[Number(slider.value)] : Number((low * (high / low) ** (slider.value / steps)).toPrecision(4));
    const size = el("output", {}, "");
    const say = () => { size.textContent = `${SV.number(nats(), nats() < 10 ? 1 : 0)} nats`; slider.setAttribute("aria-valuetext", size.textContent); };
    slider.addEventListener("input", () => { say(); ask(nats()); });
    parts = {slider, nats, size, result: el("div", {class: "result", "aria-live": "polite"}, "Pick an example."), list: el("ol", {class: "steps"}), exports: el("div")};
    byId("panel-rate").append(
      el("p", {class: "hint"}, "The same sentence through codes of every size: few nats keep the gist, many keep each word."),
      place.row, el("div", {class: "row"}, "Gist", el("div", {class: "spring"}), size, el("div", {class: "spring"}), "Copy"),
      slider, parts.result, el("h2", {}, "By rate"), parts.list, parts.exports);
    say();
  }

  const one = async nats => SV.api("rate", {place: place.place, nats}, job => { parts.result.textContent = SV.progressText(job); });
  const item = answer => ({...answer, nll: undefined});
  const original = answer => answer.original ?? null;

  const ask = SV.latest(async nats => {
    if (!place.place) return;
    try {
      const answer = await one(nats);
      place.read(answer.read);
      parts.result.replaceChildren(SV.shown(item(answer), original(answer), 112), el("div", {class: "numbers"},
        answer.exact ? "comes back word by word" : "marked words differ from the original"));
      parts.exports.replaceChildren(SV.exports("rate", {python: answer.python}));
    } catch (error) { parts.result.replaceChildren(SV.failure(error)); }
  });

  const fill = SV.latest(async () => {
    parts.list.replaceChildren();
    const rows = [];
    try {
      for (const nats of grid) {
        const answer = await one(nats);
        rows.push(["nats", nats, answer.text]);
        parts.list.append(el("li", {}, el("button", {type: "button", on: {click: () => { setRate(nats); }}},
          el("span", {class: "t"}, `${+nats.toPrecision(3)}`), SV.shown(item(answer), original(answer), 48), el("span", {class: "nats"}, answer.exact ? "exact" : ""))));
      }
    } catch (error) { parts.list.append(SV.failure(error)); }
  });

  function setRate(nats) {
    const {low, high} = SV.facts.rates;
    parts.slider.value = SV.recorded ? grid.indexOf(nats) : Math.round(100 * Math.log(nats / low) / Math.log(high / low));
    parts.slider.dispatchEvent(new Event("input"));
  }
  function update() { mark(); ask(parts.nats()); fill(); }
  function mark() {
    const i = place?.place?.index, map = SV.map.state;
    map.overlay = i === undefined ? null : {xy: {[map.plane]: [[map.x[i], map.y[i]]]}, letters: ["X"]};
    SV.map.schedule();
  }
  return {build, open: mark, pick: index => place.pick(index)};
})();
