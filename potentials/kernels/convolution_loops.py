"""The loops of the convolution, compiled by numba.

All of them walk the edges of atoms ``first`` ... ``last - 1``, the paths of each edge, and its components m1 and m3,
with the channels innermost; see :mod:`simkit.potentials.kernels.convolution` for the arrays. The weights are those of
the edges from ``shift`` on.
"""

from __future__ import annotations

import numpy as np

from simkit.potentials.kernels.compilation import compiled


def _forward(first, last, shift, pointers, neighbour, layout, features, weights, couplings, out):
    atoms, paths, channels = pointers.shape[0] - 1, layout.shape[0], features.shape[1]
    weighted = np.empty((layout[:, 1].max(), channels), features.dtype)
    for atom in range(first, last):
        for edge in range(pointers[atom], pointers[atom + 1]):
            for path in range(paths):
                begin, n1, n3, entry, base, width, place = layout[path]
                source = atoms * begin + neighbour[edge] * n1
                target = atoms * base + atom * n3 * width + place
                weight = weights[(edge - shift) * paths + path]
                for m1 in range(n1):
                    x, t = features[source + m1], weighted[m1]
                    for c in range(channels):
                        t[c] = weight[c] * x[c]
                for m3 in range(n3):
                    row = out[target + m3 * width]
                    for m1 in range(n1):
                        g, t = couplings[edge, entry + m1 * n3 + m3], weighted[m1]
                        for c in range(channels):
                            row[c] += g * t[c]


def _backward(
    first, last, shift, pointers, neighbour, layout, gradient, features, weights, couplings, for_features, d_features,
    d_weights, d_couplings,
):  # fmt: skip
    atoms, paths, channels = pointers.shape[0] - 1, layout.shape[0], features.shape[1]
    weighted, received = np.empty(channels, features.dtype), np.empty(channels, features.dtype)
    for atom in range(first, last):
        for edge in range(pointers[atom], pointers[atom + 1]):
            for path in range(paths):
                begin, n1, n3, entry, base, width, place = layout[path]
                source = atoms * begin + neighbour[edge] * n1
                target = atoms * base + atom * n3 * width + place
                weight, d_weight = weights[(edge - shift) * paths + path], d_weights[(edge - shift) * paths + path]
                d_weight[:] = 0
                for m1 in range(n1):
                    x = features[source + m1]
                    received[:] = 0
                    for c in range(channels):
                        weighted[c] = weight[c] * x[c]
                    for m3 in range(n3):
                        a, g = gradient[target + m3 * width], couplings[edge, entry + m1 * n3 + m3]
                        total = features.dtype.type(0)
                        for c in range(channels):
                            received[c] += g * a[c]
                            total += a[c] * weighted[c]
                        d_couplings[edge, entry + m1 * n3 + m3] = total
                    for c in range(channels):
                        d_weight[c] += received[c] * x[c]
                    if for_features:
                        d_x = d_features[source + m1]
                        for c in range(channels):
                            d_x[c] += received[c] * weight[c]


def _double_backward(
    first, last, shift, pointers, neighbour, layout, gradient, features, weights, couplings, t_features, t_weights,
    t_couplings, d_gradient, d_features, s_weights, d_weights, d_couplings,
):  # fmt: skip
    atoms, paths, channels = pointers.shape[0] - 1, layout.shape[0], features.shape[1]
    received, turned = np.empty(channels, features.dtype), np.empty(channels, features.dtype)
    weighted, mixed = np.empty(channels, features.dtype), np.empty(channels, features.dtype)
    for atom in range(first, last):
        for edge in range(pointers[atom], pointers[atom + 1]):
            for path in range(paths):
                begin, n1, n3, entry, base, width, place = layout[path]
                source = atoms * begin + neighbour[edge] * n1
                target = atoms * base + atom * n3 * width + place
                weight, t_weight = weights[(edge - shift) * paths + path], t_weights[(edge - shift) * paths + path]
                s_weight, d_weight = s_weights[(edge - shift) * paths + path], d_weights[(edge - shift) * paths + path]
                s_weight[:] = 0
                d_weight[:] = 0
                for m1 in range(n1):
                    x, t_x, d_x = features[source + m1], t_features[source + m1], d_features[source + m1]
                    received[:] = 0
                    turned[:] = 0
                    for c in range(channels):
                        weighted[c] = weight[c] * x[c]
                        mixed[c] = weight[c] * t_x[c] + t_weight[c] * x[c]
                    for m3 in range(n3):
                        a, d_a = gradient[target + m3 * width], d_gradient[target + m3 * width]
                        g, t_g = couplings[edge, entry + m1 * n3 + m3], t_couplings[edge, entry + m1 * n3 + m3]
                        total = features.dtype.type(0)
                        for c in range(channels):
                            received[c] += g * a[c]
                            turned[c] += t_g * a[c]
                            d_a[c] += g * mixed[c] + t_g * weighted[c]
                            total += a[c] * mixed[c]
                        d_couplings[edge, entry + m1 * n3 + m3] = total
                    for c in range(channels):
                        d_x[c] += t_weight[c] * received[c] + weight[c] * turned[c]
                    for c in range(channels):
                        s_weight[c] += received[c] * x[c]
                        d_weight[c] += received[c] * t_x[c] + turned[c] * x[c]


forward = compiled(_forward)
"""Adds features · weights · couplings to ``out``."""

backward = compiled(_backward)
"""Derivatives of gradient · out: added to ``d_features`` (if asked for), assigned to the other two."""

double_backward = compiled(_double_backward)
"""Derivatives of t_features · d_features + t_weights · d_weights + t_couplings · d_couplings.

They are added to ``d_gradient`` and ``d_features``, and assigned to ``d_weights`` and ``d_couplings``; ``s_weights``
are the derivatives with respect to the weights that :data:`backward` gives."""
