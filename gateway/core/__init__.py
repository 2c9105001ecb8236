"""The pure floor: values in, values out. No clock, no loop, no socket, no third party but msgspec."""
