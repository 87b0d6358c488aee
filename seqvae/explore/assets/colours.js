// Colours of kinds and of quantities, for both themes, chosen to be distinguishable under colour blindness.
"use strict";
SV.colours = (() => {
  // after Paul Tol's "muted" scheme; on dark ground each is lighter
  const KINDS = {
    light: ["#332288", "#cc6677", "#117733", "#4aa3c7", "#b59a1f", "#882255", "#2f9e8f", "#999933", "#aa4499", "#666a75"],
    dark: ["#9d8df2", "#f08b9b", "#5fca84", "#88ccee", "#ddcc77", "#e07ab0", "#5fd6c6", "#cccc66", "#e08ad6", "#aab0bf"],
  };
  const RAMP = {  // of viridis, without the end that the ground would swallow
    light: ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#8fbf26"],
    dark: ["#5b4fa8", "#4a72b8", "#3a93b0", "#2fb198", "#56c96f", "#a3d93f", "#fde725"],
  };
  const theme = () => document.documentElement.dataset.theme === "dark" ? "dark" : "light";
  const parse = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  function mix(stops, t) {
    const x = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1), i = Math.floor(x);
    const [a, b] = [parse(stops[i]), parse(stops[i + 1])];
    return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * (x - i))).join(",")})`;
  }
  const kind = i => KINDS[theme()][i % KINDS.light.length];
  const ramp = t => mix(RAMP[theme()], t);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const missing = () => theme() === "dark" ? "#596174" : "#b4bac6";
  return {kind, ramp, css, missing, theme, stops: () => RAMP[theme()]};
})();
