// What every part of the page uses: elements, requests, progress, differences of sentences, files to save.
"use strict";
window.SV = (() => {
  const recorded = window.SEQVAE_STATIC;
  const facts = {};  // the answer of `overview`, and later of `examples`

  // An element with properties and children; texts become text nodes, never markup.
  function el(name, properties = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") made.className = value;
      else if (key === "on") for (const [kind, call] of Object.entries(value)) made.addEventListener(kind, call);
      else if (key.startsWith("aria-") || key === "role" || key === "for" || key === "list") made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children.flat().filter(child => child !== null && child !== undefined));
    return made;
  }

  function sorted(value) {
    if (Array.isArray(value)) return value.map(sorted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.keys(value).sort().map(key => [key, sorted(value[key])]));
  }
  const keyOf = (view, request) => `${view} ${JSON.stringify(sorted(request))}`;

  // Ask the server, or the recorded answers; waits for background work and says how far it is.
  async function api(view, request = {}, progress = () => {}) {
    if (recorded) {
      const found = recorded.answers[keyOf(view, request)];
      if (found === undefined) throw new Error("not recorded in this static page: run seqvae explore for it");
      return found;
    }
    for (;;) {
      const answer = await fetch(`api/${view}`, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(request)});
      const body = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : {error: await answer.text()};
      if (answer.status === 202) {
        progress(body.pending);
        await new Promise(done => setTimeout(done, 250));
        continue;
      }
      if (!answer.ok) throw new Error(body.error || `error ${answer.status}`);
      return body;
    }
  }

  // Of calls that come faster than their answers only the last one counts.
  function latest(work) {
    let waiting = null, running = false;
    return async function call(...given) {
      waiting = given;
      if (running) return;
      running = true;
      while (waiting) {
        const now = waiting;
        waiting = null;
        try { await work(...now); } catch (error) { console.warn(error.message); }
      }
      running = false;
    };
  }

  function progressText(job) {
    if (!job) return "";
    const share = job.total ? ` ${Math.floor(100 * job.done / job.total)} %` : "…";
    return `${job.what || job.job}${share}`;
  }

  const number = (value, digits = 2) => value === null || value === undefined ? "–" : Number(value).toFixed(digits);

  // Words of `b`, with those that `a` lacks in the same order marked.
  function changed(a, b) {
    const x = a.split(/\s+/).filter(Boolean).slice(0, 400), y = b.split(/\s+/).filter(Boolean).slice(0, 400);
    const rows = Array.from({length: x.length + 1}, () => new Uint16Array(y.length + 1));
    for (let i = x.length - 1; i >= 0; i--)
      for (let j = y.length - 1; j >= 0; j--)
        rows[i][j] = x[i] === y[j] ? rows[i + 1][j + 1] + 1 : Math.max(rows[i + 1][j], rows[i][j + 1]);
    const found = [];
    let i = 0, j = 0;
    while (j < y.length) {
      if (i < x.length && x[i] === y[j]) { found.push([y[j], false]); i++; j++; }
      else if (i < x.length && rows[i + 1][j] >= rows[i][j + 1]) i++;
      else { found.push([y[j], true]); j++; }
    }
    return found;
  }

  function marked(before, text) {
    const parts = before === null || before === undefined ? text.split(/\s+/).filter(Boolean).map(word => [word, false]) : changed(before, text);
    return parts.flatMap(([word, isNew], i) => [i ? " " : "", isNew ? el("mark", {}, word) : word]);
  }

  // A text or picture that a code decodes to.
  function shown(item, before = null, size = 64) {
    if (item.image) return el("img", {src: item.image, width: size, height: size, alt: "picture"});
    return el("span", {}, item.text ? marked(before, item.text) : el("em", {}, "(empty sentence)"));
  }

  function natsText(item) {
    if (item.nll === null || item.nll === undefined) return "no NLL";
    return item.image ? `${number(item.nll, 1)} nats` : `${number(item.nll, 1)} nats, ${number(item.per_unit)} per token`;
  }

  function save(name, content, type) {
    const blob = content instanceof Blob ? content : new Blob([content], {type});
    const link = el("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  }

  // A cell that a spreadsheet reads as text, not as a formula.
  function csv(rows) {
    const cell = value => {
      let text = value === null || value === undefined ? "" : String(value);
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map(row => row.map(cell).join(",")).join("\n") + "\n";
  }

  // The lines that reproduce what is shown, and buttons that save it.
  function exports(name, {python, rows}) {
    const box = el("details", {}, el("summary", {}, "Export"));
    const buttons = el("div", {class: "row"});
    if (rows) buttons.append(el("button", {class: "quiet", type: "button", on: {click: () => save(`${name}.csv`, csv(rows()), "text/csv")}}, "CSV"));
    if (python) {
      const copy = el("button", {class: "quiet", type: "button"}, "Copy Python");
      copy.addEventListener("click", async () => { await navigator.clipboard.writeText(python); copy.textContent = "Copied"; });
      buttons.append(copy, el("button", {class: "quiet", type: "button", on: {click: () => save(`${name}.py`, python, "text/x-python")}}, "Save .py"));
    }
    box.append(buttons);
    if (python) box.append(el("pre", {}, python));
    return box;
  }

  const failure = error => el("p", {class: "error", role: "alert"}, error.message || String(error));
  const byId = id => document.getElementById(id);
  return {recorded, facts, el, api, latest, progressText, number, changed, marked, shown, natsText, save, csv, exports, failure, byId};
})();
