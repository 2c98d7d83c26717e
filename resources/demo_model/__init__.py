"""The embedded demo model: a small mixture of experts, its card, and the scripts that made it."""
