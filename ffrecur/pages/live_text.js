// The page of a character model: type, see what may come next, let it dream.

function playWithText(net) {
  const find = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const area = find("text");
  net.numberOf = new Map(net.symbols.map((symbol, number) => [symbol, number]));
  let [dreaming, next, telling] = [null, null, null];
  let known = { text: null, scores: null };

  const nameOf = (symbol) => ({ " ": "space", "\n": "line end", "\t": "tab" })[symbol] ?? symbol;
  const spoken = (symbol) => ({ ",": "comma", ".": "full stop", ";": "semicolon" })[symbol] ?? nameOf(symbol);

  /** Scores of all symbols after a text; null where the alphabet refuses it. Those of the last text are kept. */
  function scoresAfter(text) {
    if (known.text !== text) {
      const { numbers, refused } = encode(net, text);
      known = { text, scores: refused === null ? scoreOf(net, lastWindow(net, numbers)) : null };
    }
    return known.scores;
  }

  /** Says which characters the net does not know, as `ffrecur generate` does. */
  function warn() {
    const { unknown, refused } = encode(net, area.value);
    const what = { drop: "dropped", replace: "replaced by spaces" }[net.unknown];
    const names = unknown.map((character) => `'${character}'`).join(" ");
    const [first] = unknown;
    find("warning").textContent =
      refused !== null
        ? `The text has '${first}' at character ${refused}, which is not in the alphabet '${net.symbols.join("")}'.`
        : unknown.length > 0
          ? `Not in the alphabet and ${what}: ${names}`
          : "";
  }

  /** Shows the likeliest next characters of what is written. */
  function show() {
    warn();
    clearTimeout(telling);
    const scores = scoresAfter(area.value);
    find("next").hidden = scores === null;
    if (scores === null) return;
    const shares = softmax(scores);
    const order = ranked(shares);
    buttons.forEach(({ button, symbol, bar, share }, rank) => {
      const number = order[rank];
      const [name, part] = [nameOf(net.symbols[number]), percent(shares[number])];
      button.dataset.symbol = net.symbols[number];
      button.setAttribute("aria-label", `${spoken(net.symbols[number])}, ${part}: add it`);
      [symbol.textContent, share.textContent] = [name, part];
      bar.style.width = `${100 * shares[number]}%`;
    });
    if (dreaming !== null) return;
    const [first, second] = order.map((number) => `${spoken(net.symbols[number])}, ${percent(shares[number])}`);
    telling = setTimeout(() => (find("said").textContent = `Likeliest next: ${first}. Then: ${second}.`), 700);
  }

  function add(text) {
    area.value += text;
    area.scrollTop = area.scrollHeight;
  }

  function stop() {
    if (dreaming === null) return;
    clearInterval(dreaming.timer);
    find("said").textContent = `It stopped after: ${area.value.slice(dreaming.from)}`;
    dreaming = null;
    find("dream").textContent = "Dream";
    find("dream").setAttribute("aria-pressed", "false");
    show();
  }

  /** Writes one character; false where the text is refused. */
  function dreamOne() {
    const scores = scoresAfter(area.value);
    if (scores === null) return false;
    add(net.symbols[drawSymbol(scores, next(), Number(find("temperature").value))]);
    return true;
  }

  /** Writes on until it is stopped: a character at a time, or, where motion is not wanted, a line every two seconds. */
  function dream() {
    if (dreaming !== null) return stop();
    next = generatorOf(Number(find("seed").value));
    find("dream").textContent = "Stop";
    find("dream").setAttribute("aria-pressed", "true");
    const [count, pause] = still.matches ? [40, 2000] : [1, 40];
    const write = () => {
      for (let i = 0; i < count; i++) if (!dreamOne()) return stop();
      show();
    };
    dreaming = { from: area.value.length, timer: setInterval(write, pause) };
    find("said").textContent = "It dreams.";
    write();
  }

  const buttons = Array.from({ length: Math.min(10, net.symbols.length) }, () => {
    const [item, button] = [document.createElement("li"), document.createElement("button")];
    const [symbol, track, bar, share] = ["symbol", "track", "bar", "share"].map((kind) =>
      Object.assign(document.createElement("span"), { className: kind }),
    );
    track.append(bar);
    button.type = "button";
    button.append(symbol, track, share);
    button.addEventListener("click", () => {
      add(button.dataset.symbol);
      show();
    });
    item.append(button);
    find("next").append(item);
    return { button, symbol, bar, share };
  });
  area.addEventListener("input", show);
  area.addEventListener("keydown", (event) => event.key === "Escape" && stop());
  find("dream").addEventListener("click", dream);
  find("temperature").addEventListener("input", () => {
    find("temperatureValue").textContent = Number(find("temperature").value).toFixed(2);
  });
  show();
  return {
    score: scoresAfter,
    probabilities: (text) => softmax(scoresAfter(text)),
    encode: (text) => encode(net, text),
    draw: drawSymbol,
  };
}
