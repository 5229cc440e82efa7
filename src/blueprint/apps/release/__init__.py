"""From a finished dataset to those who use it: signed, copied, delivered."""
