// Rows of numbers: what both kinds of nets need. Weights are tables (inputs, outputs), one row an input.

const EPS = 1e-8;

/** The bytes that base64 stands for. */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** The number whose float16 has these 16 bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The float16 numbers, little-endian, that base64 stands for, as float32. */
function halves(base64) {
  const bytes = bytesOf(base64);
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) numbers[i] = half(bytes[2 * i] | (bytes[2 * i + 1] << 8));
  return numbers;
}

/** The tensors of a net by name: `shapes` are [name, shape], in the order in which the numbers follow one another. */
function tensorsOf(shapes, base64) {
  const numbers = halves(base64);
  const tensors = {};
  let start = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((product, length) => product * length, 1);
    tensors[name] = numbers.subarray(start, start + size);
    start += size;
  }
  return tensors;
}

function meanSquare(row, start = 0, end = row.length) {
  let sum = 0;
  for (let i = start; i < end; i++) sum += row[i] * row[i];
  return sum / (end - start);
}

/** a / sqrt(mean(a**2) + eps): section 2.1 of the paper. */
function rmsNormalize(row) {
  const scale = 1 / Math.sqrt(meanSquare(row) + EPS);
  const normalized = new Float32Array(row.length);
  for (let i = 0; i < row.length; i++) normalized[i] = row[i] * scale;
  return normalized;
}

/** Mean of the squared states of each of so many blocks of neighbouring units, and of these the mean. */
function goodnessOf(state, blocks) {
  const size = state.length / blocks;
  let sum = 0;
  for (let block = 0; block < blocks; block++) sum += meanSquare(state, block * size, (block + 1) * size);
  return sum / blocks;
}

/**
 * Adds row @ table to `out`. Inputs that are 0, as half of the ReLUs are, cost nothing; the others go in fours, which takes a
 * third of the time that one after another does.
 */
function addProduct(out, row, table) {
  const width = out.length;
  const active = [];
  for (let i = 0; i < row.length; i++) if (row[i] !== 0) active.push(i);
  let k = 0;
  for (; k + 3 < active.length; k += 4) {
    const [i0, i1, i2, i3] = [active[k], active[k + 1], active[k + 2], active[k + 3]];
    const [x0, x1, x2, x3] = [row[i0], row[i1], row[i2], row[i3]];
    const [s0, s1, s2, s3] = [i0 * width, i1 * width, i2 * width, i3 * width];
    for (let j = 0; j < width; j++) out[j] += x0 * table[s0 + j] + x1 * table[s1 + j] + x2 * table[s2 + j] + x3 * table[s3 + j];
  }
  for (; k < active.length; k++) addRow(out, table, active[k], row[active[k]]);
  return out;
}

/** Adds one row of a table, times a number, to `out`. */
function addRow(out, table, index, scale) {
  const start = index * out.length;
  for (let j = 0; j < out.length; j++) out[j] += scale * table[start + j];
  return out;
}

function relu(row) {
  for (let i = 0; i < row.length; i++) if (row[i] < 0) row[i] = 0;
  return row;
}

/** Rows one after another as one. */
function joined(rows) {
  const all = new Float32Array(rows.reduce((length, row) => length + row.length, 0));
  let start = 0;
  for (const row of rows) {
    all.set(row, start);
    start += row.length;
  }
  return all;
}

function logSoftmax(logits) {
  const highest = Math.max(...logits);
  const rest = Math.log(Array.from(logits).reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
  return Array.from(logits, (logit) => logit - highest - rest);
}

function softmax(logits) {
  return logSoftmax(logits).map(Math.exp);
}

/** Indices from the highest number to the lowest; of equals the first comes first. */
function ranked(numbers) {
  return Array.from(numbers.keys()).sort((one, other) => numbers[other] - numbers[one] || one - other);
}

/**
 * A generator of numbers in [0, 1): Marsaglia's xorshift of 32 bits (13, 17, 5), begun with the seed's hash.
 * The same seed gives the same numbers in every browser, but not those of PyTorch.
 */
function generatorOf(seed) {
  let state = (Math.imul(seed ^ 0x2545f491, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 8; i++) next();
  return next;
}

/** So many numbers of the standard normal distribution (Box and Muller). */
function gaussians(count, seed) {
  const next = generatorOf(seed);
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

/** A share for readers. */
function percent(share) {
  return share > 0 && share < 0.001 ? "under 0.1 %" : `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;
}
