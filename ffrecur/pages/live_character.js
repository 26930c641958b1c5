// The character model, as ffrecur/nets/windows.py has it: it reads the last characters and rates each that may follow.

// What Python counts as white space.
const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;

/**
 * The numbers of a text's symbols. Characters that are none are dropped or become spaces, as the net's alphabet says;
 * `unknown` names each once, in order, and with the policy "error" `refused` is the place of the first, counted from 1.
 */
function encode(net, text) {
  const numbers = [];
  const unknown = new Set();
  let refused = null;
  let place = 0;
  for (const character of net.foldCase ? text.toLowerCase() : text) {
    place++;
    const symbol = !net.numberOf.has(character) && WHITE_SPACE.test(character) ? " " : character;
    if (net.numberOf.has(symbol)) {
      numbers.push(net.numberOf.get(symbol));
      continue;
    }
    unknown.add(symbol);
    if (net.unknown === "error") refused ??= place;
    if (net.unknown === "replace") numbers.push(net.numberOf.get(" "));
  }
  return { numbers, unknown: [...unknown].sort(), refused };
}

/** The last window of a text, filled up on the left with spaces, or with the first symbol where a space is none. */
function lastWindow(net, numbers) {
  const filler = net.numberOf.get(" ") ?? 0;
  const missing = Math.max(net.window - numbers.length, 0);
  return [...Array(missing).fill(filler), ...numbers.slice(Math.max(numbers.length - net.window, 0))];
}

/** Adds to `out` what symbols give to the first layer, which sees them from a position of the window on. */
function addSymbols(net, out, symbols, position = 0) {
  const scale = 1 / Math.sqrt(1 / net.symbols.length + EPS);
  symbols.forEach((symbol, index) => {
    addRow(out, net.tensors["hidden.0.weight"], (position + index) * net.symbols.length + symbol, scale);
  });
  return out;
}

/** The states of all layers, from the drive of the first, which is overwritten. */
function climb(net, drive) {
  const states = [relu(drive)];
  for (let layer = 1; layer < net.layers; layer++) {
    const bias = net.tensors[`hidden.${layer}.bias`].slice();
    states.push(relu(addProduct(bias, rmsNormalize(states[layer - 1]), net.tensors[`hidden.${layer}.weight`])));
  }
  return states;
}

/** The head's logits of the character after a window. */
function headLogits(net, window) {
  const states = climb(net, addSymbols(net, net.tensors["hidden.0.bias"].slice(), window));
  const rows = net.headLayers.map((layer) => rmsNormalize(states[layer - 1]));
  return addProduct(net.tensors["head.bias"].slice(), joined(rows), net.tensors["head.weight"]);
}

/** Goodness, summed over layers, of the window one place on, as it ends with each symbol. */
function candidateGoodness(net, window) {
  const shared = addSymbols(net, net.tensors["hidden.0.bias"].slice(), window.slice(1));
  return net.symbols.map((_, symbol) => {
    const states = climb(net, addSymbols(net, shared.slice(), [symbol], net.window - 1));
    return states.reduce((sum, state) => sum + goodnessOf(state, net.blocks), 0);
  });
}

/** Score of each symbol after a window: log n + weight * sign * goodness, or the head's logits where the weight is 0. */
function scoreOf(net, window) {
  const logits = headLogits(net, window);
  if (net.goodnessWeight === 0) return Array.from(logits);
  const logs = logSoftmax(logits);
  return candidateGoodness(net, window).map((goodness, symbol) => {
    const evidence = net.goodnessWeight * net.sign * goodness;
    if (net.noise === "uniform") return evidence;
    if (net.noise === "head") return logs[symbol] + evidence;
    // 1 - q is the sum of the others: of the likeliest symbol it may be far smaller than what q is rounded by.
    const others = logs.reduce((sum, log, other) => (other === symbol ? sum : sum + Math.exp(log)), 0);
    return logs[symbol] + Math.log(Math.max(others, Number.MIN_VALUE)) + evidence;
  });
}

/** Draws a symbol with probability softmax(scores / temperature), for a number in [0, 1); temperature 0 takes the best. */
function drawSymbol(scores, noise, temperature) {
  if (temperature === 0) return ranked(scores)[0];
  const highest = Math.max(...scores);
  const shares = softmax(scores.map((score) => (score - highest) / temperature));
  const limit = noise * shares.reduce((sum, share) => sum + share, 0);
  let cumulated = 0;
  return shares.findIndex((share) => (cumulated += share) > limit);
}
