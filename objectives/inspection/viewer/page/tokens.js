// Texts as columns: what is read, and below it what is to be predicted and what a model makes of it.
function sees(rule, query, key) {
  return rule === "all" ? true : rule === "left" ? key <= query : rule[query][key] === "1";
}

function cellElement([text, kind]) {
  return element("span", { class: text ? kind : "empty" }, text || "\u00a0");
}

// The five likeliest tokens of a place, with their probabilities.
function guessTip(words, target, [, chance, best]) {
  const rows = best.map(([cell, share]) => element("tr", {}, element("th", { scope: "row" }, data.cells[cell]), element("td", {}, percent(share)),
    element("td", {}, element("span", { class: "bar", style: `width:${share / 100}px` }))));
  return [element("p", {}, `${words.target}: `, element("strong", {}, target), ` ${percent(chance)}`),
    element("table", {}, element("caption", {}, words.likeliest), ...rows)];
}

// `made` is the pass of a model over this strip; without, the strip shows the corruption alone.
function strip(name, panel, rule, made) {
  const words = LABELS[state.language], rows = Object.entries(panel), length = rows[0][1].length;
  const guesses = new Map((made?.guesses || []).map(guess => [guess[0], guess]));
  const written = new Map(made?.written || []), columns = [];
  for (let at = 0; at < length; at++) {
    const cells = rows.map(([, row]) => data.cells[row[at]]), column = element("span", { class: "column", role: "listitem" }, ...cells.map(cellElement));
    const spoken = rows.map(([row], number) => cells[number][0] && `${words[row] || row} ${cells[number][0]}${words.kinds[cells[number][1]] ? ` (${words.kinds[cells[number][1]]})` : ""}`);
    const guess = guesses.get(at), target = panel.predicts && data.cells[panel.predicts[at]][0];
    if (guess) {
      const likeliest = data.cells[guess[2][0][0]];
      column.append(element("span", { class: guess[3] ? "correct" : "wrong" }, percent(guess[1])), element("span", { class: "best" }, guess[3] ? "\u00a0" : likeliest));
      spoken.push(`${words.target} ${percent(guess[1])}`, `${words.likeliest} ${guess[2].map(([cell, share]) => `${data.cells[cell]} ${percent(share)}`).join(", ")}`);
    } else if (guesses.size) column.append(element("span", { class: "empty" }, "\u00a0"), element("span", { class: "empty" }, "\u00a0"));
    if (written.size) column.append(element("span", { class: written.has(at) ? "random" : "empty" }, written.get(at) || "\u00a0"));
    if (written.has(at)) spoken.push(`${words.written} ${written.get(at)}`);
    for (const [term, places] of Object.entries(made?.detections || {})) {
      const detected = places.find(place => place[0] === at);
      if (!detected) { column.append(element("span", { class: "empty" }, "\u00a0")); continue; }
      column.append(element("span", { class: (detected[1] > 5000) === Boolean(detected[2]) ? "correct" : "wrong" }, `${detected[2] ? "≠" : "="} ${percent(detected[1])}`));
      spoken.push(`${words.detected[term] || term} ${percent(detected[1])} (${detected[2] ? words.isSo : words.isNot})`);
    }
    while (column.childElementCount > 1 && column.lastElementChild.className === "empty") column.lastElementChild.remove();  // a line of tokens is as high as what stands in it
    column.setAttribute("aria-label", spoken.filter(Boolean).join("; "));
    pointed(column, () => {
      columns.forEach((other, key) => other.classList.toggle("seen", sees(rule, at, key)));
      if (guess) showTip(column, ...guessTip(words, target, guess));
    }, () => {
      columns.forEach(other => other.classList.remove("seen"));
      hideTip(column);
    });
    columns.push(column);
  }
  roving(columns);
  return element("div", { class: "strip", role: "list", "aria-label": name }, ...columns);
}

// Every stack of a draw as a strip; the last one is that which predicts.
function strips(name, draw, made) {
  const words = LABELS[state.language];
  return draw.panels.flatMap((panel, index) => {
    const pass = index === draw.panels.length - 1 ? made : undefined;
    const rows = Object.keys(panel).map(row => words[row] || row);
    if (pass?.guesses.length) rows.push(`${words.target}: ${words.chance}`, words.likeliest);
    if (pass?.written.length) rows.push(words.written);
    rows.push(...Object.keys(pass?.detections || {}).map(term => words.detected[term] || term));
    return [element("p", { class: "stack" }, `${words[draw.stacks[index]]}: ${rows.join(" / ")}`), strip(`${name}, ${words[draw.stacks[index]]}`, panel, data.rules[draw.sees[index]], pass)];
  });
}
