// Lists of features that can be searched by number or by the tokens that they fire on.

for (const features of document.querySelectorAll(".features")) {
  const cards = [...features.querySelectorAll(".feature")];
  if (cards.length < 2) continue;

  const caption = features.querySelector(".caption");
  const count = document.createElement("span");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Number or token";
  input.setAttribute("aria-label", "Show the features of a number, or that fire on a token");
  caption.append(count, input);

  for (const link of features.querySelectorAll(".beside a")) {
    link.addEventListener("click", () => {
      const card = document.getElementById(link.hash.slice(1));
      card.hidden = false; // a search may have hidden it
      card.open = true;
    });
  }

  const tokens = cards.map((card) =>
    [...card.querySelectorAll("mark")].map((mark) => mark.textContent.toLowerCase()),
  );
  input.addEventListener("input", () => {
    const typed = input.value.toLowerCase();
    const wanted = /^"(.+)"$/.exec(typed)?.[1] ?? typed; // quotes make 12 a text
    const isNumber = /^\s*\d+\s*$/.test(typed);
    let shown = 0;
    cards.forEach((card, i) => {
      const isThere = isNumber
        ? card.dataset.feature === wanted.trim()
        : tokens[i].some((token) => token.includes(wanted));
      card.hidden = wanted !== "" && !isThere;
      shown += !card.hidden;
    });
    count.textContent = wanted ? `· ${shown} shown` : "";
  });
}
