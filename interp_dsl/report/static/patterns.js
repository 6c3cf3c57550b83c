// Attention patterns: all heads small, the chosen one large, with the tokens at its sides.

for (const patterns of document.querySelectorAll(".patterns")) board(patterns);

function board(patterns) {
  const examples = JSON.parse(patterns.querySelector("script").textContent);
  const bytes = new Map();
  let state = { example: 0, side: Object.keys(examples[0].sides)[0], layer: 0, head: 0 };

  const heading = document.createElement("p");
  heading.className = "tools";
  const said = document.createElement("span");
  const pick = select("Example", examples.map((e) => `example ${e.example + 1}`), (i) => set({ example: i }));
  const names = Object.keys(examples[0].sides);
  const side = select("Side", names, (i) => set({ side: names[i] }));
  heading.append("Attention", pick, side, said);

  const boards = document.createElement("div");
  boards.className = "boards";
  const heads = canvas("heads", "All heads: layers down, heads across");
  const large = canvas("large", "The chosen head: queries down, keys across");
  boards.append(heads.parentNode, large.parentNode);
  patterns.append(heading, boards);

  const held = () => examples[state.example].sides[state.side];
  const values = () => {
    const key = `${state.example} ${state.side}`;
    if (!bytes.has(key)) {
      bytes.set(key, Uint8Array.from(atob(held().data), (c) => c.charCodeAt(0)));
    }
    return bytes.get(key);
  };
  const value = (layer, head, query, key) => {
    const { heads: n, size } = held();
    return values()[((layer * n + head) * size + query) * size + key] / 255;
  };
  const name = (layer, head) => {
    const { layers, heads: n } = held();
    return layers[layer] && head >= 0 && head < n ? `${layers[layer]}H${head}` : "";
  };
  const set = (change) => {
    state = { ...state, ...change };
    draw();
  };

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ink = { line: colour("--rule"), text: colour("--faint"), mark: colour("--ink"), dot: colour("--positive") };
    thumbnails(heads, held(), state, value, ink);
    single(large, held(), state, value, ink);
    said.textContent = name(state.layer, state.head);
  }

  heads.addEventListener("click", (event) => {
    const place = within(heads, event);
    const layer = Math.floor(place.y * held().layers.length);
    const head = Math.floor(place.x * held().heads);
    if (name(layer, head)) set({ layer, head });
  });
  heads.addEventListener("pointermove", (event) => {
    const place = within(heads, event);
    heads.dataset.tip = name(
      Math.floor(place.y * held().layers.length),
      Math.floor(place.x * held().heads),
    );
  });
  large.addEventListener("pointermove", (event) => {
    const { tokens, size } = held();
    const { left, cell } = large.geometry;
    const box = large.getBoundingClientRect();
    const shown = large.width / devicePixelRatio / box.width;
    const key = Math.floor(((event.clientX - box.left) * shown - left) / cell);
    const query = Math.floor(((event.clientY - box.top) * shown) / cell);
    const isInside = key >= 0 && key < size && query >= 0 && query < size;
    large.dataset.tip = isInside
      ? `${tokens[query]} (${query}) attends to ${tokens[key]} (${key}): ${value(state.layer, state.head, query, key).toFixed(2)}`
      : "";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}

function select(name, options, act) {
  const made = document.createElement("select");
  made.setAttribute("aria-label", name);
  options.forEach((text) => made.append(new Option(text)));
  made.addEventListener("change", () => act(made.selectedIndex));
  return made;
}

function canvas(className, label) {
  const made = document.createElement("canvas");
  made.className = className;
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", label);
  const holder = document.createElement("div");
  holder.className = "board";
  holder.append(made);
  return made;
}

function within(element, event) {
  const box = element.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

// A canvas of so many CSS pixels, sharp on every screen.
function sized(element, width, height) {
  const ratio = devicePixelRatio;
  element.width = width * ratio;
  element.height = height * ratio;
  element.style.width = `${width}px`;
  const pen = element.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

function thumbnails(element, { layers, heads, size }, state, value, ink) {
  const rows = layers.length;
  const tile = Math.max(24, Math.min(64, Math.floor(480 / heads)));
  const pen = sized(element, heads * tile, rows * tile);
  const inner = tile - 6;
  for (let layer = 0; layer < rows; layer++) {
    for (let head = 0; head < heads; head++) {
      const [x, y] = [head * tile + 3, layer * tile + 3];
      pen.fillStyle = ink.dot;
      for (let query = 0; query < size; query++) {
        for (let key = 0; key < size; key++) {
          const share = value(layer, head, query, key);
          if (share < 0.02) continue;
          pen.globalAlpha = share;
          const [a, b] = [inner / size, Math.max(1, inner / size)];
          pen.fillRect(x + key * a, y + query * a, b, b);
        }
      }
      pen.globalAlpha = 1;
      const isChosen = layer === state.layer && head === state.head;
      pen.strokeStyle = isChosen ? ink.mark : ink.line;
      pen.lineWidth = isChosen ? 2 : 1;
      pen.strokeRect(x - 0.5, y - 0.5, inner + 1, inner + 1);
    }
  }
}

function single(element, { size, tokens }, state, value, ink) {
  const cell = Math.max(7, Math.min(22, Math.floor(420 / size)));
  const font = Math.min(11, cell + 1);
  const measure = element.getContext("2d");
  measure.font = `${font}px monospace`;
  const longest = Math.min(110, Math.max(...tokens.map((t) => measure.measureText(t).width)));
  const left = Math.ceil(longest) + 10;
  element.geometry = { left, cell };
  const pen = sized(element, left + size * cell + 2, size * cell + left);
  pen.font = `${font}px monospace`;
  pen.textBaseline = "middle";
  for (let query = 0; query < size; query++) {
    pen.fillStyle = ink.text;
    pen.textAlign = "right";
    pen.fillText(tokens[query], left - 6, (query + 0.5) * cell, longest);
    pen.fillStyle = ink.dot;
    for (let key = 0; key < size; key++) {
      pen.globalAlpha = value(state.layer, state.head, query, key);
      pen.fillRect(left + key * cell + 0.5, query * cell + 0.5, cell - 1, cell - 1);
    }
    pen.globalAlpha = 1;
  }
  for (let key = 0; key < size; key++) {
    pen.save();
    pen.translate(left + (key + 0.5) * cell, size * cell + 6);
    pen.rotate(-Math.PI / 2);
    pen.fillStyle = ink.text;
    pen.textAlign = "right";
    pen.fillText(tokens[key], 0, 0, longest);
    pen.restore();
  }
  pen.strokeStyle = ink.line;
  pen.strokeRect(left, 0.5, size * cell, size * cell - 1);
}
