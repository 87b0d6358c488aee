// The map as a picture (PNG) or drawing (SVG), with its legend, as it is seen.
"use strict";
SV.exportMap = (() => {
  const LINE = 18;
  const title = () => `${SV.facts.run}: ${SV.facts.n} examples (${SV.facts.where}), ${SV.map.state.plane === "pca" ? "PCA" : "t-SNE"}`;

  function png() {
    const map = SV.map.state, legend = SV.legend.entries(), ratio = 2;
    const extra = 30 + LINE * Math.ceil(legend.length / 3), made = document.createElement("canvas");
    made.width = map.width * ratio; made.height = (map.height + extra) * ratio;
    const c = made.getContext("2d");
    SV.map.draw(c, map.width, map.height, ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = SV.colours.css("--paper"); c.fillRect(0, map.height, map.width, extra);
    c.font = "13px system-ui, sans-serif"; c.textAlign = "left"; c.textBaseline = "middle";
    c.fillStyle = SV.colours.css("--ink"); c.fillText(title(), 12, map.height + 14);
    legend.forEach(([name, colour], i) => {
      const x = 12 + (i % 3) * (map.width - 24) / 3, y = map.height + 34 + LINE * Math.floor(i / 3);
      c.fillStyle = colour; c.beginPath(); c.arc(x + 5, y, 5, 0, 6.2832); c.fill();
      c.fillStyle = SV.colours.css("--ink"); c.fillText(name, x + 16, y);
    });
    made.toBlob(blob => SV.save("map.png", blob));
  }

  function svgText() {
    const map = SV.map.state, legend = SV.legend.entries(), {svg} = SV.charts, r = SV.map.radius();
    const extra = 30 + LINE * Math.ceil(legend.length / 3);
    const box = svg("svg", {xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${map.width} ${map.height + extra}`, "font-family": "sans-serif", "font-size": 13});
    box.append(svg("rect", {width: map.width, height: map.height + extra, fill: SV.colours.css("--paper")}));
    map.buckets.forEach((colour, b) => {
      const at = [];
      for (let k = map.starts[b]; k < map.starts[b + 1]; k++) {
        const [x, y] = SV.map.toScreen(map.x[map.order[k]], map.y[map.order[k]]);
        if (x > 0 && y > 0 && x < map.width && y < map.height) at.push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
      }
      if (at.length) box.append(svg("path", {d: at.join(""), stroke: colour, "stroke-width": (2 * r).toFixed(1), "stroke-linecap": "round", "stroke-opacity": .82, fill: "none"}));
    });
    const xy = map.overlay?.xy[map.plane];
    if (xy) {
      const places = xy.map(([x, y]) => SV.map.toScreen(x, y).map(v => v.toFixed(1)));
      if (map.overlay.line) box.append(svg("polyline", {points: places.map(p => p.join(",")).join(" "), fill: "none", stroke: SV.colours.css("--accent"), "stroke-width": 2.5}));
      for (const i of SV.overlay.order(map.overlay, places.length)) {
        const [cx, cy] = places[i], letter = map.overlay.letters?.[i];
        box.append(svg("circle", {cx, cy, r: letter ? 10 : 5, fill: SV.colours.css("--accent"), stroke: SV.colours.css("--paper"), "stroke-width": 2}));
        if (letter) box.append(svg("text", {x: cx, y: Number(cy) + 4, "text-anchor": "middle", "font-weight": "bold", fill: SV.colours.css("--on-accent")}, letter));
      }
    }
    box.append(svg("text", {x: 12, y: map.height + 18, fill: SV.colours.css("--ink")}, title()));
    legend.forEach(([name, colour], i) => {
      const x = 12 + (i % 3) * (map.width - 24) / 3, y = map.height + 38 + LINE * Math.floor(i / 3);
      box.append(svg("circle", {cx: x + 5, cy: y - 4, r: 5, fill: colour}), svg("text", {x: x + 16, y, fill: SV.colours.css("--ink")}, name));
    });
    return new XMLSerializer().serializeToString(box);
  }
  return {png, svgText, svg: () => SV.save("map.svg", svgText(), "image/svg+xml")};
})();
