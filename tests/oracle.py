"""Slow, loop-only NumPy versions of the equations, written from the formulas alone, in float64.

They share no code with the package: a network is a plain dict of arrays (see `arrays_of`).
"""

from __future__ import annotations

import numpy as np

EPS = 1e-8


def arrays_of(net):
    """Copy a `RecurrentNet` into plain float64 arrays; weights of local fields have three dimensions: place, unit, field."""

    def copy(tensor):
        return tensor.detach().double().numpy().copy()

    return {
        "bottom_up": [copy(linear.weight) for linear in net.bottom_up],
        "bias": [copy(linear.bias) for linear in net.bottom_up],
        "top_down": [copy(linear.weight) for linear in net.top_down],
        "head": (copy(net.head.weight), copy(net.head.bias)),
        "damping": net.damping,
        "sign": net.sign,
        "scheme": net.update_scheme,
        "places": None if net.maps is None else net.maps.in_shape[:2],
    }


def rms(row):
    """a / sqrt(mean(a**2) + eps) of one row."""
    total = 0.0
    for value in row:
        total += value * value
    return [value / np.sqrt(total / len(row) + EPS) for value in row]


def dot(weights, row):
    """One unit's drive."""
    return sum(w * x for w, x in zip(weights, row, strict=True))


def drives(weight, row, places):
    """The drives of all units by one row: of a matrix, or of local fields on maps of so many rows and columns."""
    if weight.ndim == 2:
        return [dot(w, row) for w in weight]
    found = []
    for place, of_units in enumerate(weight.tolist()):
        pairs = in_field(place, len(of_units[0]), len(row), places)
        found += [sum(w[here] * row[below] for here, below in pairs) for w in of_units]
    return found


