"""OpenUSD: scenes and SimReady assets."""
