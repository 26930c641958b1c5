// The page of a recurrent net: what is drawn, the curves, what the leading label expects.

function playWithImages(net) {
  const find = (id) => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const standing = gaussians(net.inFeatures, 1); // the same noise all the time: only its strength changes
  const now = { settled: null, order: [], shown: 0, shares: [] };
  let [waiting, watching, telling] = [false, null, null];
  let damping = null; // as trained

  const say = (text) => (find("pen").textContent = text);
  const pad = makePad(find("pad"), net.shape, () => later(), say);
  const iterations = () => Number(find("iterations").value);
  const drawnAtAll = () => pad.base !== null || pad.strokes.length > 0;

  /** What the net gets: the drawing, fitted if so chosen and nothing stored lies below it, and the noise. */
  function seen() {
    const strokes = find("fit").checked && pad.base === null ? fitted(pad.strokes, net.shape) : pad.strokes;
    const strength = Number(find("noise").value);
    return inkOf(strokes, net.shape, pad.base).map((value, pixel) => value + strength * standing[pixel]);
  }

  /** Computes anew at most once a frame. */
  function later() {
    stop();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      compute();
      show(iterations());
    });
  }

  function compute() {
    const pixels = seen();
    showInk(find("seen"), pixels, net.shape);
    now.settled = drawnAtAll() ? settle(net, pixels, iterations(), damping) : null;
    document.body.classList.toggle("empty", now.settled === null);
    if (now.settled === null) return;
    now.order = ranked(now.settled.scores);
    now.shares = softmax(now.settled.scores.map((score) => score / net.temperature));
    fillTable();
  }

  /** Shows everything as it is after an iteration. */
  function show(iteration) {
    clearTimeout(telling);
    now.shown = iteration;
    const { settled, order } = now;
    find("watch").disabled = settled === null;
    if (settled === null) {
      find("answer").textContent = find("said").textContent = "Draw something, or take an image.";
      return;
    }
    drawCurves(find("curves"), settled.curves, net, order, iteration);
    const chosen = find("whose").value;
    const label = chosen === "" ? order[0] : Number(chosen);
    const expected = expectation(net, settled, label, iteration);
    showSigned(find("expected"), smoothed(expected, net.shape), net.shape, dark.matches);
    find("expected").setAttribute("aria-label", `What the label ${net.classes[label]} expects to see`);
    find("expects").textContent = `What ${net.classes[label]} expects, iteration ${iteration}`;
    const [first, second] = order.map((best) => `${net.classes[best]}, ${percent(now.shares[best])}`);
    find("answer").textContent = `Leading: ${first}. Next: ${second}.`;
    find("curves").setAttribute("aria-label", `Curves of ${order.length} labels. Leading: ${first}. Next: ${second}.`);
    telling = setTimeout(() => (find("said").textContent = find("answer").textContent), 700);
  }

  function fillTable() {
    const { settled, order, shares } = now;
    const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
    const numbers = settled.curves.map((_, iteration) => iteration + 1);
    const head = document.createElement("tr");
    head.append(...["label", "score", "share", ...numbers].map((text) => Object.assign(cell("th", text), { scope: "col" })));
    const rows = order.map((label) => {
      const row = document.createElement("tr");
      const scores = settled.curves.map((scores) => scores[label].toFixed(3));
      row.append(Object.assign(cell("th", net.classes[label]), { scope: "row" }));
      row.append(...[settled.scores[label].toFixed(3), percent(shares[label]), ...scores].map((text) => cell("td", text)));
      return row;
    });
    find("table").caption.textContent = `Score and share of each label, then its curve at iterations 1 to ${numbers.length}`;
    find("table").tHead.replaceChildren(head);
    find("table").tBodies[0].replaceChildren(...rows);
  }

  function stop() {
    clearInterval(watching);
    watching = null;
  }

  /** Shows the iterations one after another; where motion is not wanted, one more at each call. */
  function watch() {
    stop();
    if (now.settled === null) return;
    if (still.matches) {
      show((now.shown % iterations()) + 1);
      return;
    }
    show(1);
    watching = setInterval(() => {
      show(now.shown + 1);
      if (now.shown >= iterations()) stop();
    }, 350);
  }

  /** Tells the sliders' values, and that of the damping as trained where it was not moved. */
  function tellSliders() {
    const trained = net.damping.length > 1 ? `as trained: ${net.damping.join(", ")}` : `${net.damping[0]}, as trained`;
    find("dampingValue").textContent = damping === null ? trained : String(damping);
    find("noiseValue").textContent = find("noise").value;
    find("iterationsValue").textContent = find("iterations").value;
    find("damping").setAttribute("aria-valuetext", find("dampingValue").textContent);
  }

  function asTrained() {
    damping = null;
    find("damping").value = net.damping[0];
    find("noise").value = 0;
    find("iterations").value = Math.max(8, net.window[1]);
    tellSliders();
    later();
  }

  net.classes.forEach((name, label) => find("whose").append(new Option(shortName(name), label)));
  net.images.forEach(({ name, pixels }) => {
    const base = Float32Array.from(bytesOf(pixels), (byte) => byte / 255);
    const [button, picture] = [document.createElement("button"), document.createElement("canvas")];
    Object.assign(button, { type: "button", title: name }).setAttribute("aria-label", name);
    showInk(picture, base, net.shape);
    button.append(picture);
    button.addEventListener("click", () => {
      pad.choose(base);
      requestAnimationFrame(() => requestAnimationFrame(watch)); // after what the choice set going
    });
    find("stored").append(button);
  });
  find("clear").addEventListener("click", () => pad.choose(null));
  find("watch").addEventListener("click", watch);
  find("asTrained").addEventListener("click", asTrained);
  find("whose").addEventListener("change", () => show(now.shown));
  find("fit").addEventListener("change", later);
  for (const id of ["iterations", "noise", "damping"]) {
    find(id).addEventListener("input", () => {
      if (id === "damping") damping = Number(find(id).value);
      tellSliders();
      later();
    });
  }
  dark.addEventListener("change", () => show(now.shown));
  new ResizeObserver(() => now.settled && show(now.shown)).observe(find("curves"));
  asTrained();
  return {
    curves: (pixels, count, share) => settle(net, pixels, count, share).goodness,
    score: (pixels) => settle(net, pixels, net.window[1]).scores,
    expectation: (pixels, label, count) => expectation(net, settle(net, pixels, count), label, count),
    seen,
  };
}
