// The map on a canvas: places, colours, shaded holes, marks of the other views. 50,000 points stay smooth.
"use strict";
SV.map = (() => {
  const canvas = SV.byId("canvas"), context = canvas.getContext("2d");
  const state = {
    n: 0, planes: {}, plane: "pca", x: new Float32Array(0), y: new Float32Array(0),
    bucket: new Uint8Array(0), order: new Uint32Array(0), buckets: [], only: -1,
    view: {cx: 0, cy: 0, scale: 1}, width: 1, height: 1, ratio: 1,
    hits: [], hit: -1, focus: -1, recorded: [], overlay: null, shade: null, showHoles: true,
  };
  let asked = false, grid = null;

  function schedule() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(context, state.width, state.height, state.ratio); });
  }

  function resize() {
    const box = canvas.getBoundingClientRect();
    state.ratio = window.devicePixelRatio || 1;
    state.width = Math.max(1, box.width);
    state.height = Math.max(1, box.height);
    canvas.width = Math.round(state.width * state.ratio);
    canvas.height = Math.round(state.height * state.ratio);
    schedule();
  }

  const toScreen = (x, y) => [(x - state.view.cx) * state.view.scale + state.width / 2, (state.view.cy - y) * state.view.scale + state.height / 2];
  const toPlane = (sx, sy) => [(sx - state.width / 2) / state.view.scale + state.view.cx, state.view.cy - (sy - state.height / 2) / state.view.scale];

  function bounds(x, y) {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < x.length; i++) {
      if (x[i] < left) left = x[i];
      if (x[i] > right) right = x[i];
      if (y[i] < low) low = y[i];
      if (y[i] > high) high = y[i];
    }
    return x.length ? [left, right, low, high] : [-1, 1, -1, 1];
  }

  function showAll() {
    const [left, right, low, high] = bounds(state.x, state.y);
    state.view.cx = (left + right) / 2;
    state.view.cy = (low + high) / 2;
    state.view.scale = 0.92 * Math.min(state.width / (right - left || 1), state.height / (high - low || 1));
    schedule();
  }

  function zoom(factor, sx = state.width / 2, sy = state.height / 2) {
    const [x, y] = toPlane(sx, sy), view = state.view;
    view.scale = Math.min(1e7, Math.max(1e-4, view.scale * factor));
    view.cx = x - (sx - state.width / 2) / view.scale;
    view.cy = y + (sy - state.height / 2) / view.scale;
    schedule();
  }

  function pan(dx, dy) {
    state.view.cx -= dx / state.view.scale;
    state.view.cy += dy / state.view.scale;
    schedule();
  }

  function setPlane(name) {
    const to = state.planes[name];
    if (!to) return;
    const from = {x: state.x, y: state.y}, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const moves = state.x.length === to.x.length && state.x.length > 0 && name !== state.plane && !still && state.n <= 20000;
    state.plane = name;
    if (!moves) { state.x = to.x; state.y = to.y; grid = null; showAll(); return; }
    const began = performance.now(), old = {...state.view}, steps = 450;
    state.x = to.x; state.y = to.y; showAll();
    const wanted = {...state.view};
    const a = new Float32Array(to.x.length), b = new Float32Array(to.x.length);
    state.view = old;
    const tick = now => {
      if (state.plane !== name) return;
      const t = Math.min(1, (now - began) / steps), s = t * t * (3 - 2 * t);
      // both planes are drawn in their own scale: places move on the screen, not in code space
      for (let i = 0; i < a.length; i++) {
        const fx = (from.x[i] - old.cx) * old.scale, fy = (from.y[i] - old.cy) * old.scale;
        const tx = (to.x[i] - wanted.cx) * wanted.scale, ty = (to.y[i] - wanted.cy) * wanted.scale;
        a[i] = fx + (tx - fx) * s; b[i] = fy + (ty - fy) * s;
      }
      if (t >= 1) { state.x = to.x; state.y = to.y; state.view = wanted; grid = null; schedule(); return; }
      state.x = a; state.y = b; state.view = {cx: 0, cy: 0, scale: 1};
      draw(context, state.width, state.height, state.ratio);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // Colours: every point belongs to a bucket; points are drawn bucket after bucket.
  function setBuckets(bucket, buckets) {
    state.bucket = bucket;
    state.buckets = buckets;
    const counts = new Uint32Array(buckets.length + 1);
    for (const b of bucket) counts[b + 1]++;
    for (let b = 0; b < buckets.length; b++) counts[b + 1] += counts[b];
    state.starts = counts.slice();
    const order = new Uint32Array(bucket.length), next = counts.slice();
    for (let i = 0; i < bucket.length; i++) order[next[bucket[i]]++] = i;
    state.order = order;
    schedule();
  }

  function radius() {
    const base = state.n <= 600 ? 4.2 : state.n <= 3000 ? 3 : state.n <= 12000 ? 2.2 : 1.4;
    const [left, right] = state.n ? bounds(state.x, state.y) : [0, 1];
    const closer = state.view.scale * (right - left || 1) / state.width;
    return Math.min(7, base * Math.max(0.75, closer ** 0.35));
  }

  function drawPoints(c, width, height) {
    const r = radius(), big = state.n > 6000, {cx, cy, scale} = state.view;
    const ox = width / 2 - cx * scale, oy = height / 2 + cy * scale;
    for (let b = 0; b < state.buckets.length; b++) {
      const dim = state.only >= 0 && state.only !== b;
      c.globalAlpha = dim ? 0.1 : big ? 0.75 : 0.82;
      c.fillStyle = state.buckets[b];
      if (!big) c.beginPath();
      for (let k = state.starts[b]; k < state.starts[b + 1]; k++) {
        const i = state.order[k], sx = state.x[i] * scale + ox, sy = oy - state.y[i] * scale;
        if (sx < -8 || sy < -8 || sx > width + 8 || sy > height + 8) continue;
        if (big) c.fillRect(sx - r, sy - r, 2 * r, 2 * r);
        else { c.moveTo(sx + r, sy); c.arc(sx, sy, r, 0, 6.2832); }
      }
      if (!big) c.fill();
    }
    c.globalAlpha = 1;
  }

  function ring(c, i, r, colour, width = 2) {
    const [sx, sy] = toScreen(state.x[i], state.y[i]);
    c.beginPath(); c.arc(sx, sy, r, 0, 6.2832);
    c.lineWidth = width + 2; c.strokeStyle = SV.colours.css("--paper"); c.stroke();
    c.lineWidth = width; c.strokeStyle = colour; c.stroke();
  }

  function drawHits(c) {
    const r = radius() + 2;
    c.fillStyle = SV.colours.css("--warm");
    c.strokeStyle = SV.colours.css("--paper");
    c.lineWidth = 1.2;
    for (const i of state.hits.slice(0, 5000)) {
      const [sx, sy] = toScreen(state.x[i], state.y[i]);
      c.beginPath(); c.arc(sx, sy, r, 0, 6.2832); c.fill(); c.stroke();
    }
    if (state.hit >= 0) ring(c, state.hits[state.hit], r + 5, SV.colours.css("--warm"), 2.5);
  }

  function draw(c, width, height, ratio) {
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.fillStyle = SV.colours.css("--paper");
    c.fillRect(0, 0, width, height);
    if (!state.n) return;
    if (state.showHoles && state.plane === "pca" && state.shade) SV.shade.draw(c, state.shade, toScreen);
    drawPoints(c, width, height);
    for (const i of state.recorded) ring(c, i, radius() + 3, SV.colours.css("--ink"), 1.5);
    if (state.hits.length) drawHits(c);
    if (state.overlay) SV.overlay.draw(c, state.overlay, state.plane, toScreen);
    if (state.focus >= 0) ring(c, state.focus, state.overlay?.letters ? 14 : radius() + 5, SV.colours.css("--accent"), 2.5);  // around a letter, not across it
  }

  // The nearest point to a place on the screen, within some pixels: by cells, so that all need not be asked.
  function nearest(sx, sy, within = 14) {
    if (!state.n) return -1;
    grid ||= makeGrid();
    const [x, y] = toPlane(sx, sy), reach = within / state.view.scale;
    let best = -1, least = reach * reach;
    const column = v => Math.min(grid.side - 1, Math.max(0, Math.floor((v - grid.left) / grid.width)));
    const row = v => Math.min(grid.side - 1, Math.max(0, Math.floor((v - grid.low) / grid.height)));
    for (let r = row(y - reach); r <= row(y + reach); r++)
      for (let q = column(x - reach); q <= column(x + reach); q++)
        for (const i of grid.cells[r * grid.side + q]) {
          if (state.only >= 0 && state.bucket[i] !== state.only) continue;
          const d = (state.x[i] - x) ** 2 + (state.y[i] - y) ** 2;
          if (d < least) { least = d; best = i; }
        }
    return best;
  }

  function makeGrid() {
    const side = Math.max(1, Math.min(160, Math.round(Math.sqrt(state.n / 3))));
    const [left, right, low, high] = bounds(state.x, state.y);
    const width = (right - left) / side || 1, height = (high - low) / side || 1;
    const cells = Array.from({length: side * side}, () => []);
    for (let i = 0; i < state.n; i++) {
      const q = Math.min(side - 1, Math.floor((state.x[i] - left) / width)), r = Math.min(side - 1, Math.floor((state.y[i] - low) / height));
      cells[r * side + q].push(i);
    }
    return {side, left, low, width, height, cells};
  }

  // From a point the nearest one in a direction on the screen, for the arrow keys.
  function neighbour(from, dx, dy) {
    let best = -1, least = Infinity;
    for (let i = 0; i < state.n; i++) {
      const x = state.x[i] - state.x[from], y = state.y[from] - state.y[i];
      const along = x * dx + y * dy, across = Math.abs(x * dy - y * dx);
      if (along <= 0 || across > along) continue;
      const far = along + 2 * across;
      if (far < least) { least = far; best = i; }
    }
    return best;
  }

  // Bring a point into view.
  function reveal(i) {
    const [sx, sy] = toScreen(state.x[i], state.y[i]);
    if (sx < 30 || sy < 30 || sx > state.width - 30 || sy > state.height - 30) { state.view.cx = state.x[i]; state.view.cy = state.y[i]; }
    schedule();
  }

  new ResizeObserver(() => { const empty = state.width <= 1; resize(); if (empty) showAll(); }).observe(canvas);
  return {state, canvas, schedule, resize, draw, toScreen, toPlane, showAll, zoom, pan, setPlane, setBuckets, nearest, neighbour, reveal, radius};
})();

