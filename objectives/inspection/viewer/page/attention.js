// What a model's heads look at: all of them small, one of them as a heat map or as lines.
const unpacked = new WeakMap();

function bytesOf(one) {
  if (!unpacked.has(one)) unpacked.set(one, Uint8Array.from(atob(one.bytes), letter => letter.charCodeAt(0)));
  return unpacked.get(one);
}

// The weights of a head, or of the mean of all where `head` is -1, as rows of shares.
function weightsOf(one, layer, head) {
  const [, heads, queries, keys] = one.shape, bytes = bytesOf(one), size = queries * keys;
  const chosen = head < 0 ? [...Array(heads).keys()] : [head];
  return Array.from({ length: queries }, (_, query) => Array.from({ length: keys }, (_, key) =>
    chosen.reduce((sum, number) => sum + bytes[(layer * heads + number) * size + query * keys + key], 0) / (255 * chosen.length)));
}

function thumbnail(weights) {
  const canvas = element("canvas", { width: weights[0].length, height: weights.length }), context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--seen");
  weights.forEach((row, query) => row.forEach((weight, key) => {
    context.globalAlpha = Math.sqrt(weight); // so that a weight of 0.05 is to be seen
    context.fillRect(key, query, 1, 1);
  }));
  return canvas;
}

const CELL = 16, MARGIN = 92;

function clipped(text) {
  return text.length > 11 ? `${text.slice(0, 10)}…` : text;
}

function heatMap(one, weights, query, choose, label) {
  const width = MARGIN + one.keys.length * CELL, height = MARGIN + one.queries.length * CELL;
  const picture = drawing("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  one.keys.forEach((key, at) => picture.append(drawing("text", { transform: `translate(${MARGIN + at * CELL + 11} ${MARGIN - 5}) rotate(-90)` }, clipped(key))));
  weights.forEach((row, at) => {
    const group = drawing("g", { class: at === query ? "chosen" : "" }, drawing("text", { x: MARGIN - 5, y: MARGIN + at * CELL + 12, "text-anchor": "end" }, clipped(one.queries[at])));
    row.forEach((weight, key) => group.append(drawing("rect", { x: MARGIN + key * CELL, y: MARGIN + at * CELL, width: CELL - 1, height: CELL - 1, "fill-opacity": Math.sqrt(weight).toFixed(3) })));
    if (at === query) group.append(drawing("rect", { class: "frame", x: MARGIN - 1, y: MARGIN + at * CELL - 1, width: row.length * CELL + 1, height: CELL + 1 }));
    group.addEventListener("mouseenter", () => choose(at));
    picture.append(group);
  });
  return picture;
}

function linesPicture(one, weights, query, choose, label) {
  const row = 18, width = 320, most = Math.max(one.queries.length, one.keys.length), height = most * row + 8;
  const picture = drawing("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  weights.forEach((weights, at) => weights.forEach((weight, key) => {
    if (weight < (at === query ? 0.2 * Math.max(...weights) : 0.05) || !weight) return;
    picture.append(drawing("line", { class: at === query ? "chosen" : "", x1: MARGIN + 4, y1: at * row + 12, x2: width - MARGIN - 4, y2: key * row + 12, "stroke-opacity": (at === query ? 0.3 + 0.7 * weight : 0.5 * weight).toFixed(3), "stroke-width": (at === query ? 1 + 4 * weight : 1).toFixed(2) }));
  }));
  one.queries.forEach((text, at) => {
    const made = drawing("text", { class: at === query ? "chosen" : "", x: MARGIN, y: at * row + 16, "text-anchor": "end" }, clipped(text));
    made.addEventListener("mouseenter", () => choose(at));
    picture.append(made);
  });
  one.keys.forEach((text, at) => picture.append(drawing("text", { x: width - MARGIN, y: at * row + 16 }, clipped(text))));
  return picture;
}

function lookedAt(words, one, weights, query) {
  const places = weights[query].map((weight, key) => [weight, key]).filter(([weight]) => weight > 0).sort((a, b) => b[0] - a[0]).slice(0, 5);
  return words.looksAt(`“${one.queries[query]}”`, places.map(([weight, key]) => `“${one.keys[key]}” ${percent(10000 * weight)}`).join(", "));
}

