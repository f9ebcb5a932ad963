"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const LABELS = {
  en: {
    title: "One text under every objective", text: "text", seed: "draw", language: "한국어",
    lead: "What each pretraining objective reads of the same text, and what it is to predict. Move the knobs: every draw is one that the training code made. Point at a token, or reach it by Tab, to see which tokens it sees.",
    reads: "reads", predicts: "is to predict", for: "what stood there", from: "which sentence it was", model: "predicts",
    encoder: "encoder", decoder: "decoder", measured: "measured", nominal: "nominal", sees: "who sees whom (rows: who, columns: whom)",
    none: "These settings contradict each other: the objective refuses them.",
    leftOut: (all, kept) => `Of ${all} draws a setting ${kept} are kept, so that the page stays below 2 MB.`,
    kinds: { hidden: "hidden", random: "randomised", kept: "kept, and a target", random_segment: "of another document", target: "target", special: "mark" },
  },
  ko: {
    title: "모든 목표에서 본 한 문장", text: "텍스트", seed: "추출", language: "English",
    lead: "같은 텍스트에서 각 사전학습 목표가 읽는 것과 예측해야 하는 것입니다. 조절기를 움직여 보세요. 모든 추출은 학습 코드가 만든 것입니다. 토큰을 가리키거나 Tab 키로 옮겨 가면 그 토큰이 보는 토큰이 표시됩니다.",
    reads: "읽는 것", predicts: "예측할 것", for: "원래 있던 것", from: "원래 문장 번호", model: "예측",
    encoder: "인코더", decoder: "디코더", measured: "측정값", nominal: "설정값", sees: "누가 누구를 보는가 (행: 보는 쪽, 열: 보이는 쪽)",
    none: "서로 모순되는 설정이어서 이 목표가 거절합니다.",
    leftOut: (all, kept) => `페이지를 2 MB 아래로 유지하려고 설정마다 ${all}개 가운데 ${kept}개의 추출만 담았습니다.`,
    kinds: { hidden: "가려짐", random: "무작위 토큰", kept: "그대로 두고 예측", random_segment: "다른 문서", target: "예측할 토큰", special: "표지" },
  },
};
const state = { language: navigator.language.startsWith("ko") ? "ko" : "en", text: 0, seed: 0, knobs: {} };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function sees(rule, query, key) {
  return rule === "all" ? true : rule === "left" ? key <= query : rule[query][key] === "1";
}

function maskPicture(rule, length, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${length} ${length}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (let query = 0; query < length; query++)
    for (let start = 0; start < length; start++) {
      if (!sees(rule, query, start)) continue;
      let end = start;
      while (end + 1 < length && sees(rule, query, end + 1)) end++;
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of Object.entries({ x: start, y: query, width: end - start + 0.92, height: 0.92 })) rect.setAttribute(name, value);
      svg.append(rect);
      start = end;
    }
  return svg;
}

function strip(panel, rule) {
  const rows = Object.values(panel), length = rows[0].length, made = element("div", { class: "strip" });
  const columns = [];
  for (let at = 0; at < length; at++) {
    const cells = rows.map(row => element("span", { class: row[at][0] ? row[at][1] : "empty" }, row[at][0] || "\u00a0"));
    const column = element("span", { class: "column", tabindex: "0" }, ...cells);
    const show = on => columns.forEach((other, key) => other.classList.toggle("seen", on && sees(rule, at, key)));
    for (const [event, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) column.addEventListener(event, () => show(on));
    columns.push(column);
  }
  made.append(...columns);
  return made;
}

function objectiveSection(objective) {
  const words = LABELS[state.language], made = objective.texts[state.text];
  const chosen = { ...made.defaults, ...(state.knobs[objective.name] || {}) };
  const key = Object.keys(made.knobs).map(name => chosen[name]).join("/");
  const section = element("section", { class: "objective", id: objective.name }, element("h2", {}, objective.name.replaceAll("_", " ")), element("p", { class: "paper" }, objective.title));
  const knobs = element("div", { class: "knobs" });
  for (const [name, steps] of Object.entries(made.knobs)) {
    const select = element("select", { "data-knob": name });
    steps.forEach((step, index) => select.append(element("option", { value: index, ...(index === chosen[name] ? { selected: "" } : {}) }, String(step))));
    select.addEventListener("change", () => {
      state.knobs[objective.name] = { ...chosen, [name]: Number(select.value) };
      section.replaceWith(objectiveSection(objective));
      document.querySelector(`#${objective.name} [data-knob=${name}]`).focus();
    });
    knobs.append(element("label", {}, `${name.replaceAll("_", " ")} `, select));
  }
  section.append(knobs);
  const draw = made.draws[`${key}:${state.seed}`];
  if (!draw) {
    section.append(element("p", { class: "note" }, words.none));
    return section;
  }
  const pictures = element("div", { class: "below" });
  draw.panels.forEach((panel, index) => {
    const names = Object.keys(panel).map(row => words[row] || row).join(" / ");
    section.append(element("p", { class: "stack" }, `${words[draw.stacks[index]]}: ${names}`), strip(panel, draw.sees[index]));
    const label = `${words[draw.stacks[index]]}: ${words.sees}`;
    pictures.append(element("figure", {}, maskPicture(draw.sees[index], Object.values(panel)[0].length, label), element("figcaption", {}, label)));
  });
  const table = element("table", {}, element("tr", {}, element("th", {}), element("th", { scope: "col" }, words.measured), element("th", { scope: "col" }, words.nominal)));
  for (const [name, [measured, nominal]] of Object.entries(made.rates[key]))
    table.append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, measured.toFixed(3)), element("td", {}, nominal === null ? "" : nominal.toFixed(3))));
  pictures.prepend(table);
  section.append(pictures);
  return section;
}

function render() {
  const words = LABELS[state.language];
  document.documentElement.lang = state.language;
  document.title = words.title;
  document.querySelectorAll("[data-label]").forEach(node => { node.textContent = words[node.dataset.label]; });
  document.getElementById("language").textContent = words.language;
  document.getElementById("seed-value").textContent = state.seed;
  const legend = Object.entries(words.kinds).map(([kind, meaning]) => element("span", { class: kind }, meaning));
  document.getElementById("legend").replaceChildren(...legend);
  if (data.left_out) {
    const note = document.getElementById("left-out");
    note.hidden = false;
    note.textContent = words.leftOut(...data.left_out.split(":"));
  }
  document.getElementById("objectives").replaceChildren(...data.objectives.map(objectiveSection));
}

data.texts.forEach((text, index) => document.getElementById("text").append(element("option", { value: index }, text.length > 60 ? `${text.slice(0, 60)}…` : text)));
document.getElementById("seed").max = data.seeds - 1;
document.getElementById("text").addEventListener("change", event => { state.text = Number(event.target.value); render(); });
document.getElementById("seed").addEventListener("input", event => { state.seed = Number(event.target.value); render(); });
document.getElementById("language").addEventListener("click", () => { state.language = state.language === "en" ? "ko" : "en"; render(); });
render();