// Which share of the prior draws nearby no example is near to: a soft picture under the points.
SV.shade = (() => {
  const SIDE = 90;
  function make(holes) {
    const margin = 0.04, pick = (v, k) => [...v].sort((a, b) => a - b)[Math.floor((v.length - 1) * k)];
    const [left, right, low, high] = [pick(holes.x, 0), pick(holes.x, 1), pick(holes.y, 0), pick(holes.y, 1)];
    const dx = (right - left || 1) * (1 + 2 * margin), dy = (high - low || 1) * (1 + 2 * margin);
    let inside = new Float32Array(SIDE * SIDE), every = new Float32Array(SIDE * SIDE);
    holes.inside.forEach((hole, i) => {
      const q = Math.floor((holes.x[i] - left + margin * (right - left)) / dx * SIDE), r = Math.floor((high + margin * (high - low) - holes.y[i]) / dy * SIDE);
      const cell = Math.min(SIDE - 1, r) * SIDE + Math.min(SIDE - 1, q);
      every[cell] += 1;
      inside[cell] += hole;
    });
    for (let k = 0; k < 3; k++) { inside = blur(inside); every = blur(every); }
    // the share of draws in holes nearby, drawn towards 0 where hardly any draw falls
    const few = 0.01 * Math.max(...every), counts = inside.map((v, i) => v / (every[i] + few));
    return {counts, most: 0.5, left: left - margin * (right - left), top: high + margin * (high - low), dx, dy, picture: null, theme: ""};
  }
  function blur(from) {
    const reach = 3, to = new Float32Array(from.length), half = new Float32Array(from.length);
    const pass = (a, b, across) => {
      for (let i = 0; i < SIDE; i++) for (let j = 0; j < SIDE; j++) {
        let sum = 0;
        for (let k = -reach; k <= reach; k++) {
          const m = Math.min(SIDE - 1, Math.max(0, j + k));
          sum += across ? a[i * SIDE + m] : a[m * SIDE + i];
        }
        b[across ? i * SIDE + j : j * SIDE + i] = sum / (2 * reach + 1);
      }
    };
    pass(from, half, true); pass(half, to, false);
    return to;
  }
  function paint(shade) {
    const dark = SV.colours.theme() === "dark", made = document.createElement("canvas");
    made.width = made.height = SIDE;
    const c = made.getContext("2d"), image = c.createImageData(SIDE, SIDE);
    const [r, g, b] = dark ? [255, 150, 70] : [222, 96, 20];
    shade.counts.forEach((v, i) => {
      image.data.set([r, g, b, Math.round(255 * (dark ? 0.55 : 0.5) * Math.min(1, v / shade.most) ** 0.8)], 4 * i);
    });
    c.putImageData(image, 0, 0);
    shade.picture = made;
    shade.theme = SV.colours.theme();
  }
  function draw(c, shade, toScreen) {
    if (!shade.picture || shade.theme !== SV.colours.theme()) paint(shade);
    const [x0, y0] = toScreen(shade.left, shade.top), [x1, y1] = toScreen(shade.left + shade.dx, shade.top - shade.dy);
    c.imageSmoothingEnabled = true;
    c.drawImage(shade.picture, x0, y0, x1 - x0, y1 - y0);
  }
  return {make, draw};
})();

