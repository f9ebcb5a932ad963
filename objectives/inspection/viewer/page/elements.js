// Elements, numbers as text, and the keyboard.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A probability in ten thousandths.
function percent(share) {
  return share >= 1000 ? `${Math.round(share / 100)} %` : share >= 1 ? `${(share / 100).toFixed(share >= 100 ? 1 : 2)} %` : "<0.01 %";
}

// A setting or an objective in the page's language; in English it is its own name.
function named(kind, name) {
  return LABELS[state.language][kind][name] || String(name).replaceAll("_", " ");
}

function option(value, text, chosen) {
  return element("option", { value, ...(chosen ? { selected: "" } : {}) }, text);
}

function labelled(text, control) {
  return element("label", {}, element("span", {}, text), " ", control);
}

// A slider with its value beside it in the words of `shown`; `change` is called with each new value.
function slider(key, text, most, value, shown, change) {
  const input = element("input", { type: "range", min: 0, max: most, step: 1, value, "data-key": key, "aria-valuetext": shown(value) });
  const output = element("output", {}, shown(value));
  input.addEventListener("input", () => {
    output.textContent = shown(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
    change(Number(input.value));
  });
  return element("label", {}, element("span", {}, text), " ", input, " ", output);
}

// Shows something else in a container; the control that had the focus has it again.
function redraw(container, ...children) {
  const active = document.activeElement, key = container.contains(active) ? active.dataset.key : undefined;
  container.replaceChildren(...children);
  if (key !== undefined) container.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

// One stop of the Tab key for all items; arrow keys, Home and End go from one to another.
function roving(items) {
  items.forEach((item, at) => {
    item.tabIndex = at ? -1 : 0;
    item.addEventListener("focus", () => items.forEach(other => { other.tabIndex = other === item ? 0 : -1; }));
    item.addEventListener("keydown", event => {
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      items[Math.max(0, Math.min(items.length - 1, to))].focus();
    });
  });
}

function pointed(item, show, hide) {
  for (const event of ["mouseenter", "focus"]) item.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) item.addEventListener(event, hide);
}

// What is known of one token, beside it; Escape takes it away.
function showTip(item, ...content) {
  const tip = document.getElementById("tip");
  tip.replaceChildren(...content);
  tip.hidden = false;
  const at = item.getBoundingClientRect(), width = tip.offsetWidth, height = tip.offsetHeight;
  const room = document.documentElement.clientWidth, isBelow = at.bottom + height + 8 < window.innerHeight || at.top < height + 8;
  tip.style.left = `${window.scrollX + Math.max(8, Math.min(at.left, room - width - 8))}px`;
  tip.style.top = `${window.scrollY + (isBelow ? at.bottom + 4 : at.top - height - 4)}px`;
  item.setAttribute("aria-describedby", "tip");
}

function hideTip(item) {
  document.getElementById("tip").hidden = true;
  item?.removeAttribute("aria-describedby");
}

document.addEventListener("keydown", event => { if (event.key === "Escape") hideTip(); });
