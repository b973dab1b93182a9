"""value_and_grad of `lenet`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:lenet --transform value_and_grad --arg "{'K1': f32[3,3,1,6], 'K2': f32[3,3,6,16], 'W3': f32[576,84], 'W4': f32[84,10], 'b1': f32[6], 'b2': f32[16], 'b3': f32[84], 'b4': f32[10]}" --arg 'f32[4,32,32,1]' --arg 'i32[4]' -o lenet.py
"""

import jax
import jax.numpy as jnp
from jax import lax


def window_entries(x, window, strides, dilation):
    """For each offset in the window, in row-major order, the entry every window has there."""
    offsets = [()]
    for n, d in zip(window, dilation, strict=True):
        offsets = [(*o, i * d) for o in offsets for i in range(n)]
    last = offsets[-1]
    stops = [[n - b + a for n, a, b in zip(x.shape, o, last, strict=True)] for o in offsets]
    return [(o, lax.slice(x, o, stop, strides)) for o, stop in zip(offsets, stops, strict=True)]


def window_scatter(x, g, window, strides, dilation, prefers):
    """Add each entry of `g` where its window of `x` has its extremum, the first if several."""
    entries = window_entries(x, window, strides, dilation)
    best, place = entries[0][1], jnp.zeros(g.shape, jnp.int32)
    for number, (_, entry) in enumerate(entries):
        keep = prefers(best, entry)
        best, place = jnp.where(keep, best, entry), jnp.where(keep, place, number)

    # Window t starts with tile t, the entries from t * stride on. An entry is in the window of
    # its own tile and of up to `reach` tiles before.
    axes = range(x.ndim)
    reach = [entries[-1][0][a] // strides[a] for a in axes]
    tiles = [-(-x.shape[a] // strides[a]) for a in axes]
    around = [(reach[a], tiles[a] - g.shape[a], 0) for a in axes]
    place = lax.pad(place, jnp.int32(-1), around)
    g = lax.pad(g, jnp.zeros((), g.dtype), around)

    def collect(phase):
        """What the entries at `phase` in all tiles receive."""
        total = jnp.zeros(tiles, g.dtype)
        for number, (offset, _) in enumerate(entries):
            if all(offset[a] % strides[a] == phase[a] for a in axes):
                start = [reach[a] - offset[a] // strides[a] for a in axes]
                stop = [start[a] + tiles[a] for a in axes]
                here = lax.slice(place, start, stop) == number
                total += jnp.where(here, lax.slice(g, start, stop), 0)
        return total

    def interleave(phase):
        axis = len(phase)
        if axis == x.ndim:
            return collect(phase)
        return jnp.stack([interleave((*phase, i)) for i in range(strides[axis])], axis + 1)

    whole = interleave(()).reshape([tiles[a] * strides[a] for a in axes])
    return lax.slice(whole, [0] * x.ndim, x.shape)


def value_and_grad_lenet(K1, K2, W3, W4, b1, b2, b3, b4, images, labels):
    """value_and_grad of `lenet` with respect to K1, K2, W3, W4, b1, b2, b3, b4.

    Args:
        K1: float32[3,3,1,6]
        K2: float32[3,3,6,16]
        W3: float32[576,84]
        W4: float32[84,10]
        b1: float32[6]
        b2: float32[16]
        b3: float32[84]
        b4: float32[10]
        images: float32[4,32,32,1]
        labels: int32[4]
    """
    # return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout)
    conv_1 = lax.conv_general_dilated(
        images,
        K1,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    # a1 = jax.nn.relu(convolve(images, params["K1"]) + params["b1"])
    pre_a1 = conv_1 + b1
    a1 = jax.nn.relu(pre_a1)
    # return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    m1 = lax.reduce_window(
        a1, -jnp.inf, lax.max, window_dimensions=(1, 2, 2, 1), window_strides=(1, 2, 2, 1)
    )
    # return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout)
    conv_2 = lax.conv_general_dilated(
        m1, K2, window_strides=(1, 1), padding="VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    # a2 = jax.nn.relu(convolve(m1, params["K2"]) + params["b2"])
    pre_a2 = conv_2 + b2
    a2 = jax.nn.relu(pre_a2)
    # return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    m2 = lax.reduce_window(
        a2, -jnp.inf, lax.max, window_dimensions=(1, 2, 2, 1), window_strides=(1, 2, 2, 1)
    )
    # h2 = m2.reshape(len(m2), -1)
    h2 = m2.reshape((4, 576))
    # h3 = jax.nn.relu(h2 @ params["W3"] + params["b3"])
    pre_h3 = h2 @ W3 + b3
    h3 = jax.nn.relu(pre_h3)
    # z = h3 @ params["W4"] + params["b4"]
    z = h3 @ W4 + b4
    # log_q = jax.nn.log_softmax(z)
    log_q = jax.nn.log_softmax(z, axis=-1)
    # return -jnp.mean(jnp.take_along_axis(log_q, labels[:, None], axis=-1))
    sum_1 = jnp.sum(jnp.take_along_axis(log_q, labels[:, None], axis=1)[:, 0])

    one_hot_1 = jax.nn.one_hot(jnp.where(labels < 0, labels + 10, labels), 10, dtype=jnp.float32)
    # backward: z = h3 @ params["W4"] + params["b4"]
    sub_1 = jax.nn.softmax(z, axis=-1) - one_hot_1
    d_z = sub_1 / 4.0
    # backward: h3 = jax.nn.relu(h2 @ params["W3"] + params["b3"])
    d_h3 = d_z @ W4.T
    d_pre_h3 = jnp.where(pre_h3 > 0.0, d_h3, 0.0)
    # backward: h2 = m2.reshape(len(m2), -1)
    d_h2 = d_pre_h3 @ W3.T
    # backward: return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1),  ...
    d_m2 = d_h2.reshape((4, 6, 6, 16))
    # backward: a2 = jax.nn.relu(convolve(m1, params["K2"]) + params["b2"])
    d_a2 = window_scatter(
        a2, d_m2, window=(1, 2, 2, 1), strides=(1, 2, 2, 1), dilation=(1, 1, 1, 1), prefers=lax.ge
    )
    d_pre_a2 = jnp.where(pre_a2 > 0.0, d_a2, 0.0)
    # backward: return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1),  ...
    d_m1 = lax.conv_general_dilated(
        d_pre_a2,
        jnp.flip(K2, (0, 1)),
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )
    # backward: a1 = jax.nn.relu(convolve(images, params["K1"]) + params["b1"])
    d_a1 = window_scatter(
        a1, d_m1, window=(1, 2, 2, 1), strides=(1, 2, 2, 1), dilation=(1, 1, 1, 1), prefers=lax.ge
    )
    d_pre_a1 = jnp.where(pre_a1 > 0.0, d_a1, 0.0)
    d_K1 = lax.conv_general_dilated(
        images,
        d_pre_a1,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )
    d_K2 = lax.conv_general_dilated(
        m1,
        d_pre_a2,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )
    d_W3 = h2.T @ d_pre_h3
    d_W4 = h3.T @ d_z
    d_b1 = jnp.sum(d_pre_a1, axis=(0, 1, 2))
    d_b2 = jnp.sum(d_pre_a2, axis=(0, 1, 2))
    d_b3 = jnp.sum(d_pre_h3, axis=0)
    d_b4 = jnp.sum(sub_1, axis=0) / 4.0
    return sum_1 * -0.25, d_K1, d_K2, d_W3, d_W4, d_b1, d_b2, d_b3, d_b4
