// Tabs of a step's panels, tooltips, and the entry of the contents that is on the screen.

for (const panels of document.querySelectorAll(".panels")) {
  const found = [...panels.children];
  if (found.length < 2) continue;
  const tabs = document.createElement("div");
  tabs.className = "tabs";
  tabs.setAttribute("role", "tablist");
  const choose = (chosen) => {
    found.forEach((panel, i) => {
      panel.hidden = i !== chosen;
      tabs.children[i].setAttribute("aria-selected", i === chosen);
      tabs.children[i].tabIndex = i === chosen ? 0 : -1;
    });
  };
  found.forEach((panel, i) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = panel.dataset.name;
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => choose(i));
    tabs.append(tab);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-label", panel.dataset.name);
  });
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const now = [...tabs.children].indexOf(document.activeElement);
    const next = (now + step + found.length) % found.length;
    choose(next);
    tabs.children[next].focus();
  });
  panels.prepend(tabs);
  choose(0);
}

// A figure's own titles come late and not at all under a finger: they become tooltips at once.
for (const title of document.querySelectorAll(".figure svg * > title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.parentNode.setAttribute("aria-label", title.textContent);
  title.remove();
}

const tip = document.getElementById("tip");

const show = (event) => {
  const about = event.target.closest?.("[data-tip]");
  tip.hidden = !about || !about.dataset.tip;
  if (tip.hidden) return;
  tip.textContent = about.dataset.tip;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - width - 8);
  const above = event.clientY - height - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above < 8 ? event.clientY + 18 : above}px`;
};

document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", () => (tip.hidden = true), { passive: true, capture: true });

const entries = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const watch = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      if (!isIntersecting) continue;
      for (const entry of entries.values()) entry.classList.remove("here");
      entries.get(target.id)?.classList.add("here");
    }
  },
  { rootMargin: "-10% 0px -80% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