// One head, whose query is chosen among its tokens or in the picture.
function headView(one, layer, head, view) {
  const words = LABELS[state.language], weights = weightsOf(one, layer, head), holder = element("div", { class: "wide", tabindex: 0, role: "group" });
  const name = head < 0 ? `${words.layer} ${one.first_layer + layer + 1}, ${words.mean}` : words.headName(one.first_layer + layer + 1, head + 1);
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  let chosen = -1;
  function choose(query) {
    if (query === chosen) return;
    chosen = query;
    holder.replaceChildren((view === "heat" ? heatMap : linesPicture)(one, weights, query, choose, name));
    readout.textContent = lookedAt(words, one, weights, query);
    queries.forEach((item, at) => item.classList.toggle("seen", at === query));
  }
  holder.setAttribute("aria-label", name);
  const queries = one.queries.map((text, at) => {
    const item = element("span", { class: "column", role: "listitem", "aria-label": lookedAt(words, one, weights, at) }, text);
    for (const event of ["mouseenter", "focus"]) item.addEventListener(event, () => choose(at));
    return item;
  });
  roving(queries);
  choose(Math.min(1, one.queries.length - 1));
  return [element("p", { class: "stack" }, `${name}; ${words.queries}:`), element("div", { class: "strip queries", role: "list", "aria-label": words.queries }, ...queries), readout, holder];
}

function thumbnails(one, chosen, choose) {
  const words = LABELS[state.language], [layers, heads] = one.shape, buttons = [];
  const rows = Array.from({ length: layers }, (_, layer) => element("tr", {}, element("th", { scope: "row" }, `${words.layer} ${one.first_layer + layer + 1}`),
    ...[...Array(heads).keys(), -1].map(head => {
      const name = head < 0 ? `${words.layer} ${one.first_layer + layer + 1}, ${words.mean}` : words.headName(one.first_layer + layer + 1, head + 1);
      const button = element("button", { type: "button", class: "head", title: name, "aria-label": name, "aria-pressed": String(layer === chosen.layer && head === chosen.head), "data-key": `head ${layer} ${head}` }, thumbnail(weightsOf(one, layer, head)));
      button.addEventListener("click", () => choose({ layer, head }));
      buttons.push(button);
      return element("td", {}, button);
    })));
  const head = element("tr", {}, element("td"), ...[...Array(heads).keys()].map(number => element("th", { scope: "col" }, `${words.head} ${number + 1}`)), element("th", { scope: "col" }, words.mean));
  roving(buttons);
  return element("div", { class: "wide" }, element("table", { class: "heads" }, head, ...rows));
}

function mapName(words, one, several) {
  const role = several ? `${one.role}: ` : "";
  return one.kind === "cross" ? `${role}${words.cross}` : `${role}${words[one.stack]} → ${words.kinds_self}`;
}

function attentionPanel(run, maps) {
  const words = LABELS[state.language], name = run.name, kept = state.attention[name] ||= { open: false, map: 0, layer: 0, head: 0, view: "heat" };
  const panel = element("details", { class: "attention", ...(kept.open ? { open: "" } : {}) }), body = element("div");
  function change(values) {
    Object.assign(kept, values);
    redraw(body, ...content());
  }
  function content() {
    const one = maps[Math.min(kept.map, maps.length - 1)], layer = Math.min(kept.layer, one.shape[0] - 1), head = Math.min(kept.head, one.shape[1] - 1);
    const several = new Set(maps.map(map => map.role)).size > 1;
    const which = element("select", { "data-key": "map" }, ...maps.map((map, at) => option(at, mapName(words, map, several), map === one)));
    which.addEventListener("change", () => change({ map: Number(which.value) }));
    const view = element("select", { "data-key": "view" }, ...["heat", "lines"].map(kind => option(kind, words[kind], kind === kept.view)));
    view.addEventListener("change", () => change({ view: view.value }));
    return [element("p", { class: "lead" }, words.attentionNote), element("div", { class: "knobs" }, labelled(words.attentionOf, which), labelled("", view)), element("div", { class: "heads-and-map" }, thumbnails(one, { layer, head }, change), element("div", {}, ...headView(one, layer, head, kept.view)))];
  }
  panel.append(element("summary", { "data-key": "attention" }, `${words.attention}: ${name}`), body);
  panel.addEventListener("toggle", () => {
    kept.open = panel.open;
    body.replaceChildren(...(panel.open ? content() : []));
  });
  if (kept.open) body.append(...content());
  return panel;
}
