"""The loops of the symmetric contraction, compiled by numba.

All of them walk the atoms ``first`` ... ``last - 1``, the monomials ``x_i x_j x_k`` and the terms of each monomial,
with the channels innermost; see :mod:`simkit.potentials.kernels.contraction` for the arrays.
"""

from __future__ import annotations

import numpy as np

from simkit.potentials.kernels.compilation import compiled


def _forward(first, last, x, coefficients, element, monomials, starts, terms, out):
    channels = x.shape[2]
    product = np.empty(channels, x.dtype)
    for atom in range(first, last):
        for index in range(monomials.shape[0]):
            i, j, k = monomials[index]
            a, b, d = x[atom, i], x[atom, j], x[atom, k]
            for c in range(channels):
                product[c] = a[c] * b[c] * d[c]
            for term in range(starts[index], starts[index + 1]):
                row, weight = out[atom, terms[term, 0]], coefficients[element[atom], terms[term, 1]]
                for c in range(channels):
                    row[c] += weight[c] * product[c]


def _backward(
    first, last, gradient, x, coefficients, element, monomials, starts, terms, for_coefficients, d_x, d_coefficients
):
    channels = x.shape[2]
    product, total = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for atom in range(first, last):
        for index in range(monomials.shape[0]):
            i, j, k = monomials[index]
            a, b, d = x[atom, i], x[atom, j], x[atom, k]
            for c in range(channels):
                product[c] = a[c] * b[c] * d[c]
                total[c] = 0
            for term in range(starts[index], starts[index + 1]):
                row, weight = gradient[atom, terms[term, 0]], coefficients[element[atom], terms[term, 1]]
                for c in range(channels):
                    total[c] += row[c] * weight[c]
                if for_coefficients:
                    d_weight = d_coefficients[element[atom], terms[term, 1]]
                    for c in range(channels):
                        d_weight[c] += row[c] * product[c]
            d_a, d_b, d_d = d_x[atom, i], d_x[atom, j], d_x[atom, k]
            for c in range(channels):
                d_a[c] += total[c] * b[c] * d[c]
            for c in range(channels):
                d_b[c] += total[c] * a[c] * d[c]
            for c in range(channels):
                d_d[c] += total[c] * a[c] * b[c]


def _double_backward(
    first, last, gradient, x, coefficients, t_x, t_coefficients, element, monomials, starts, terms, d_gradient, d_x,
    d_coefficients,
):  # fmt: skip
    channels = x.shape[2]
    product, t_product = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    total, t_total = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for atom in range(first, last):
        for index in range(monomials.shape[0]):
            i, j, k = monomials[index]
            a, b, d = x[atom, i], x[atom, j], x[atom, k]
            t_a, t_b, t_d = t_x[atom, i], t_x[atom, j], t_x[atom, k]
            for c in range(channels):
                product[c] = a[c] * b[c] * d[c]
                t_product[c] = t_a[c] * b[c] * d[c] + a[c] * (t_b[c] * d[c] + b[c] * t_d[c])
                total[c] = 0
                t_total[c] = 0
            for term in range(starts[index], starts[index + 1]):
                row, d_row = gradient[atom, terms[term, 0]], d_gradient[atom, terms[term, 0]]
                weight = coefficients[element[atom], terms[term, 1]]
                d_weight = d_coefficients[element[atom], terms[term, 1]]
                for c in range(channels):
                    total[c] += row[c] * weight[c]
                    d_row[c] += weight[c] * t_product[c]
                    d_weight[c] += row[c] * t_product[c]
                if t_coefficients.shape[0] > 0:
                    t_weight = t_coefficients[element[atom], terms[term, 1]]
                    for c in range(channels):
                        t_total[c] += row[c] * t_weight[c]
                        d_row[c] += t_weight[c] * product[c]
            d_a, d_b, d_d = d_x[atom, i], d_x[atom, j], d_x[atom, k]
            for c in range(channels):
                d_a[c] += t_total[c] * b[c] * d[c] + total[c] * (t_b[c] * d[c] + b[c] * t_d[c])
            for c in range(channels):
                d_b[c] += t_total[c] * a[c] * d[c] + total[c] * (t_a[c] * d[c] + a[c] * t_d[c])
            for c in range(channels):
                d_d[c] += t_total[c] * a[c] * b[c] + total[c] * (t_a[c] * b[c] + a[c] * t_b[c])


forward = compiled(_forward)
"""Adds the polynomials to ``out``."""

backward = compiled(_backward)
"""Derivatives of gradient · out, added to ``d_x`` and, if asked for, ``d_coefficients``."""

double_backward = compiled(_double_backward)
"""Derivatives of t_x · d_x + t_coefficients · d_coefficients, added; empty ``t_coefficients`` are zero."""
