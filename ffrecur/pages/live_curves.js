// The curves of all labels over the iterations, as SVG, and pictures of what a label expects.

const SVG = "http://www.w3.org/2000/svg"; // a name, not an address that anything is fetched from

function svgElement(kind, attributes, text = null) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

/** Round numbers between two others, about so many. */
function roundTicks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(Number((tick * step).toPrecision(6)));
  return ticks;
}

function shortName(name) {
  return name.length <= 12 ? name : `${name.slice(0, 12)}…`;
}

/** Heights at which names can stand without overlapping, near those asked for, which are in order. */
function spread(heights, gap, low, high) {
  const places = [];
  for (const height of heights) places.push(Math.max(height, (places.at(-1) ?? low - gap) + gap));
  let limit = high;
  for (let i = places.length - 1; i >= 0; i--) {
    places[i] = Math.min(places[i], limit);
    limit = places[i] - gap;
  }
  return places;
}

/**
 * Draws the curves up to the iteration `shown`: the leading label and the runner-up in colours, the others grey, the window
 * shaded. `order` has the labels from the highest score to the lowest.
 */
function drawCurves(svg, curves, net, order, shown) {
  const [width, height] = [svg.clientWidth || 560, 320];
  const [left, right, top, bottom] = [44, width - 76, 24, height - 42];
  const flat = curves.flat();
  const [low, high] = [Math.min(...flat), Math.max(...flat)];
  const margin = (high - low) * 0.05 || 1;
  const x = (iteration) => left + ((iteration - 0.5) / curves.length) * (right - left);
  const y = (score) => bottom - ((score - low + margin) / (high - low + 2 * margin)) * (bottom - top);
  const parts = [];
  const [first, last] = net.window;
  const begin = x(first - 0.5);
  parts.push(svgElement("rect", { class: "window", x: begin, y: top, width: x(last + 0.5) - begin, height: bottom - top }));
  parts.push(svgElement("text", { class: "tick", x: (begin + x(last + 0.5)) / 2, y: top - 8, "text-anchor": "middle" }, "window"));
  parts.push(svgElement("text", { class: "tick", x: left, y: top - 8, "text-anchor": "middle" }, "score"));
  for (const tick of roundTicks(low - margin, high + margin)) {
    parts.push(svgElement("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    parts.push(svgElement("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  }
  for (let iteration = 1; iteration <= curves.length; iteration++) {
    parts.push(svgElement("text", { class: "tick", x: x(iteration), y: bottom + 17, "text-anchor": "middle" }, iteration));
  }
  parts.push(svgElement("text", { class: "tick", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, "iteration"));
  const kindOf = (label) => ["leading", "second"][order.indexOf(label)] ?? "other";
  for (const label of [...order].reverse()) {
    const points = curves.slice(0, shown).map((scores, index) => `${x(index + 1).toFixed(1)},${y(scores[label]).toFixed(1)}`);
    parts.push(svgElement("polyline", { class: `curve ${kindOf(label)}`, points: points.join(" ") }));
    const [px, py] = points.at(-1).split(",");
    parts.push(svgElement("circle", { class: `dot ${kindOf(label)}`, cx: px, cy: py, r: 3.5 }));
  }
  const named = order.slice(0, 10).sort((one, other) => curves[shown - 1][other] - curves[shown - 1][one]);
  const places = spread(named.map((label) => y(curves[shown - 1][label])), 14, top + 4, bottom);
  named.forEach((label, rank) => {
    const place = { class: `name ${kindOf(label)}`, x: x(shown) + 9, y: places[rank] + 4 };
    parts.push(svgElement("text", place, shortName(net.classes[label])));
  });
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren(...parts);
}

/** A picture smoothed by [1/4, 1/2, 1/4] along rows and columns; at the borders the outermost pixels count again. */
function smoothed(picture, [height, width]) {
  const along = (source, at) =>
    source.map((_, pixel) => {
      const [row, column] = [Math.floor(pixel / width), pixel % width];
      return at(source, row, column, -1) / 4 + at(source, row, column, 0) / 2 + at(source, row, column, 1) / 4;
    });
  const inside = (place, length) => Math.min(Math.max(place, 0), length - 1);
  const across = along(picture, (source, row, column, step) => source[row * width + inside(column + step, width)]);
  return along(across, (source, row, column, step) => source[inside(row + step, height) * width + column]);
}

/** Shows numbers of both signs: red above 0, blue below. The highest hundredth, mostly of the borders, are cut. */
function showSigned(canvas, picture, [height, width], dark) {
  const sizes = picture.map(Math.abs).sort();
  const limit = Math.max(sizes[Math.floor(0.99 * (sizes.length - 1))], 1e-12);
  const [zero, red, blue] = dark
    ? [[32, 34, 38], [255, 110, 90], [90, 165, 255]]
    : [[247, 247, 247], [178, 24, 43], [33, 102, 172]];
  const image = new ImageData(width, height);
  picture.forEach((value, pixel) => {
    const share = Math.min(Math.abs(value) / limit, 1);
    const colour = value > 0 ? red : blue;
    image.data.set([...zero.map((part, channel) => part + share * (colour[channel] - part)), 255], 4 * pixel);
  });
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
