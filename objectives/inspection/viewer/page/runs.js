// Trained models: what they predict of a text, checkpoint by checkpoint, and what they generate.
function lossChart(run, chosen) {
  const words = LABELS[state.language], losses = run.checkpoints.map(one => one.loss), [width, height, left, right] = [340, 120, 36, 96];
  const values = [...losses, run.unigram_entropy], low = Math.min(...values) - 0.1, high = Math.max(...values) + 0.1, last = run.checkpoints.length - 1;
  const x = at => left + (last ? at / last : 0.5) * (width - left - right), y = loss => 10 + (high - loss) / (high - low) * (height - 34);
  const label = `${words.chart}: ${run.checkpoints.map(one => `${words.step(one.step)} ${one.loss}`).join(", ")}; ${words.unigram} ${run.unigram_entropy}`;
  const picture = drawing("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  picture.append(drawing("line", { class: "entropy", x1: left, x2: width - right, y1: y(run.unigram_entropy), y2: y(run.unigram_entropy) }));
  picture.append(drawing("text", { x: width - right + 10, y: y(run.unigram_entropy) + 4 }, `${words.unigram.split(" ")[0]} ${run.unigram_entropy.toFixed(2)}`));
  picture.append(drawing("polyline", { points: losses.map((loss, at) => `${x(at)},${y(loss)}`).join(" ") }));
  run.checkpoints.forEach((one, at) => picture.append(one.is_on_plateau
    ? drawing("rect", { class: at === chosen ? "mark chosen" : "mark", x: x(at) - 4, y: y(one.loss) - 4, width: 8, height: 8 })
    : drawing("circle", { class: at === chosen ? "mark chosen" : "mark", cx: x(at), cy: y(one.loss), r: 4 })));
  const ends = [Math.max(...losses), Math.min(...losses)];
  for (const loss of y(ends[1]) - y(ends[0]) > 14 ? ends : ends.slice(1)) picture.append(drawing("text", { x: left - 8, y: y(loss) + 4, "text-anchor": "end" }, loss.toFixed(1)));
  for (const at of new Set([0, last])) picture.append(drawing("text", { x: x(at), y: height - 4, "text-anchor": "middle" }, run.checkpoints[at].step));
  return picture;
}

function checkpointText(run, at, made) {
  const words = LABELS[state.language], one = run.checkpoints[at], lines = [];
  if (one.loss !== null) lines.push(`${words.step(one.step)}, ${words.loss(one.loss.toFixed(2), run.unigram_entropy.toFixed(2))}`, one.is_on_plateau ? words.onPlateau : words.offPlateau);
  if (made.nats !== null) lines.push(words.here(made.nats.toFixed(2)));
  if (one.loss === null && run.unigram_entropy !== null) lines.push(words.entropy(run.unigram_entropy.toFixed(2)));
  return element("p", { class: "readout", "aria-live": "polite" }, lines.join(" "));
}

// Many masks in a row as their number.
function shortened(prompt) {
  return prompt.replace(/( \[MASK\]){3,}$/, masks => ` [MASK] × ${masks.length / " [MASK]".length}`);
}

function generation(words, name, made) {
  if (!made) return [];
  const shown = [element("dt", {}, words[name])];
  const text = made.text ?? "", begins = made.prompt && text.startsWith(made.prompt);
  shown.push(element("dd", { lang: "" }, element("span", { class: "lead" }, `${words.prompt}: `), shortened(made.prompt)));
  if (made.refused !== undefined) shown.push(element("dd", {}, element("span", { class: "lead" }, `${words.refused}: `), element("span", { lang: "en" }, made.refused)));
  else shown.push(element("dd", { lang: "" }, element("span", { class: "lead" }, `${words.generated}: `), begins ? made.prompt : "", element("strong", {}, begins ? text.slice(made.prompt.length) : text)));
  for (const note of made.notes || []) shown.push(element("dd", { class: "note", lang: "" }, note));
  return shown;
}

function runSection(run, number) {
  const words = LABELS[state.language], entry = run.texts[state.text], section = element("section", { class: "objective run", id: `run-${number}`, "aria-label": run.name });
  section.append(element("h3", {}, run.name), element("p", { class: "lead" }, `${words.objective}: ${named("objectives", run.objective)}`));
  if (entry.refused !== undefined) {
    section.append(element("p", { lang: "en" }, entry.refused));
    return section;
  }
  const kept = state.runs[run.name] ||= { draw: 0, checkpoint: run.checkpoints.length - 1 }, controls = element("div", { class: "controls" }), body = element("div");
  function show() {
    const draw = entry.draws[Math.min(kept.draw, entry.draws.length - 1)], made = draw.passes[kept.checkpoint];
    const chart = run.unigram_entropy !== null && run.checkpoints.length > 1 ? [lossChart(run, kept.checkpoint)] : [];
    body.replaceChildren(...chart, checkpointText(run, kept.checkpoint, made), ...strips(run.name, draw, made));
  }
  if (entry.draws.length > 1) {
    const which = element("select", { "data-key": "draw" }, ...entry.draws.map((_, at) => option(at, at, at === kept.draw)));
    which.addEventListener("change", () => { kept.draw = Number(which.value); show(); });
    controls.append(labelled(words.drawOf, which));
  }
  if (run.checkpoints.length > 1)
    controls.append(slider("checkpoint", words.checkpoint, run.checkpoints.length - 1, kept.checkpoint, at => words.step(run.checkpoints[at].step), at => { kept.checkpoint = at; show(); }));
  if (controls.childNodes.length) section.append(controls);
  show();
  section.append(body);
  if (entry.continuation) section.append(element("dl", {}, ...generation(words, "fill", entry.fill), ...generation(words, "continuation", entry.continuation)));
  else section.append(element("p", { class: "note" }, words.inTraining(`runs/${run.name}`)));
  if (entry.attention.length) section.append(attentionPanel(run, entry.attention));
  return section;
}

function runsPart() {
  return [element("h2", {}, LABELS[state.language].partRuns), ...data.runs.map(runSection)];
}
