// Circuits: zoom, pan, the strongest edges by a slider, a node's edges on a click.

for (const graph of document.querySelectorAll(".graph")) circuit(graph);

function circuit(graph) {
  const svg = graph.querySelector("svg");
  const nodes = new Map([...svg.querySelectorAll(".node")].map((n) => [n.dataset.node, n]));
  const edges = [...svg.querySelectorAll(".edge")];
  const size = (edge) => (edge.dataset.strength === "" ? -1 : Math.abs(edge.dataset.strength));
  edges.sort((a, b) => size(b) - size(a));
  graph.classList.add("live");

  const tools = element("div", "tools");
  graph.prepend(tools);
  if (edges.length > 1) slider(graph, tools, edges, nodes, size);
  zoom(svg, tools);
  choose(graph, svg, edges, nodes);
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function number(text) {
  return text === "" ? "not known" : (text.startsWith("-") ? "−" : "+") + text.replace("-", "");
}

// ---- how many edges

function slider(graph, tools, edges, nodes, size) {
  const label = element("label", "", "Strongest edges");
  const range = document.createElement("input");
  Object.assign(range, { type: "range", min: 1, max: edges.length, value: edges.length });
  const said = element("output", "");
  label.append(range);
  tools.append(label, said);

  const show = () => {
    const most = Number(range.value);
    edges.forEach((edge, i) => edge.classList.toggle("gone", i >= most));
    const left = new Set(edges.slice(0, most).flatMap((e) => [e.dataset.source, e.dataset.target]));
    nodes.forEach((node, name) => node.classList.toggle("gone", most < edges.length && !left.has(name)));
    const least = size(edges[most - 1]);
    const bound = least < 0 ? "" : `, |${graph.dataset.strength}| ≥ ${least.toPrecision(3)}`;
    said.textContent = `${most} of ${edges.length}${bound}`;
  };
  range.addEventListener("input", show);
  show();
}

// ---- zoom and pan: the view box moves

function zoom(svg, tools) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  let box = { x: 0, y: 0, width, height };
  const set = (next) => {
    box = next;
    svg.classList.toggle("close", box.width < width);
    svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
  };
  const at = (x, y) => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
  const scale = (factor, centre) => {
    const wide = Math.min(width * 2, Math.max(width / 20, box.width / factor));
    const by = wide / box.width;
    const x = centre.x - (centre.x - box.x) * by;
    const y = centre.y - (centre.y - box.y) * by;
    set({ x, y, width: wide, height: box.height * by });
  };
  const middle = () => ({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
  const reset = () => set({ x: 0, y: 0, width, height });

  const buttons = element("span", "buttons");
  const actions = [
    ["−", "Zoom out", () => scale(1 / 1.4, middle())],
    ["+", "Zoom in", () => scale(1.4, middle())],
    ["Fit", "Show all", reset],
  ];
  for (const [text, name, act] of actions) {
    const button = element("button", "", text);
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", act);
    buttons.append(button);
  }
  tools.append(buttons);

  // A plain wheel scrolls the page; with Ctrl, and by pinching on a touchpad, it zooms.
  svg.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      scale(Math.exp(-event.deltaY / 300), at(event.clientX, event.clientY));
    },
    { passive: false },
  );
  svg.addEventListener("dblclick", (event) => scale(1.6, at(event.clientX, event.clientY)));

  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  svg.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  svg.addEventListener("pointermove", (event) => {
    const from = fingers.get(event.pointerId);
    if (!from) return;
    const before = fingers.size === 2 ? spread() : 0;
    const [a, b] = [at(from.x, from.y), at(event.clientX, event.clientY)];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      const [one, two] = [...fingers.values()];
      scale(spread() / before, at((one.x + two.x) / 2, (one.y + two.y) / 2));
    } else if (event.pointerType === "mouse" || box.width < width) {
      svg.classList.add("held");
      set({ ...box, x: box.x + a.x - b.x, y: box.y + a.y - b.y });
    }
  });
  const end = (event) => {
    fingers.delete(event.pointerId);
    svg.classList.remove("held");
  };
  for (const kind of ["pointerup", "pointercancel", "pointerleave"]) svg.addEventListener(kind, end);
}

// ---- a node's edges

function choose(graph, svg, edges, nodes) {
  const ends = graph.querySelector(".ends");
  const hint = "Click a node to see what it reads and where it writes.";
  ends.textContent = hint;

  const clear = () => {
    [...edges, ...nodes.values()].forEach((part) => part.classList.remove("dim", "chosen"));
    ends.replaceChildren(hint);
  };
  const select = (name) => {
    clear();
    const into = edges.filter((edge) => edge.dataset.target === name);
    const out = edges.filter((edge) => edge.dataset.source === name);
    const near = new Set([...into, ...out].flatMap((e) => [e.dataset.source, e.dataset.target]));
    edges.forEach((e) => e.classList.toggle("dim", !into.includes(e) && !out.includes(e)));
    nodes.forEach((node, other) => node.classList.toggle("dim", other !== name && !near.has(other)));
    nodes.get(name).classList.add("chosen");
    const sides = element("div", "sides");
    sides.append(
      list("in", into, (e) => `${e.dataset.source} → ${e.dataset.channel}`, graph.dataset.strength),
      list("out", out, (e) => `→ ${e.dataset.target} ${e.dataset.channel}`, graph.dataset.strength),
    );
    ends.replaceChildren(element("strong", "", name), sides);
  };

  let pressed = null;
  svg.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
  svg.addEventListener("click", (event) => {
    const moved = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 5;
    if (moved) return;
    const node = event.target.closest(".node");
    if (node && !node.classList.contains("chosen")) select(node.dataset.node);
    else clear();
  });
  nodes.forEach((node, name) => {
    node.tabIndex = 0;
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", name);
    node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        select(name);
      }
      if (event.key === "Escape") clear();
    });
  });
}

function list(name, edges, text, strength) {
  const side = element("div", "");
  side.append(element("span", "", `${edges.length} ${name}${edges.length ? ` · ${strength}` : ""}`));
  const items = element("ul", "");
  for (const edge of edges) {
    const item = element("li", "");
    item.append(element("span", "", text(edge)), element("span", "", number(edge.dataset.strength)));
    items.append(item);
  }
  side.append(items);
  return side;
}
