"""Providers that speak no dialect of ours: litellm, in supervised processes of its own.

`Translator` and what it needs run in the gateway, which never imports litellm. `process/` is what runs in the child.
"""
