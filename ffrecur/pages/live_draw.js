// A pad to draw on with a mouse, a finger or the keys. Strokes are kept as lines of points in pixels, so that they can be
// scaled and moved without growing thicker; a stored image may lie below them.

/** How far a point is from the line between two others. */
function distanceToLine(x, y, [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / length, 0), 1);
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}

/** The brush's radius, that of MNIST's strokes: about two pixels of ink, with soft edges, in an image of 28 by 28. */
function brushOf([height, width]) {
  return (Math.min(height, width) / 28) * 1.2;
}

/** Ink of strokes from 0 to 1, on top of a base if there is one. */
function inkOf(strokes, shape, base = null) {
  const [height, width] = shape;
  const ink = base ? Float32Array.from(base) : new Float32Array(height * width);
  const radius = brushOf(shape);
  for (const stroke of strokes) {
    stroke.forEach((point, index) => {
      const before = stroke[Math.max(index - 1, 0)];
      const [left, right] = [Math.min(point[0], before[0]) - radius - 1, Math.max(point[0], before[0]) + radius + 1];
      const [top, bottom] = [Math.min(point[1], before[1]) - radius - 1, Math.max(point[1], before[1]) + radius + 1];
      for (let y = Math.max(Math.floor(top), 0); y < Math.min(bottom, height); y++) {
        for (let x = Math.max(Math.floor(left), 0); x < Math.min(right, width); x++) {
          const soft = radius + 0.5 - distanceToLine(x + 0.5, y + 0.5, before, point);
          ink[y * width + x] = Math.max(ink[y * width + x], Math.min(Math.max(soft, 0), 1));
        }
      }
    });
  }
  return ink;
}

/** The point about which ink is balanced; the middle where there is none. */
function centreOfMass(ink, [height, width]) {
  let [sum, sumX, sumY] = [0, 0, 0];
  ink.forEach((value, pixel) => {
    sum += value;
    sumX += value * ((pixel % width) + 0.5);
    sumY += value * (Math.floor(pixel / width) + 0.5);
  });
  return sum === 0 ? [width / 2, height / 2] : [sumX / sum, sumY / sum];
}

function moved(strokes, scale, [x0, y0], [x1, y1]) {
  return strokes.map((stroke) => stroke.map(([x, y]) => [(x - x0) * scale + x1, (y - y0) * scale + y1]));
}

/**
 * Strokes as MNIST's makers fitted theirs: as large as a box of 20 in 28 pixels allows, then moved by whole pixels until the
 * centre of mass is in the middle.
 */
function fitted(strokes, shape) {
  const points = strokes.flat();
  if (points.length === 0) return strokes;
  const [height, width] = shape;
  const middle = [width / 2, height / 2];
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const room = (Math.min(height, width) * 20) / 28 - 2 * brushOf(shape);
  const scale = Math.min(room / Math.max(right - left, bottom - top, 1e-9), 3); // a dot stays a dot
  const scaled = moved(strokes, scale, [(left + right) / 2, (top + bottom) / 2], middle);
  const centre = centreOfMass(inkOf(scaled, shape), shape);
  const shift = middle.map((coordinate, axis) => coordinate + Math.round(coordinate - centre[axis]));
  return moved(scaled, 1, middle, shift);
}

/** Shows grey values from 0 (black) to 1 (white) on a canvas of as many pixels; `mark` is a pixel to colour. */
function showInk(canvas, ink, [height, width], mark = null) {
  const image = new ImageData(width, height);
  ink.forEach((value, pixel) => {
    const grey = Math.round(255 * Math.min(Math.max(value, 0), 1));
    image.data.set(pixel === mark ? [255, 140, 0, 255] : [grey, grey, grey, 255], 4 * pixel);
  });
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Makes a canvas a pad. `changed` is called after each change, `say` with what a screen reader shall hear. */
function makePad(canvas, shape, changed, say) {
  const [height, width] = shape;
  const pen = { x: Math.floor(width / 2), y: Math.floor(height / 2), down: false, seen: false };
  const pad = { strokes: [], base: null };
  const show = () => showInk(canvas, inkOf(pad.strokes, shape, pad.base), shape, pen.seen ? pen.y * width + pen.x : null);
  const done = () => {
    show();
    changed();
  };
  pad.choose = (base) => {
    [pad.strokes, pad.base, pen.down] = [[], base, false];
    done();
  };
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  let drawing = null; // the pointer that draws
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drawing !== null) return;
    drawing = event.pointerId;
    canvas.setPointerCapture(drawing);
    [pen.seen, pen.down] = [false, false];
    pad.strokes.push([placeOf(event)]);
    done();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    const all = event.getCoalescedEvents();
    pad.strokes.at(-1).push(...(all.length ? all : [event]).map(placeOf));
    done();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId === drawing) drawing = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey || !(step || [" ", "Delete", "Backspace"].includes(event.key))) return;
    event.preventDefault();
    pen.seen = true;
    if (step) {
      pen.x = Math.min(Math.max(pen.x + step[0], 0), width - 1);
      pen.y = Math.min(Math.max(pen.y + step[1], 0), height - 1);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) pad.strokes.push([]);
    } else {
      pad.choose(null);
    }
    if (pen.down) pad.strokes.at(-1).push([pen.x + 0.5, pen.y + 0.5]);
    say(`Pen ${pen.down ? "down" : "up"}, row ${pen.y + 1}, column ${pen.x + 1}.`);
    done();
  });
  canvas.addEventListener("blur", () => {
    [pen.seen, pen.down] = [false, false];
    show();
  });
  show();
  return pad;
}
