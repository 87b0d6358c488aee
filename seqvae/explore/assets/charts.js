// Small charts as SVG: bars and lines with axes that say their units.
"use strict";
SV.charts = (() => {
  const NS = "http://www.w3.org/2000/svg";
  function svg(name, attributes = {}, ...children) {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function ticks(low, high) {
    const span = high - low || 1, raw = span / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map(k => k * power).find(k => k >= raw);
    const found = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) found.push(Math.abs(v) < step * 1e-6 ? 0 : v);
    return found;
  }
  const label = v => Math.abs(v) >= 10000 ? `${+(v / 1000).toPrecision(3)}k` : `${+v.toPrecision(4)}`;

  function frame(width, height, low, high, title) {
    const left = 42, right = 8, top = 10, bottom = 30;
    const y = v => top + (height - top - bottom) * (1 - (v - low) / (high - low || 1));
    const box = svg("svg", {viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": title});
    for (const v of ticks(low, high)) {
      box.append(svg("line", {x1: left, x2: width - right, y1: y(v), y2: y(v), class: "axis"}));
      box.append(svg("text", {x: left - 5, y: y(v) + 4, "text-anchor": "end"}, label(v)));
    }
    return {box, left, right: width - right, bottom: height - bottom, y};
  }

  // Bars of values; `names` stand below a few of them.
  function bars(values, {title, below, names = null, width = 420, height = 170}) {
    const f = frame(width, height, Math.min(0, ...values), Math.max(1e-9, ...values), title);
    const step = (f.right - f.left) / Math.max(1, values.length);
    values.forEach((v, i) => {
      const top = Math.min(f.y(v), f.y(0)), tall = Math.max(0.5, Math.abs(f.y(v) - f.y(0)));
      const said = svg("title", {}, `${names ? names[i] : i + 1}: ${label(v)}`);
      f.box.append(svg("rect", {x: f.left + step * i + step * .1, width: step * .8, y: top, height: tall, class: v < 0 ? "bar-mark below" : "bar-mark"}, said));
    });
    const every = Math.max(1, Math.ceil(values.length / 12));
    for (let i = 0; i < values.length; i += every)
      f.box.append(svg("text", {x: f.left + step * (i + .5), y: f.bottom + 13, "text-anchor": "middle"}, names ? names[i] : i + 1));
    f.box.append(svg("text", {x: (f.left + f.right) / 2, y: height - 3, "text-anchor": "middle"}, below));
    return f.box;
  }

  // Lines over steps: `train` thin, `valid` with dots.
  function lines(kinds, {title, width = 420, height = 150}) {
    const every = Object.values(kinds).flat();
    const ys = every.map(p => p[1]).sort((a, b) => a - b), last = Math.max(...every.map(p => p[0]), 1);
    const low = Math.min(ys[0], 0.98 * ys[0]), high = ys[Math.floor((ys.length - 1) * (ys.length > 50 ? .985 : 1))];
    const f = frame(width, height, low, high === low ? low + 1 : high, title);
    const x = v => f.left + (f.right - f.left) * v / last;
    const at = ([s, v]) => `${x(s).toFixed(1)},${Math.max(4, f.y(v)).toFixed(1)}`;
    for (const kind of ["train", "valid"]) {
      if (!kinds[kind]) continue;
      f.box.append(svg("polyline", {points: kinds[kind].map(at).join(" "), class: `line-${kind}`}));
      if (kind === "valid") for (const p of kinds[kind]) {
        const [cx, cy] = at(p).split(",");
        f.box.append(svg("circle", {cx, cy, r: 2.4, class: "dot-valid"}, svg("title", {}, `step ${p[0]}: ${label(p[1])}`)));
      }
    }
    for (const v of ticks(0, last)) f.box.append(svg("text", {x: x(v), y: f.bottom + 13, "text-anchor": v === 0 ? "start" : "middle"}, label(v)));
    f.box.append(svg("text", {x: (f.left + f.right) / 2, y: height - 3, "text-anchor": "middle"}, "step"));
    return f.box;
  }
  return {svg, bars, lines};
})();
