"""`symgrad demo`: two networks learn real digits, and every derivative is checked on the way.

Read `models.py` first: plain JAX. Then `training.py`: an ordinary optax loop in which
`sg.value_and_grad` stands where `jax.value_and_grad` would. `tour.py` tells the story.

All but `models.py` needs `pip install 'symgrad[demo]'`.
"""
