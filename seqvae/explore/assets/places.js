// Choosing a code: a typed sentence, a point of the map, or a draw from the prior.
"use strict";
SV.places = (() => {
  const {el} = SV;

  // A row with a letter; `changed` is called when a place was chosen. `place` is what a request takes.
  function picker(letter, changed, {draws = true, said = ""} = {}) {
    const badge = el("button", {class: "badge", type: "button", title: "The next click on the map sets this place", "aria-pressed": "false"}, letter);
    const chosen = el("div", {class: "chosen"}, said);
    const input = el("input", {type: "text", maxLength: 10000, spellcheck: false, autocomplete: "off", placeholder: "Type a sentence, or click a point", "aria-label": `Place ${letter}: a sentence`});
    const row = el("div", {class: "place"}, badge);
    const self = {row, badge, place: null, pick, setText, setDraw, input, read};
    if (SV.facts.reads_texts && !SV.recorded) {
      input.addEventListener("change", () => setText(input.value));
      input.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); setText(input.value); } });
      row.append(input);
    } else row.append(el("span", {class: "hint"}, SV.recorded ? "Click a ringed point of the map" : "Click a point of the map"));
    if (draws && !SV.recorded) row.append(el("button", {class: "quiet", type: "button", title: "A draw from the prior", on: {click: () => setDraw(Math.floor(Math.random() * 1e6))}}, "Draw"));
    row.append(chosen);

    function set(place, label) {
      self.place = place;
      chosen.textContent = label;
      chosen.classList.remove("warned");
      changed(self);
    }
    // What the server says of how the model read a typed sentence.
    function read(found) {
      if (!found || self.place?.text === undefined) return;
      const said = [`typed sentence, ${found.tokens} tokens`];
      if (found.unknown) said.push(`${found.unknown} unknown to the model`);
      if (found.cut) said.push(`the last ${found.cut} left out`);
      chosen.textContent = said.join(", ");
      chosen.classList.toggle("warned", Boolean(found.unknown || found.cut));
    }
    function pick(index) {
      input.value = "";
      set({index}, `${SV.facts.texts[index]} (example ${index})`);
    }
    function setText(text) {
      text = text.trim();
      if (text && text !== self.place?.text) set({text}, "typed sentence");
    }
    function setDraw(seed) { input.value = ""; set({draw: seed}, `prior draw ${seed}`); }
    return self;
  }
  return {picker};
})();