// Marks of the other views: a path with its steps, or single codes with letters.
SV.overlay = (() => {
  function draw(c, overlay, plane, toScreen) {
    const xy = overlay.xy[plane];
    if (!xy) return;
    const places = xy.map(([x, y]) => toScreen(x, y)), accent = SV.colours.css("--accent"), paper = SV.colours.css("--paper");
    if (overlay.line) {
      for (const [colour, width] of [[paper, 5], [accent, 2.5]]) {
        c.beginPath();
        places.forEach(([x, y], i) => i ? c.lineTo(x, y) : c.moveTo(x, y));
        c.strokeStyle = colour; c.lineWidth = width; c.lineJoin = "round"; c.stroke();
      }
    }
    for (const i of order(overlay, places.length)) mark(c, ...places[i], overlay, i, accent, paper);
  }
  // Letters last: steps that lie on an end do not hide it.
  function order(overlay, n) {
    const weight = i => (overlay.letters?.[i] ? 2 : 0) + (overlay.current === i ? 1 : 0);
    return Array.from({length: n}, (_, i) => i).sort((i, j) => weight(i) - weight(j) || i - j);
  }
  function mark(c, x, y, overlay, i, accent, paper) {
    const letter = overlay.letters?.[i], current = overlay.current === i, r = letter ? 10 : current ? 8 : 5;
    c.beginPath();
    if (overlay.diamonds) { const d = current ? 9 : 6.5; c.moveTo(x, y - d); c.lineTo(x + d, y); c.lineTo(x, y + d); c.lineTo(x - d, y); c.closePath(); }
    else c.arc(x, y, r, 0, 6.2832);
    const open = overlay.open?.[i];
    c.fillStyle = open ? paper : current ? SV.colours.css("--warm") : accent;
    c.strokeStyle = open ? SV.colours.css("--warm") : paper;
    c.lineWidth = open ? 2.5 : 2;
    c.fill(); c.stroke();
    if (!letter) return;
    c.fillStyle = current ? paper : SV.colours.css("--on-accent");
    c.font = "bold 12px system-ui, sans-serif"; c.textAlign = "center"; c.textBaseline = "middle";
    c.fillText(letter, x, y + 0.5);
  }
  return {draw, order};
})();
