// The page: its state, its parts, and the controls at its top.
const data = JSON.parse(document.getElementById("data").textContent);
const state = { language: navigator.language.startsWith("ko") ? "ko" : "en", text: 0, seed: 0, pass: 0, knobs: {}, levels: {}, runs: {}, attention: {} };
const PARTS = {
  runs: () => data.runs.length > 0 && runsPart(),
  passes: () => passesOf(state.text).length > 0 && passesPart(),
  objectives: () => data.objectives.length > 0 && objectivesPart(),
  masks: masksPart,
};

function legend(words) {
  const used = new Set(data.cells.map(cell => cell[1]));
  if (data.runs.length) used.add("correct").add("wrong");
  return Object.entries(words.kinds).filter(([kind]) => used.has(kind)).map(([kind, meaning]) => element("span", { class: kind }, meaning));
}

function render() {
  const words = LABELS[state.language];
  document.documentElement.lang = state.language;
  document.title = data.title || (data.runs.length ? words.titleRuns : words.title);
  document.querySelectorAll("[data-label]").forEach(node => { node.textContent = words[node.dataset.label]; });
  document.getElementById("heading").textContent = document.title;
  document.getElementById("lead").textContent = data.runs.length ? words.leadRuns : words.lead;
  if (data.runs.length) document.querySelector("#seed-label > span").textContent = `${words.partObjectives}: ${words.seed}`;
  document.getElementById("seed-value").textContent = state.seed;
  document.getElementById("legend").replaceChildren(...legend(words), element("span", { class: "note" }, words.parts));
  document.getElementById("left-out").replaceChildren(...data.notes.map(note => element("p", { class: "note" }, `${words.leftOut} ${note[state.language]}.`)));
  hideTip();
  for (const [name, part] of Object.entries(PARTS)) {
    const container = document.getElementById(name), made = part();
    container.hidden = !made;
    redraw(container, ...(made || []));
  }
  const links = Object.keys(PARTS).filter(name => !document.getElementById(name).hidden);
  document.getElementById("parts").replaceChildren(...links.map(name => element("a", { href: `#${name}` }, words[`part${name[0].toUpperCase()}${name.slice(1)}`])));
}

data.texts.forEach((text, index) => document.getElementById("text").append(option(index, text.length > 60 ? `${text.slice(0, 60)}…` : text, !index)));
document.getElementById("seed").max = data.seeds - 1;
document.getElementById("seed-label").hidden = !data.objectives.length;
document.getElementById("text").addEventListener("change", event => { state.text = Number(event.target.value); render(); });
document.getElementById("seed").addEventListener("input", event => { state.seed = Number(event.target.value); render(); });
document.getElementById("language").addEventListener("click", () => { state.language = state.language === "en" ? "ko" : "en"; render(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
render();