def in_field(place, size, features, places):
    """What the field around a place reads: pairs of a position in the field and the feature of the map that lies there.

    The field is a square with the place in its middle; row, column, channel. What lies outside the map is left out.
    """
    rows, columns = places
    channels = features // (rows * columns)
    side = round((size // channels) ** 0.5)
    pairs = []
    for down in range(side):
        for across in range(side):
            y, x = place // columns + down - side // 2, place % columns + across - side // 2
            if y < 0 or y >= rows or x < 0 or x >= columns:
                continue
            here, below = (down * side + across) * channels, (y * columns + x) * channels
            pairs += [(here + channel, below + channel) for channel in range(channels)]
    return pairs


def add_products(gradient, deltas, row, places):
    """Add each unit's delta times what it reads of a row to the gradient of its weights."""
    if gradient.ndim == 2:
        for unit, delta in enumerate(deltas):
            gradient[unit] += delta * np.array(row)
        return
    units = gradient.shape[1]
    for number, delta in enumerate(deltas):
        for here, below in in_field(number // units, gradient.shape[2], len(row), places) if delta != 0 else ():
            gradient[number // units, number % units, here] += delta * row[below]


def one_hot(label, classes):
    """A label as a row."""
    return [1.0 if c == label else 0.0 for c in range(classes)]


def bottom_up_pass(arrays, image):
    """States of all layers after one pass without top-down input."""
    states, below = [], rms(image)
    for weight, bias in zip(arrays["bottom_up"], arrays["bias"], strict=True):
        driven = drives(weight, below, arrays["places"])
        states.append([max(0.0, drive + b) for drive, b in zip(driven, bias, strict=True)])
        below = rms(states[-1])
    return states


def computed_state(arrays, layer, states, image, label):
    """The ReLU of the sum of what comes from below and from above, of one layer."""
    classes = arrays["top_down"][-1].shape[1]
    below = rms(image) if layer == 0 else rms(states[layer - 1])
    above = rms(one_hot(label, classes)) if layer == len(states) - 1 else rms(states[layer + 1])
    up = drives(arrays["bottom_up"][layer], below, arrays["places"])
    down = drives(arrays["top_down"][layer], above, arrays["places"])
    return [max(0.0, u + d + b) for u, d, b in zip(up, down, arrays["bias"][layer], strict=True)]


def iteration(arrays, states, image, label):
    """All layers once, in the network's update scheme. Returns the computed states and the new ones."""
    layers = list(range(len(states)))
    groups = [layers]
    if arrays["scheme"] == "alternating":
        groups = [[k for k in layers if (k + 1) % 2 == 0], [k for k in layers if (k + 1) % 2 == 1]]
    computed, new = list(states), list(states)
    for group in groups:
        read = list(new)
        for layer in group:
            computed[layer] = computed_state(arrays, layer, read, image, label)
            d = arrays["damping"]
            new[layer] = [d * old + (1 - d) * c for old, c in zip(states[layer], computed[layer], strict=True)]
    return computed, new


def goodness(state):
    """Mean square."""
    return sum(s * s for s in state) / len(state)


def region_goodness(state, places, regions):
    """Mean square of each region of a map, region by region from the top left; units that lie at one place are neighbours."""
    rows, columns = places
    tall, wide, units = rows // regions[0], columns // regions[1], len(state) // (rows * columns)
    found = []
    for down in range(regions[0]):
        for across in range(regions[1]):
            inside = []
            for y in range(down * tall, (down + 1) * tall):
                for x in range(across * wide, (across + 1) * wide):
                    inside += [state[(y * columns + x) * units + unit] for unit in range(units)]
            found.append(goodness(inside))
    return found


def trajectory(arrays, frames, label, iterations):
    """States after each iteration, starting from the bottom-up pass of the first frame."""
    states, rolled = bottom_up_pass(arrays, frames[0]), []
    for t in range(iterations):
        states = iteration(arrays, states, frames[t], label)[1]
        rolled.append(states)
    return rolled


def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return max(x, 0.0) + np.log1p(np.exp(-abs(x)))


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-x)) if x >= 0 else np.exp(x) / (1 + np.exp(x))


def objective(kind, g_pos, g_neg, threshold, temperature, sign):
    """The loss of one image, layer and iteration, and its derivatives by both kinds of goodness."""
    if kind == "logistic":
        p, n = -sign * (g_pos - threshold) / temperature, sign * (g_neg - threshold) / temperature
        return softplus(p) + softplus(n), -sign / temperature * sigmoid(p), sign / temperature * sigmoid(n)
    x = sign * (g_neg - g_pos) / temperature
    return softplus(x), -sign / temperature * sigmoid(x), sign / temperature * sigmoid(x)


def local_gradients(arrays, images, labels, negatives, iterations, kind, threshold, temperature):
    """Loss and local gradients, by hand: d goodness / d drive = 2 * state / H * (1 - damping) where the ReLU is on.

    `images` is a list of lists of frames. Returns (loss, bottom_up, bias, top_down).
    """
    layers, classes = len(arrays["bottom_up"]), arrays["top_down"][-1].shape[1]
    grads = [[np.zeros_like(a) for a in arrays[name]] for name in ("bottom_up", "bias", "top_down")]
    loss, share = 0.0, 1 / len(images)
    for frames, label, negative in zip(images, labels, negatives, strict=True):
        kinds = [(label, bottom_up_pass(arrays, frames[0])), (negative, bottom_up_pass(arrays, frames[0]))]
        for t in range(iterations):
            steps = [(lab, states, *iteration(arrays, states, frames[t], lab)) for lab, states in kinds]
            for layer in range(layers):
                g = [goodness(new[layer]) for _, _, _, new in steps]
                value, *slopes = objective(kind, *g, threshold, temperature, arrays["sign"])
                loss += share * value
                for slope, (lab, old, computed, new) in zip(slopes, steps, strict=True):
                    # Odd layers (from 1) of the alternating scheme read their new neighbours, all others the old ones.
                    late = arrays["scheme"] == "alternating" and (layer + 1) % 2 == 1
                    source = new if late else old
                    below = rms(frames[t]) if layer == 0 else rms(source[layer - 1])
                    above = rms(one_hot(lab, classes)) if layer == layers - 1 else rms(source[layer + 1])
                    width = len(new[layer])
                    deltas = [
                        share * slope * 2 * new[layer][unit] / width * (1 - arrays["damping"]) if on > 0 else 0.0
                        for unit, on in enumerate(computed[layer])
                    ]
                    add_products(grads[0][layer], deltas, below, arrays["places"])
                    grads[1][layer] += np.array(deltas)
                    add_products(grads[2][layer], deltas, above, arrays["places"])
            kinds = [(lab, new) for lab, _, _, new in steps]
    return loss, *grads


# --- the character model ----------------------------------------------------------------------------------------------


def character_arrays(net):
    """Copy a `CharNet` into plain float64 arrays."""
    return {
        "hidden": [(p.weight.detach().double().numpy().copy(), p.bias.detach().numpy().copy()) for p in net.hidden],
        "head": (net.head.weight.detach().double().numpy().copy(), net.head.bias.detach().numpy().copy()),
        "head_layers": net.head_layers,
        "symbols": len(net.alphabet),
        "sign": net.sign,
    }


def character_states(arrays, window):
    """The rows that the hidden layers read, and their states, of one window of symbol numbers."""
    row = rms([1.0 if symbol == here else 0.0 for here in window for symbol in range(arrays["symbols"])])
    rows, states = [], []
    for weight, bias in arrays["hidden"]:
        rows.append(row)
        states.append([max(0.0, dot(w, row) + b) for w, b in zip(weight, bias, strict=True)])
        row = rms(states[-1])
    return rows, states


def character_logits(arrays, window):
    """Logits of the next character, by the head."""
    _, states = character_states(arrays, window)
    row = [value for layer in arrays["head_layers"] for value in rms(states[layer - 1])]
    weight, bias = arrays["head"]
    return [dot(w, row) + b for w, b in zip(weight, bias, strict=True)]


def character_gradients(arrays, positives, negatives, kind, threshold, temperature):
    """Loss, and gradients of every hidden layer's weight and bias, by hand: d goodness / d drive = 2 * state / H."""
    grads = [(np.zeros_like(weight), np.zeros_like(bias)) for weight, bias in arrays["hidden"]]
    loss, share = 0.0, 1 / len(positives)
    for windows in zip(positives, negatives, strict=True):
        rows, states = zip(*(character_states(arrays, window) for window in windows), strict=True)
        for layer, (by_weight, by_bias) in enumerate(grads):
            g = [goodness(of_kind[layer]) for of_kind in states]
            value, *slopes = objective(kind, *g, threshold, temperature, arrays["sign"])
            loss += share * value
            for slope, row, state in zip(slopes, rows, states, strict=True):
                for unit, activity in enumerate(state[layer]):
                    delta = share * slope * 2 * activity / len(state[layer])
                    by_weight[unit] += delta * np.array(row[layer])
                    by_bias[unit] += delta
    return loss, grads
