"""Networks, in flax.linen: variables are explicit, so that steps stay pure."""
