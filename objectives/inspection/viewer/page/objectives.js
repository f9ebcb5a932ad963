// The objectives: their knobs, the draw of those and of the seed, and their rates.
function knobsOf(objective) {
  return { ...objective.texts[state.text].defaults, ...(state.knobs[objective.name] || {}) };
}

function keyOf(objective) {
  const chosen = knobsOf(objective);
  return Object.keys(objective.texts[state.text].knobs).map(name => chosen[name]).join("/");
}

// The draw of the page's seed, or of the seed whose noise level was chosen.
function chosenDraw(objective) {
  const seed = state.levels[objective.name] ?? state.seed;
  return objective.texts[state.text].draws[`${keyOf(objective)}:${seed}`];
}

// Where draws differ in their noise level: a choice among those, the lowest first.
function levelKnob(objective, show) {
  const words = LABELS[state.language], draws = objective.texts[state.text].draws, key = keyOf(objective);
  const levels = [...Array(data.seeds).keys()].map(seed => [draws[`${key}:${seed}`]?.measures["noise level"], seed]).filter(([level]) => level !== undefined);
  if (!levels.length) return [];
  levels.sort((a, b) => a[0] - b[0]);
  const chosen = state.levels[objective.name], select = element("select", { "data-knob": "noise_level", "data-key": `${objective.name}.level` }, option("", words.asDrawn, chosen === undefined),
    ...levels.map(([level, seed]) => option(seed, level.toFixed(2), seed === chosen)));
  select.addEventListener("change", () => {
    if (select.value === "") delete state.levels[objective.name];
    else state.levels[objective.name] = Number(select.value);
    show();
  });
  return [labelled(words.noiseLevel, select)];
}

function ratesTable(rates) {
  const words = LABELS[state.language], head = ["", words.measured, words.nominal].map(text => element("th", { scope: "col" }, text));
  const rows = Object.entries(rates).map(([name, [measured, nominal]]) => element("tr", {}, element("th", { scope: "row" }, words.rates[name] || name), element("td", {}, measured.toFixed(3)), element("td", {}, nominal === null ? "" : nominal.toFixed(3))));
  return element("div", { class: "wide" }, element("table", {}, element("tr", {}, ...head), ...rows));
}

function objectiveSection(objective) {
  const words = LABELS[state.language], made = objective.texts[state.text], name = named("objectives", objective.name), own = objective.name.replaceAll("_", " ");
  const body = element("div");
  function show() {
    const draw = chosenDraw(objective);
    body.replaceChildren(...(draw ? [...strips(name, draw), ratesTable(made.rates[keyOf(objective)])] : [element("p", { class: "lead" }, words.none)]));
  }
  function again() {
    show();
    document.getElementById("masks").replaceChildren(...masksPart());
  }
  const knobs = Object.entries(made.knobs).map(([knob, steps]) => {
    const chosen = knobsOf(objective)[knob], key = `${objective.name}.${knob}`;
    const select = element("select", { "data-knob": knob, "data-key": key }, ...steps.map((step, index) => option(index, named("steps", step), index === chosen)));
    select.addEventListener("change", () => {
      state.knobs[objective.name] = { ...knobsOf(objective), [knob]: Number(select.value) };
      again();
    });
    return labelled(named("knobs", knob), select);
  });
  show();
  return element("section", { class: "objective", id: objective.name, "aria-label": name }, element("h3", {}, name, ...(name === own ? [] : [" ", element("span", { class: "own", lang: "en" }, own)])), element("p", { class: "lead" }, words.titles[objective.name] || objective.title),
    element("div", { class: "knobs" }, ...knobs, ...levelKnob(objective, again)), body);
}

function objectivesPart() {
  return [element("h2", {}, LABELS[state.language].partObjectives), ...data.objectives.map(objectiveSection)];
}
