// Generation pass by pass: masked diffusion beside generation from left to right.
function passesOf(text) {
  return data.runs.map(run => [run.name, run.texts[text].continuation]).filter(([, made]) => made?.passes);
}

function passesPart() {
  const words = LABELS[state.language], found = passesOf(state.text), most = Math.max(...found.map(([, made]) => made.passes.length - 1));
  const body = element("div");
  function show() {
    const rows = found.map(([name, made]) => {
      const cells = made.passes[Math.min(state.pass, made.passes.length - 1)].map(cellElement);
      return element("div", { class: "generation" }, element("p", { class: "stack" }, `${name}: ${words[made.kind]}`), element("p", { class: "tokens", lang: "" }, ...cells));
    });
    body.replaceChildren(...rows);
  }
  state.pass = Math.min(state.pass, most);
  show();
  const control = slider("pass", words.pass, most, state.pass, at => words.of(at, most), at => {
    state.pass = at;
    show();
  });
  return [element("h2", {}, words.partPasses), element("p", { class: "lead" }, words.passesLead), element("div", { class: "controls" }, control), body];
}
