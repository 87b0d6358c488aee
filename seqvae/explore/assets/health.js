// Health: what the evaluation says, nats by dim and by position, and how the training went.
"use strict";
SV.health = (() => {
  const {el, byId} = SV;
  let asked = false;

  async function open() {
    SV.map.state.overlay = null;
    SV.map.schedule();
    if (asked) return;
    asked = true;
    const panel = byId("panel-health"), bar = el("progress"), said = el("p", {class: "hint"}, "Measuring…");
    panel.replaceChildren(said, bar);
    try {
      const found = await SV.api("health", {}, job => {
        said.textContent = SV.progressText(job);
        if (job.total) { bar.max = job.total; bar.value = job.done; }
      });
      fill(panel, found);
    } catch (error) { asked = false; panel.replaceChildren(SV.failure(error)); }
  }

  function finding(one) {
    const box = el("div", {class: one.level === "good" ? "finding good" : "finding"}, el("p", {}, one.text));
    if (one.evidence?.length) box.append(el("ul", {}, one.evidence.map(line => el("li", {}, line))));
    if (one.config?.length) box.append(el("pre", {}, one.config.join("\n")));
    if (one.effect) box.append(el("p", {class: "hint"}, one.effect));
    return box;
  }

  function value({value, unit}) {
    if (unit === "share") return `${+(100 * value).toPrecision(3)} %`;
    return `${value.toLocaleString("en", {maximumFractionDigits: 3})} ${unit === "0-100" ? "" : unit}`;
  }

  function fill(panel, found) {
    const order = found.kl_per_dim.map((v, i) => [v, i]).sort((a, b) => b[0] - a[0]);
    panel.replaceChildren(
      el("h2", {}, "Findings"),
      ...(found.findings.length ? found.findings.map(finding) : [el("p", {class: "hint"}, "Nothing found.")]),
      el("h2", {}, "Numbers"),
      el("table", {class: "numbers-table"}, found.numbers.map(row => el("tr", {title: row.doc}, el("td", {}, row.label), el("td", {}, value(row))))),
      el("h2", {}, "Nats by dim, largest first"),
      SV.charts.bars(order.map(o => o[0]), {title: "KL per dim in nats", below: "dim", names: order.map(o => o[1])}));
    if (found.gain_by_position?.length) panel.append(
      el("h2", {}, "Nats that the code saves, by position of the token"),
      SV.charts.bars(found.gain_by_position, {title: "Gain by position in nats", below: "position"}));
    for (const [name, kinds] of Object.entries(found.curves)) panel.append(
      el("h2", {}, `${name} over training`), SV.charts.lines(kinds, {title: `${name} over training steps`}));
    if (Object.keys(found.curves).length) panel.append(el("p", {class: "hint"}, "Thin line: training. Dots: validation."));
  }
  return {build: () => {}, open, pick: null};
})();
