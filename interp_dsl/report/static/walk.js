// Features of `relate`: choose one, see its nearest in the places before and behind, go to one of
// them. Where one is stands in the address, so that the browser's own keys go back.

const SHOWN = 60; // features of a list to choose from

for (const walk of document.querySelectorAll(".walk")) stroll(walk);

function stroll(walk) {
  const data = JSON.parse(walk.querySelector("script").textContent);
  const panel = walk.closest(".panel");
  const features = data.features.map(([place, number, community, tokens], at) => ({
    at, place, number, tokens, community: data.communities[community], below: [], above: [], best: [],
    name: `${data.places[place]} ${number}`,
    hash: `#${[data.step, data.places[place], number].map(encodeURIComponent).join("/")}`,
  }));
  for (const [below, above, values, support] of data.pairs) {
    features[below].above.push({ feature: features[above], values, support });
    features[above].below.push({ feature: features[below], values, support });
  }
  for (const feature of features) {
    const beside = [...feature.below, ...feature.above];
    feature.best = data.measures.map((_, m) => Math.max(...beside.map(({ values }) => values[m] ?? -Infinity)));
  }
  const byHash = new Map(features.map((feature) => [feature.hash, feature]));
  const byName = new Map(features.map((feature) => [feature.name, feature]));
  const isRead = features.some(({ tokens }) => tokens.length);
  const best = (m) => (a, b) => b.best[m] - a.best[m] || a.at - b.at;
  let [here, measure] = [[...features].sort(best(0))[0], 0];

  const tools = made("p", "caption", "Walk");
  const said = made("span");
  const input = made("input");
  Object.assign(input, { type: "search", placeholder: "Number or token" });
  input.setAttribute("aria-label", "Find features by number or by a token that they fire on");
  tools.append(said, input);
  const choice = made("ul", "choice");
  const about = made("div", "about");
  about.setAttribute("aria-live", "polite");
  walk.prepend(tools, choice, about);

  function choose() {
    const typed = input.value.trim().toLowerCase();
    const isNumber = /^\d+$/.test(typed);
    const has = ({ number, tokens }) =>
      isNumber ? `${number}` === typed : tokens.some((t) => t.replace("·", " ").toLowerCase().includes(typed));
    const found = features.filter((f) => (typed ? has(f) : f.place === here.place)).sort(best(measure));
    const more = found.length > SHOWN ? `, the first ${SHOWN} by ${data.measures[measure]}` : "";
    said.textContent = `${found.length} ${typed ? "found" : `features of ${data.places[here.place]}`}${more}`;
    const links = found.slice(0, SHOWN).map((f) => link(f, typed ? f.name : f.number));
    choice.replaceChildren(...links.map((a, i) => {
      a.tabIndex = i ? -1 : 0; // arrows go on from the first
      return made("li", "", a, made("span", "tokens", ...found[i].tokens.map((t) => made("code", "", t))));
    }));
  }

  function show() {
    const community = here.community;
    const inside = community ? `community ${community.letter} of ${community.size}` : "in no community with others";
    const head = made("h4", "", badge(here), here.name);
    head.tabIndex = -1;
    about.replaceChildren(
      made("p", "here", head, made("span", "", inside),
        here.tokens.length ? meaning(here) : "no step of inspect has read it", contexts()),
      side("before", here.place - 1, here.below),
      side("behind", here.place + 1, here.above),
    );
    mark();
    return head;
  }

  // To where the page shows what the feature fires on, which is open then.
  function contexts() {
    const card = document.getElementById(`${data.read_by[here.place]}-${here.number}`);
    if (!card) return "";
    const a = made("a", "", "its contexts");
    a.href = `#${card.id}`;
    a.addEventListener("click", () => {
      card.hidden = false; // a search may have hidden it
      card.open = true;
    });
    return a;
  }

  function side(name, place, beside) {
    const where = data.places[place];
    if (where === undefined) return made("p", "note", `no place ${name}`);
    const heading = made("p", "what", `${name}, ${where}: ${beside.length || "no"} ${beside.length === 1 ? "pair" : "pairs"}`);
    if (!beside.length) return heading;
    const rows = [...beside].sort((a, b) => (b.values[measure] ?? -Infinity) - (a.values[measure] ?? -Infinity));
    const table = made("table");
    table.append(made("thead", "", made("tr", "", made("th", "", "feature"), ...(isRead ? [made("th", "", "fires on")] : []),
      ...data.measures.map(column), made("th", "number", "support"))));
    table.append(made("tbody", "", ...rows.map(({ feature, values, support }) => made("tr", "",
      made("td", "", link(feature, feature.number)), ...(isRead ? [made("td", "", meaning(feature))] : []),
      ...values.map((v, m) => made("td", m === measure ? "number chosen" : "number", v === null ? "–" : figure(v))),
      made("td", "number", support?.toLocaleString("en") ?? "–")))));
    table.setAttribute("aria-label", `nearest ${name}`);
    return made("div", "side", heading, made("div", "scroll", table));
  }

  function column(name, m) {
    const button = made("button", "", name.replaceAll("_", " "), m === measure ? " ▾" : "");
    button.type = "button";
    button.addEventListener("click", () => {
      measure = m;
      choose();
      show();
      about.querySelector(`[aria-sort] button`)?.focus({ preventScroll: true });
    });
    const head = made("th", "number", button);
    if (m === measure) head.setAttribute("aria-sort", "descending");
    return head;
  }

  // ---- the graph and the table of the same panel lead to features too

  const dots = [...panel.querySelectorAll("circle[data-node]")].filter((dot) => byName.has(dot.dataset.node));
  const edges = [...panel.querySelectorAll(".edge[data-source]")];
  dots[0]?.closest("svg").setAttribute("role", "group");
  for (const dot of dots) {
    const go = () => (location.hash = byName.get(dot.dataset.node).hash);
    dot.classList.add("goes");
    dot.tabIndex = 0;
    dot.setAttribute("role", "link");
    dot.addEventListener("click", go);
    dot.addEventListener("keydown", (event) => event.key === "Enter" && go());
  }
  function mark() {
    dots.forEach((dot) => dot.classList.toggle("chosen", dot.dataset.node === here.name));
    edges.forEach(({ dataset, classList }) =>
      classList.toggle("chosen", dataset.source === here.name || dataset.target === here.name));
  }

  const headings = [...panel.querySelectorAll(".scores th")].map((th) => th.textContent);
  for (const [place, number] of [["below", "i"], ["above", "j"]].map((pair) => pair.map((n) => headings.indexOf(n)))) {
    for (const { cells } of panel.querySelectorAll(".scores tbody tr")) {
      const feature = byName.get(`${cells[place].textContent} ${cells[number].dataset.sort}`);
      if (feature) cells[number].replaceChildren(plain(feature, cells[number].textContent));
    }
  }

  // ---- where one is

  input.addEventListener("input", choose);
  choice.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const links = [...choice.querySelectorAll("a")];
    if (!step || !links.length) return;
    event.preventDefault();
    links[Math.min(Math.max(links.indexOf(document.activeElement) + step, 0), links.length - 1)].focus();
  });
  const start = here;
  const read = (isFirst) => {
    const found = byHash.get(location.hash) ?? (location.hash === "" ? start : null);
    if (!found && !isFirst) return;
    here = found ?? start;
    const wasInside = walk.contains(document.activeElement) && document.activeElement !== input;
    choose();
    const head = show();
    if (wasInside) head.focus({ preventScroll: true });
    if (isFirst ? location.hash === here.hash : !isSeen(about)) walk.scrollIntoView();
  };
  addEventListener("hashchange", () => read(false));
  read(true);
}

function isSeen(part) {
  const { top } = part.getBoundingClientRect();
  return top >= 0 && top < innerHeight * 0.8;
}

function made(name, className = "", ...inside) {
  const part = document.createElement(name);
  if (className) part.className = className;
  part.append(...inside);
  return part;
}

function plain(feature, text) {
  const a = made("a", "", text);
  a.href = feature.hash;
  return a;
}

function link(feature, text) {
  const a = plain(feature, "");
  a.append(badge(feature), `${text}`);
  return a;
}

function badge({ community }) {
  const part = made("span", "community", community?.letter ?? "·");
  if (community) part.style.backgroundColor = community.colour;
  part.setAttribute("title", community ? `community ${community.letter} of ${community.size}` : "in no community with others");
  return part;
}

function meaning({ tokens }) {
  return made("span", "tokens", ...tokens.map((token) => made("code", "", token)));
}

function figure(value) {
  const said = Math.abs(value) < 1e3 ? value.toFixed(Math.abs(value) < 10 ? 3 : 1) : value.toPrecision(3);
  return said.replace("-", "−");
}
