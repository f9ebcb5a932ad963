// Who sees whom: a picture for each stack of each objective, side by side.
function maskPicture(rule, queries, keys, label) {
  let squares = "";
  for (let query = 0; query < queries; query++)
    for (let key = 0; key < keys; key++) if (sees(rule, query, key)) squares += `M${key} ${query}h.88v.88h-.88z`;
  return drawing("svg", { viewBox: `0 0 ${keys} ${queries}`, role: "img", "aria-label": label }, drawing("path", { d: squares }));
}

function ruleInWords(words, rule, length) {
  if (rule === "all") return words.allSee(length);
  if (rule === "left") return words.leftSee(length);
  const seen = rule.reduce((sum, row) => sum + [...row].filter(key => key === "1").length, 0);
  return words.someSee(length, percent(10000 * seen / length ** 2));
}

function maskFigure(name, rule, queries, keys, text) {
  return element("figure", {}, maskPicture(rule, queries, keys, `${name}: ${text}`), element("figcaption", {}, element("strong", {}, name), element("br"), text));
}

function maskFigures(name, draw) {
  const words = LABELS[state.language], lengths = draw.panels.map(panel => Object.values(panel)[0].length);
  const made = draw.stacks.map((stack, index) => {
    const rule = data.rules[draw.sees[index]];
    return maskFigure(`${name}, ${words[stack]}`, rule, lengths[index], lengths[index], ruleInWords(words, rule, lengths[index]));
  });
  if (draw.stacks.length === 2) made.push(maskFigure(`${name}, ${words.cross}`, "all", lengths[1], lengths[0], words.crossSee(lengths[1], lengths[0])));
  return element("div", { class: "masks", role: "group", "aria-label": name }, ...made);
}

function masksPart() {
  const words = LABELS[state.language];
  const drawn = data.objectives.map(objective => [named("objectives", objective.name), chosenDraw(objective)]);
  if (!data.objectives.length) data.runs.forEach(run => drawn.push([run.name, run.texts[state.text].draws?.[0]]));
  return [element("h2", {}, words.partMasks), element("p", { class: "lead" }, words.masksLead, data.objectives.length ? words.masksFollow : ""), element("div", { class: "side" }, ...drawn.filter(([, draw]) => draw).map(pair => maskFigures(...pair)))];
}
