// The recurrent net of section 3.4 of the paper, as ffrecur/nets/dynamics.py has it: an image and a label are clamped, and
// hidden layers between them are driven from below and from above. Iterations count from 1 for readers, from 0 in arrays.

/** What layer 1 reads of the pixels: minus their mean if the net was trained so, then normalised. */
function imageRow(net, pixels) {
  if (!net.center) return rmsNormalize(pixels);
  const mean = pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
  return rmsNormalize(Float32Array.from(pixels, (value) => value - mean));
}

/** A layer's drive from below: its bias, and the row below through its weight. */
function driveFromBelow(net, layer, row) {
  return addProduct(net.tensors[`bottom_up.${layer}.bias`].slice(), row, net.tensors[`bottom_up.${layer}.weight`]);
}

/** The states before the first iteration, one a layer: without any label. */
function bottomUpPass(net, row) {
  const states = [];
  for (let layer = 0; layer < net.layers; layer++) {
    states.push(relu(driveFromBelow(net, layer, layer === 0 ? row : rmsNormalize(states[layer - 1]))));
  }
  return states;
}

/** The label's row has one number that is not 0, after its normalisation this one. */
function labelScale(net) {
  return 1 / Math.sqrt(1 / net.classes.length + EPS);
}

/** Adds a layer's drive from above: of the layer there, or of the label. `rows` are the normalised states. */
function addDriveFromAbove(net, out, layer, rows, label) {
  const table = net.tensors[`top_down.${layer}.weight`];
  return layer === net.layers - 1 ? addRow(out, table, label, labelScale(net)) : addProduct(out, rows[layer + 1], table);
}

/** The new state: a share `damping` of the previous one, and the rest of what was computed, which is overwritten. */
function damped(previous, computed, damping) {
  for (let i = 0; i < computed.length; i++) computed[i] = damping * previous[i] + (1 - damping) * computed[i];
  return computed;
}

/** One damped iteration of all layers under one label: states in, new states out. */
function advance(net, states, imageDrive, label, damping) {
  const layers = states.map((_, layer) => layer);
  const odd = layers.filter((layer) => layer % 2 === 1); // hidden layers 2, 4, ... counted from 1
  const groups = net.alternating ? [odd, layers.filter((layer) => layer % 2 === 0)] : [layers];
  const now = [...states];
  for (const group of groups) {
    const rows = now.map(rmsNormalize);
    for (const layer of group) {
      const drive = layer === 0 ? imageDrive.slice() : driveFromBelow(net, layer, rows[layer - 1]);
      now[layer] = damped(states[layer], relu(addDriveFromAbove(net, drive, layer, rows, label)), damping);
    }
  }
  return now;
}

/**
 * All that the net does with an image: states of every iteration, label and layer, and what they come to.
 * `damping` takes the place of the net's own; null leaves it.
 */
function settle(net, pixels, iterations, damping = null) {
  const row = imageRow(net, pixels);
  const first = bottomUpPass(net, row);
  const imageDrive = driveFromBelow(net, 0, row);
  const states = [];
  let latest = net.classes.map(() => first);
  for (let iteration = 0; iteration < iterations; iteration++) {
    const share = damping ?? net.damping[Math.min(iteration, net.damping.length - 1)];
    latest = latest.map((ofLabel, label) => advance(net, ofLabel, imageDrive, label, share));
    states.push(latest);
  }
  const goodness = states.map((ofLabels) =>
    first.map((_, layer) => ofLabels.map((ofLayers) => goodnessOf(ofLayers[layer], net.blocks))),
  ); // [iteration][layer][label]
  const curves = goodness.map((ofLayers) =>
    net.classes.map((_, label) => net.sign * ofLayers.reduce((sum, ofLabels) => sum + ofLabels[label], 0)),
  ); // [iteration][label]
  return { states, goodness, curves, scores: scoresOf(net, curves, first) };
}

/** Score of each label: the mean of its curve over the window, and the one-pass head's say where it has one. */
function scoresOf(net, curves, first) {
  const [begin, end] = net.window;
  const inside = curves.slice(begin - 1, end);
  const scores = net.classes.map((_, label) => inside.reduce((sum, scores) => sum + scores[label], 0) / inside.length);
  if (net.headWeight === 0) return scores;
  const logits = net.tensors["head.bias"].slice();
  const ofHead = logSoftmax(addProduct(logits, joined(first.map(rmsNormalize)), net.tensors["head.weight"]));
  return scores.map((score, label) => score + net.headWeight * ofHead[label]);
}

/**
 * What a label expects to see at the image, after an iteration that is counted from 1: sign times the drive of layer 1 from
 * above, minus its mean over all labels, back through the weights of the image. The drive is linear in the row above, so
 * that the mean is taken there.
 */
function expectation(net, settled, label, iteration) {
  const oneHot = (clamped) => Float32Array.from(net.classes, (_, other) => (other === clamped ? labelScale(net) : 0));
  const rows = settled.states[iteration - 1].map((ofLayers, clamped) =>
    ofLayers.length > 1 ? rmsNormalize(ofLayers[1]) : oneHot(clamped),
  );
  const row = rows[label].map(
    (value, unit) => net.sign * (value - rows.reduce((sum, other) => sum + other[unit], 0) / rows.length),
  );
  const drive = addProduct(new Float32Array(settled.states[0][0][0].length), row, net.tensors["top_down.0.weight"]);
  const table = net.tensors["bottom_up.0.weight"];
  return Float32Array.from({ length: net.inFeatures }, (_, pixel) => {
    let sum = 0;
    for (let unit = 0; unit < drive.length; unit++) sum += drive[unit] * table[pixel * drive.length + unit];
    return sum;
  });
}
