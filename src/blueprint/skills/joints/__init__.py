"""Parts that hang on a joint, and how a hand moves them."""
